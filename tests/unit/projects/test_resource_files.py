"""Files of a project that are Jobs and AuthSessions: what a deploy reads, refuses, warns of, and stores."""

import json
from pathlib import Path
from typing import Any

import pytest

from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.projects.resource_files import read_resources
from callboard.schemas.errors import ProjectError, StoreError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.present import present
from tests.support.project_folders import Deployed, Make

JOBS = "intuned-resources/jobs"
AUTH_SESSIONS = "intuned-resources/auth-sessions"
JOB: dict[str, Any] = {"payload": [{"apiName": "list", "parameters": {}}], "configuration": {}}
AUTH_JOB = {**JOB, "auth_session": {"id": "anna"}}
AUTH_PROJECT = {
    "Intuned.jsonc": '{"authSessions": {"enabled": true, "type": "API"}}',
    "auth-sessions/create.py": "async def create(page, params): ...\n",
    "auth-sessions/check.py": "",
}
SECRET = "t0p-s3cret"
ANNA = json.dumps({"parameters": {"user": "anna", "password": SECRET}})


async def test_jobs_and_auth_sessions_of_files_are_stored_beside_the_version(make_project: Make, store: FolderStore):
    folder = make_project(
        {
            **AUTH_PROJECT,
            f"{JOBS}/nightly.job.jsonc": f"// every night\n{json.dumps(AUTH_JOB)[:-1]},}}",
            f"{JOBS}/ai/extract.job.json": json.dumps(AUTH_JOB),
            f"{AUTH_SESSIONS}/anna.auth-session.jsonc": f"{ANNA} // hers",
        }
    )
    manifest = await deploy(folder, store)
    assert manifest.warnings == ()
    resources = await read_resources(store, "shop", manifest.version)
    assert [(job.id, job.file, job.body) for job in resources.jobs] == [
        ("extract", f"{JOBS}/ai/extract.job.json", AUTH_JOB),
        ("nightly", f"{JOBS}/nightly.job.jsonc", AUTH_JOB),
    ]
    (anna,) = resources.auth_sessions
    assert (anna.id, anna.parameters) == ("anna", {"user": "anna", "password": SECRET})
    assert SECRET not in repr(resources)


async def test_parameters_of_auth_sessions_are_in_no_bundle_and_no_manifest(
    make_project: Make, store: FolderStore, tmp_path: Path
):
    folder = make_project({**AUTH_PROJECT, f"{AUTH_SESSIONS}/anna.auth-session.json": ANNA})
    version = (await deploy(folder, store)).version
    holding = [path.name for path in (tmp_path / "artifacts").rglob("*") if path.is_file() and SECRET in _text(path)]
    assert holding == ["resources.json"]
    # Other parameters are no other version, but are what is stored then.
    (folder / AUTH_SESSIONS / "anna.auth-session.json").write_text('{"parameters": {"user": "another"}}')
    assert (await deploy(folder, store)).version == version
    assert (await read_resources(store, "shop", version)).auth_sessions[0].parameters == {"user": "another"}


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


async def test_a_project_without_such_files_has_none_stored(store: FolderStore, deployed: Deployed):
    version = (await deployed()).version
    assert not await store.exists(object_keys.resources("shop", version))
    assert not await read_resources(store, "shop", version)
    deployment = await Catalog(store).get_deployment("shop")
    assert not present(deployment).has_resources


async def test_that_there_were_files_is_known_once_they_are_removed(make_project: Make, store: FolderStore):
    folder = make_project({f"{JOBS}/nightly.job.json": json.dumps(JOB)})
    await deploy(folder, store)
    (folder / JOBS / "nightly.job.json").unlink()
    await deploy(folder, store)
    manifest = await deploy(folder, store)
    deployment = await Catalog(store).get_deployment("shop")
    assert present(deployment).has_resources
    assert not await read_resources(store, "shop", manifest.version)


async def test_a_removed_file_of_an_auth_session_leaves_its_version(make_project: Make, store: FolderStore):
    folder = make_project({**AUTH_PROJECT, f"{AUTH_SESSIONS}/anna.auth-session.json": ANNA})
    version = (await deploy(folder, store)).version
    (folder / AUTH_SESSIONS / "anna.auth-session.json").unlink()
    assert (await deploy(folder, store)).version == version
    assert not await read_resources(store, "shop", version)


def job(**fields: Any) -> str:
    return json.dumps({**JOB, **fields})


