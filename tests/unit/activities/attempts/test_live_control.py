"""Who has the hands on a browser: one at a time, for as long as inputs come."""

import pytest

from activities.attempts import live_control
from activities.attempts.live_control import Control
from callboard.schemas.workflow.live import LiveHolder, LiveOutcome
from tests.support.polling import until

ANNA, BERT = LiveHolder(id="key-1", name="Anna"), LiveHolder(id="key-2/session", name="Bert")


async def test_one_has_the_hands_until_they_are_given_back():
    freed = list[str]()
    control = Control(lambda: freed.append("freed"))
    assert control.renew(ANNA) is not None
    assert control.give(ANNA).outcome is LiveOutcome.NOT_HELD
    assert control.take(ANNA).outcome is LiveOutcome.DONE
    refused = control.take(BERT)
    assert (refused.outcome, refused.holder) == (LiveOutcome.HELD, "Anna")
    assert control.give(BERT).outcome is LiveOutcome.NOT_HELD
    assert control.take(ANNA).outcome is LiveOutcome.DONE  # after a reload of the page
    assert control.renew(ANNA) is None
    assert not freed
    assert control.give(ANNA).outcome is LiveOutcome.DONE
    assert freed == ["freed"]
    assert control.take(BERT).outcome is LiveOutcome.DONE
    control.free()
    assert (freed, control.holder) == (["freed", "freed"], None)


async def test_a_lease_without_inputs_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_control, "LEASE", 0.01)
    freed = list[str]()
    control = Control(lambda: freed.append("freed"))
    control.take(ANNA)
    await until(lambda: freed)
    assert control.take(BERT).outcome is LiveOutcome.DONE
    control.free()
