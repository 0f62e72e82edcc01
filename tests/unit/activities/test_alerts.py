"""A Run that ends is counted by the rules of the version that is deployed by then, whose secrets are sealed."""

from pathlib import Path
from typing import Any

from activities.alerts import AlertActivities
from callboard.projects.catalog import Catalog
from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import CountedRun, CountRunInput, EndedRun
from callboard.schemas.workflow.sink import SealedWebhook
from callboard.security import seal_context
from callboard.storage.folder import FolderStore
from callboard.temporal.alerts import Alerts
from tests.support.api_in_process import deploy_project
from tests.support.constants import WORKSPACE
from tests.support.delivery_inputs import QUICK, RING
from tests.support.in_memory_temporal import BEGAN
from tests.support.present import present

SECRET = f"whsec_{'MfKQ' * 8}"
RULE = {"failures": 3, "within": "1h"}


class CountedAlerts(Alerts):
    """What was counted."""

    def __init__(self) -> None:
        self.counted: list[CountedRun] = []

    async def count(self, workspace: str, project: str, counted: CountedRun) -> None:
        assert (workspace, project) == (WORKSPACE, "shop")
        self.counted.append(counted)


async def count(store: FolderStore) -> CountedRun:
    alerts = CountedAlerts()
    run = EndedRun(id="run-1", at=BEGAN, failed=True)
    activities = AlertActivities(alerts, Catalog(store), RING, QUICK)
    await activities.count_run(CountRunInput(workspace=WORKSPACE, project="shop", run=run))
    (counted,) = alerts.counted
    assert counted.run == run
    return counted


async def test_the_newest_rules_count_and_each_has_all_who_are_told(tmp_path: Path):
    store = FolderStore(tmp_path / "store")
    assert (await count(store)).rules == (), "the project was deleted"
    first = {**RULE, "url": "https://hook.example/?t0p", "secret": SECRET}
    rate = {"successRate": 0.9, "of": 20, "url": "https://hook.example/rate"}
    second = {"failures": 3, "within": 3600, "url": "https://other.example"}
    for version, alerts in enumerate([[rate], [first, rate, second]]):
        await deploy_project(tmp_path / f"{version}", store, projectName="shop", alerts=alerts)
    failures, of_rate = (await count(store)).rules
    assert [len(each.sinks) for each in (failures, of_rate)] == [2, 1]
    hook = present(failures.sinks[0].webhook)
    assert opened(hook) == (first["url"], SECRET)
    assert opened(present(failures.sinks[1].webhook)) == (second["url"], None)
    assert all(secret not in failures.model_dump_json() for secret in ("t0p", SECRET))


def opened(hook: SealedWebhook) -> tuple[Any, ...]:
    bound_to = seal_context.run(WORKSPACE, "shop", names.ALERTS_OWNER)
    return tuple(
        None if sealed is None else RING.open(sealed, bound_to=bound_to) for sealed in (hook.sealed_url, hook.secret)
    )