REFUSED_JOBS: list[tuple[str, str]] = [
    ("{", "expected JSON, found an unexpected end of input in line 1, column 2."),
    ('{"a": 1, "a": 2}', 'expected JSON, found the key "a" twice'),
    ("[]", "expected an object."),
    ('{"payload": NaN}', "expected numbers and texts that JSON can hold."),
    (job(id="a"), "id: expected one of"),
    (job(payload=[{"apiName": "list"}]), "payload[0].parameters: expected a value: this field is required."),
    (
        job(payload=[{"apiName": "lits", "parameters": {}}]),
        "payload[0].apiName: expected an API of the project, which has no such one; is list meant?",
    ),
    (job(schedule={"calendars": [{"hour": 99}]}), "schedule.calendars[0].hour: expected a whole number from 0 to 23"),
    (
        job(sink={"type": "webhook", "url": f"ftp://{SECRET}", "headers": {"authorization": SECRET}}),
        "sink.url: expected",
    ),
    (job(auth_session={"id": "anna"}), "auth_session: expected no such key, as the project uses no AuthSessions"),
]
REFUSED_AUTH_SESSIONS = [
    ("anna", '{"parameters": 1}', "parameters: expected an object."),
    ("anna", '{"parameter": {}}', "parameters: expected a value: this field is required."),
    ("a", ANNA, "expected an id of 3 to 200 characters"),
]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        *(({f"{JOBS}/a.job.json": text}, f"{JOBS}/a.job.json: {message}") for text, message in REFUSED_JOBS),
        *(
            (
                {**AUTH_PROJECT, f"{AUTH_SESSIONS}/{id_}.auth-session.json": text},
                f"{AUTH_SESSIONS}/{id_}.auth-session.json: {message}",
            )
            for id_, text, message in REFUSED_AUTH_SESSIONS
        ),
        (
            {**AUTH_PROJECT, f"{JOBS}/a.job.json": json.dumps(JOB)},
            f"{JOBS}/a.job.json: auth_session: expected an object with the id of an AuthSession, as the project uses",
        ),
        (
            {f"{JOBS}/a.job.json": json.dumps(JOB), f"{JOBS}/b/a.job.jsonc": json.dumps(JOB)},
            f"{JOBS}/b/a.job.jsonc: Job 'a' is defined by {JOBS}/a.job.json already. Rename one of the files.",
        ),
        (
            {f"{JOBS}/a b.job.json": json.dumps(JOB)},
            f"{JOBS}/a b.job.json: expected an id of 1 to 128 characters, letters, digits, _ and - only, with a letter",
        ),
    ],
)
async def test_a_file_that_cannot_be_applied_is_refused_and_nothing_is_written(
    make_project: Make, store: FolderStore, files: dict[str, str], message: str
):
    folder = make_project(files)
    with pytest.raises(ProjectError) as error:
        await deploy(folder, store)
    assert error.value.message.startswith(message)
    assert SECRET not in f"{error.value!r} {error.value.details}"
    assert [key async for key in store.list("")] == []


async def test_what_makes_neither_a_job_nor_an_auth_session_is_warned_of(make_project: Make, store: FolderStore):
    folder = make_project(
        {
            "intuned-resources/buckets/b.json": "{}",
            f"{JOBS}/nightly.json": "{}",
            f"{AUTH_SESSIONS}/anna.auth-session.json": ANNA,
            f"{AUTH_SESSIONS}/anna.json": "{}",
        }
    )
    assert [str(warning) for warning in (await deploy(folder, store)).warnings] == [
        "intuned-resources/buckets: ignored, as a deploy makes Jobs and AuthSessions only",
        f"{JOBS}/nightly.json: ignored, as the file of a Job is named ID.job.json or ID.job.jsonc",
        (
            f"{AUTH_SESSIONS}/anna.json: ignored, as the file of an AuthSession is named ID.auth-session.json or "
            "ID.auth-session.jsonc"
        ),
        (
            f"{AUTH_SESSIONS}/anna.auth-session.json: ignored, as the project uses no AuthSessions "
            "(authSessions.enabled is false)"
        ),
    ]


async def test_a_login_that_people_record_is_made_by_no_file(make_project: Make, store: FolderStore):
    settings = '{"authSessions": {"enabled": true, "type": "MANUAL"}}'
    folder = make_project({**AUTH_PROJECT, "Intuned.jsonc": settings, f"{AUTH_SESSIONS}/anna.auth-session.json": ANNA})
    manifest = await deploy(folder, store)
    assert [str(warning) for warning in manifest.warnings] == [
        (
            f"{AUTH_SESSIONS}/anna.auth-session.json: ignored, as people record the logins of the project "
            '(authSessions.type is "MANUAL")'
        )
    ]
    assert not await read_resources(store, "shop", manifest.version)


async def test_a_damaged_artifact_asks_for_a_deploy(store: FolderStore, deployed: Deployed):
    version = (await deployed({f"{JOBS}/a.job.json": json.dumps(JOB)})).version
    await store.put(object_keys.resources("shop", version), b"{")
    with pytest.raises(StoreError, match="Deploy the project again"):
        await read_resources(store, "shop", version)
