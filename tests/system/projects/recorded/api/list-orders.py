import asyncio
from pathlib import Path

from intuned_runtime import get_auth_session_parameters, run_info


async def automation(page, params, **_):
    folder = Path(params["folder"]) if "folder" in params else None
    if folder:
        (folder / f"api-{run_info().run_id}").touch()
        while not (folder / "go-api").exists():
            await asyncio.sleep(0.02)
    try:
        parameters = await get_auth_session_parameters()
    except RuntimeError as error:
        parameters = str(error)
    return {
        "cookies": {cookie["name"]: cookie["value"] for cookie in await page.context.cookies()},
        "id": run_info().auth_session_id,
        "state": run_info().auth_session,
        "parameters": parameters,
    }
