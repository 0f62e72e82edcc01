"""The activity that checks an upload, beside what whole stacks show of it."""

from pathlib import Path

from temporalio.testing import ActivityEnvironment

from activities.upload_deploys import UploadActivities
from callboard.projects.upload import UploadLimits, pack_upload
from callboard.schemas.workflow.deploy import CheckedUpload, DeployInput
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.constants import WORKSPACE
from tests.support.files import write_files

LIMITS = UploadLimits(packed=1024**2, unpacked=16 * 1024**2, files=20)


async def test_a_version_that_there_is_keeps_its_bundle(tmp_path: Path):
    folder = write_files(tmp_path / "shop", {"Intuned.json": "{}", "api/list.py": "async def automation(page): ..."})
    store = FolderStore(tmp_path / "store")
    pack_upload(folder, tmp_path / "upload.tar.gz")
    await store.put_file(object_keys.upload_bundle("shop", "u1"), tmp_path / "upload.tar.gz")
    activities = UploadActivities(store=store, root=tmp_path, limits=LIMITS, max_machines=None)

    async def check() -> str:
        deploy = DeployInput(workspace=WORKSPACE, project="shop", upload="u1", by="ci")
        checked = await ActivityEnvironment().run(activities.check_upload, deploy)
        assert isinstance(checked, CheckedUpload)
        return checked.version

    version = await check()
    bundle = object_keys.bundle("shop", version)
    packed = await store.get(bundle)
    assert packed is not None
    await store.put(bundle, b"what a deploy has left that was not finished")
    assert await check() == version
    assert await store.get(bundle) == packed
    await store.put(bundle, b"the version's")
    await store.put(object_keys.manifest("shop", version), b"{}")
    assert await check() == version
    assert await store.get(bundle) == b"the version's"
