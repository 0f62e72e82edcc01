"""The activity that has a Run counted for the alerts of its project.

It is a local activity of the workflow of the Run, so it runs on workers with the role `control`. It brings the rules of
the version that is deployed by now, so that the newest ones count.
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import activity
from temporalio.client import Client

from callboard.projects.catalog import Catalog
from callboard.projects.manifest import Manifest
from callboard.schemas.workflow import names
from callboard.schemas.workflow.alert import AlertRule, CountedRun, CountRunInput, ToldRule
from callboard.schemas.workflow.sink import DeliverySchedule, SealedSink
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import delivery_schedule, seal_webhook
from callboard.settings import Settings
from callboard.temporal.alerts import Alerts


@dataclass(frozen=True)
class AlertActivities:
    """The activity `count_run`, for the workflows of Runs."""

    alerts: Alerts
    catalog: Catalog
    keyring: KeyRing
    schedule: DeliverySchedule
    """How Deliveries to those who are told are tried again."""

    @classmethod
    def of(cls, settings: Settings, client: Client, catalog: Catalog) -> AlertActivities:
        """Return the activity of a worker with these settings. Raises ConfigurationError if a key is too short."""
        return cls(Alerts(client), catalog, KeyRing.of(settings), delivery_schedule(settings))

    @activity.defn(name=names.COUNT_RUN)
    async def count_run(self, input: CountRunInput) -> None:
        """Bring a Run that has ended to the alerts of its project, with the rules of these; it may be repeated.

        Raises:
            StoreError: The store failed; repeating may help.
            RPCError: Temporal failed; repeating may help.
            ConfigurationError: There is no key to seal the addresses with.
        """
        manifest = await self.catalog.get_current(input.project)
        rules = () if manifest is None else self._rules(input.workspace, manifest)
        await self.alerts.count(input.workspace, input.project, CountedRun(run=input.run, rules=rules))

    def _rules(self, workspace: str, manifest: Manifest) -> tuple[ToldRule, ...]:
        """Return the rules of the project. Several who are told of the same rule are told of one alert."""
        bound_to = seal_context.run(workspace, manifest.project, names.ALERTS_OWNER)
        found: list[tuple[AlertRule, list[SealedSink]]] = []
        for setting in manifest.settings.alerts:
            webhook = seal_webhook(setting.url, {}, self.keyring, bound_to, secret=setting.secret)
            sink = SealedSink(webhook=webhook, schedule=self.schedule)
            same = next((sinks for rule, sinks in found if rule == setting.rule), None)
            same.append(sink) if same is not None else found.append((setting.rule, [sink]))
        return tuple(ToldRule(rule=rule, sinks=tuple(sinks)) for rule, sinks in found)
