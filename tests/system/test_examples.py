"""Every example project, as a user would run it."""

from __future__ import annotations

import asyncio
import json
from typing import Any


def record(stack: Any, project: str, run_id: str) -> dict[str, Any]:
    path = stack.data / "artifacts" / "runs" / project / run_id / "attempts" / "1" / "attempt.json"
    return json.loads(path.read_text())


async def test_every_api_of_every_example_is_known_to_the_tests(stack: Any) -> None:
    published = {m.project: set(m.apis) for m in stack.dev.projects.deployed}
    examples = {name: published[name] for name in ("browser", "helpers", "shop")}
    assert examples == {
        "browser": {"deferred", "own-context", "windows"},
        "helpers": {"remember", "results", "through-proxy"},
        "shop": {"download", "flaky", "list-products", "products/details", "slow"},
    }


async def test_the_hook_brings_a_context_of_its_own_through_the_cdp_address(stack: Any) -> None:
    for _ in range(2):  # the second Attempt finds a clean Machine, too
        answer = await stack.run("own-context", project="browser", retry={"maximumAttempts": 1})
        assert answer.get("result") == {"language": "fr-FR", "hook": "api/own-context"}, answer


async def test_a_deferred_automation_has_no_hook_until_it_asks_for_the_browser(stack: Any) -> None:
    answer = await stack.run("deferred", {"cached": True}, project="browser")
    assert answer["result"] == {"browser": False, "hook": None}
    answer = await stack.run("deferred", project="browser")
    assert answer["result"] == {"browser": True, "title": "Fetched", "hook": "api/deferred"}


async def test_popups_pages_dialogs_and_permissions_work_as_ever(stack: Any) -> None:
    answer = await stack.run("windows", project="browser", requestTimeout=30)
    assert answer["result"] == {
        "pages": 3,
        "popup": "Popup",
        "second": "Second",
        "answer": "yes",
        "viewport": {"width": 1280, "height": 720},
    }


async def test_a_persistent_value_survives_its_run(stack: Any) -> None:
    name = {"name": "survives: 'é/..'".replace(":", "")}
    first = await stack.run("remember", name, project="helpers")
    second = await stack.run("remember", name, project="helpers")
    assert [first["result"]["visits"], second["result"]["visits"]] == [1, 2]


async def test_concurrent_writes_of_persistent_values_never_mix(stack: Any) -> None:
    names = [{"name": f"concurrent-{n % 3}"} for n in range(12)]
    answers = await asyncio.gather(*(stack.run("remember", name, project="helpers") for name in names))
    assert {answer["status"] for answer in answers} == {"completed"}


async def test_attributes_stand_in_the_record_of_the_attempt(stack: Any) -> None:
    run_id = await stack.start("remember", {"name": "attributes"}, project="helpers")
    assert (await stack.result(run_id, project="helpers"))["status"] == "completed"
    attributes = record(stack, "helpers", run_id)["attributes"]
    assert attributes["visits"] == 1
    assert attributes["seenAt"].endswith("+00:00")


async def test_dataclasses_and_tuples_are_results(stack: Any) -> None:
    answer = await stack.run("results", project="helpers")
    product = {"name": "Lamp", "price": 27.25, "tags": ["oak", "lamp"]}
    assert answer["result"] == {"product": product, "pair": [1, 2]}
    assert answer["extendedPayloads"] == [{"api": "remember", "parameters": {"name": "from-results"}}]


async def test_the_shop_is_read_in_detail_and_its_catalogue_downloaded(stack: Any) -> None:
    base = {"baseUrl": stack.site}
    details = await stack.run("products/details", {**base, "id": 3}, project="shop")
    assert details["status"] == "completed", details
    download = await stack.run("download", base, project="shop")
    assert download["status"] == "completed", download
    slow = await stack.run("slow", {**base, "seconds": 0.2}, project="shop")
    assert slow["result"] == {"seconds": 0.2}


async def test_a_run_goes_through_the_proxy_that_its_start_names(stack: Any, example_site: Any) -> None:
    hidden = {"baseUrl": stack.site.replace("127.0.0.1", "behind-the-proxy.example")}
    through = await stack.run("through-proxy", hidden, project="helpers", proxy=example_site.proxy)
    address = example_site.proxy.replace("ada:lovelace@", "")
    assert through.get("result") == {"via": "1.1 example-proxy", "proxy": address}, through
    direct = await stack.run("through-proxy", {"baseUrl": stack.site}, project="helpers")
    assert direct.get("result") == {"via": "no proxy", "proxy": None}, direct
