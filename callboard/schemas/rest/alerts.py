"""Alerts of a project: which rule was broken, by which Runs, and until when (docs/contract.md, section 24)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Self

from pydantic import ConfigDict, Field

from callboard.schemas.rest.base import ResponseModel, absent_if_none
from callboard.schemas.workflow.alert import Alert, AlertRule

_UNITS = (("h", timedelta(hours=1)), ("m", timedelta(minutes=1)), ("s", timedelta(seconds=1)))


class AlertRuleBody(ResponseModel):
    """A rule as the settings have it, without who is told: the first two fields, or the other two."""

    failures: int | None = Field(default=None, exclude_if=absent_if_none)
    """As many Runs that have failed break the rule …"""
    within: str | None = Field(default=None, exclude_if=absent_if_none)
    """… within this time, such as `1h`."""
    success_rate: float | None = Field(default=None, exclude_if=absent_if_none)
    """A smaller part of Runs that have completed breaks the rule …"""
    of: int | None = Field(default=None, exclude_if=absent_if_none)
    """… among so many of the last Runs."""

    @classmethod
    def of_rule(cls, rule: AlertRule) -> Self:
        """Return what is told of a rule."""
        within = None if rule.within is None else _text(rule.within)
        return cls(failures=rule.failures, within=within, success_rate=rule.success_rate, of=rule.of)


class AlertBody(ResponseModel):
    """An alert: a rule was broken, and holds again, or does not yet."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "al_5f0c6f9a3c0b4d0c9a8f3d1e2b4c6a7d",
                    "rule": {"failures": 3, "within": "1h"},
                    "runs": ["V1StGXR8_Z5jdHi6B-myT", "Uakgb_J5m9g-0JDMbcJqL", "IRFa-VaY2b5pZCqm0kPvx"],
                    "openedAt": "2026-12-01T10:00:00Z",
                    "closedAt": None,
                }
            ]
        }
    )

    id: str
    rule: AlertRuleBody
    runs: list[str]
    """Ids of the Runs that have failed as the alert was opened, the oldest first."""
    opened_at: datetime
    closed_at: datetime | None
    """When the rule held again; null if it does not yet."""

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """Return what is told of an alert."""
        return cls(
            id=alert.id,
            rule=AlertRuleBody.of_rule(alert.rule),
            runs=list(alert.runs),
            opened_at=alert.opened_at,
            closed_at=alert.closed_at,
        )


class AlertList(ResponseModel):
    """Alerts: those that are open, then the last others, each the latest first."""

    alerts: list[AlertBody]


def _text(time: timedelta) -> str:
    """Return a time as settings have it, in the largest unit of which it is a multiple."""
    for name, unit in _UNITS:
        if time % unit == timedelta():
            return f"{time // unit}{name}"
    return f"{time.total_seconds():g}"
