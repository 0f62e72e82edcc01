from callboard_runtime.pytest_plugin import RunApi


async def test_greets_by_name(run_api: RunApi) -> None:
    run = await run_api("hello", {"name": "Ada"})
    assert run.result == {"greeting": "Hello, Ada!"}
