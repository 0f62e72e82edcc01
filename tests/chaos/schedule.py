"""Which fault befalls which part, and when: made from a seed alone, so that it can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

WORKERS = ("worker-1", "worker-2", "worker-3")
APIS = ("api-1", "api-2")
CONTROL = "control"
SERVERS = ("temporal", "store")


class Act(StrEnum):
    """What is done to a part."""

    KILL = "kill"
    """SIGKILL; it is started again."""
    RESTART = "restart"
    """SIGTERM; it is started again."""
    STOP = "stop"
    """SIGSTOP, and SIGCONT after a while."""
    REFUSE = "refuse"
    """One of its connections is reset, and refused for a while."""
    SILENCE = "silence"
    """One of its connections carries nothing for a while."""
    MACHINE = "machine"
    """A process of one of its Machines is killed."""


MACHINE_PROCESSES = ("user code", "zygote", "supervisor", "driver", "browser", "keeper")


@dataclass(frozen=True)
class Fault:
    """Something that befalls a part."""

    at: float
    """Seconds after the beginning."""
    act: Act
    part: str
    seconds: float = 0
    """How long it lasts."""
    of: str = ""
    """The server that is cut off, or the process of the Machine."""

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        of = f" ({self.of})" if self.of else ""
        return f"{self.at:7.1f} s: {self.act} {self.part}{of}{lasting}"


@dataclass(frozen=True)
class _Kind:
    weight: int
    act: Act
    parts: tuple[str, ...]
    longest: float = 0
    of: tuple[str, ...] = ("",)


_KINDS = (
    _Kind(4, Act.KILL, WORKERS),
    _Kind(2, Act.KILL, (CONTROL,)),
    _Kind(2, Act.KILL, APIS),
    _Kind(1, Act.KILL, SERVERS),
    _Kind(2, Act.RESTART, WORKERS),
    _Kind(1, Act.RESTART, (CONTROL, *APIS)),
    _Kind(4, Act.STOP, WORKERS, 45),
    _Kind(2, Act.STOP, (CONTROL, *APIS), 15),
    _Kind(1, Act.STOP, SERVERS, 8),
    _Kind(4, Act.REFUSE, WORKERS, 45, SERVERS),
    _Kind(4, Act.SILENCE, WORKERS, 45, SERVERS),
    _Kind(2, Act.REFUSE, (CONTROL, *APIS), 15, SERVERS),
    _Kind(2, Act.SILENCE, (CONTROL, *APIS), 15, SERVERS),
    _Kind(5, Act.MACHINE, WORKERS, of=MACHINE_PROCESSES),
)


def plan_faults(seed: int, seconds: float, *, every: float) -> list[Fault]:
    """Return the faults of a run of this length, in their order.

    Args:
        seed: The same seed gives the same faults.
        seconds: How long the run lasts.
        every: Mean number of seconds between two faults.
    """
    chance = random.Random(seed)
    faults: list[Fault] = []
    at = chance.expovariate(1 / every)
    while at < seconds:
        (kind,) = chance.choices(_KINDS, [kind.weight for kind in _KINDS])
        lasting = min(1 + chance.random() * kind.longest, seconds - at) if kind.longest else 0
        faults.append(Fault(at, kind.act, chance.choice(kind.parts), lasting, chance.choice(kind.of)))
        at += chance.expovariate(1 / every)
    return faults
