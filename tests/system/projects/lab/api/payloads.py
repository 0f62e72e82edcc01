from intuned_runtime import IntunedContext, attempt_store, extend_payload, run_info


async def automation(page, params=None, **_kwargs):
    attempt_store.set("n", 1)
    extend_payload({"api": "echo", "parameters": {"n": attempt_store.get("n")}})
    assert IntunedContext.current().run_context is not None
    return {"runId": run_info().run_id, "authSessionId": run_info().auth_session_id}
