"""What a run of chaos has found, as a page in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tests.chaos.record import Record, Run

_SHOWN = 10
"""How many violations of one invariant are shown."""
_LEFT_OUT = ": left out"
"""What stands behind a fault that could not be inflicted."""


def write_report(record: Record, violations: Mapping[str, Sequence[str]]) -> str:
    """Return the report."""
    return "\n".join(_lines(record, violations))


def _lines(record: Record, violations: Mapping[str, Sequence[str]]) -> Iterator[str]:
    broken = sum(map(len, violations.values()))
    yield f"{len(record.runs)} Runs in {record.minutes:g} minutes, seed {record.seed}: {broken} violations."
    yield ""
    yield from _table(("invariant", "violations"), ((_words(name), len(found)) for name, found in violations.items()))
    for name, found in violations.items():
        yield from (f"- {_words(name)}: {each}" for each in found[:_SHOWN])
    yield ""
    ends = Counter((run.project, run.api, *_end(run)) for run in record.runs)
    yield from _table(
        ("project", "API", "cancel", "end", "Runs"), ((*key, count) for key, count in sorted(ends.items()))
    )
    yield ""
    yield from _table(("what happened", "count"), _counts(record))
    yield ""
    yield from _table(
        ("process", "MB after a minute", "MB at its end", "minutes"),
        ((each.part, f"{each.began:.0f}", f"{each.ended:.0f}", f"{each.minutes:.0f}") for each in record.growth),
    )


def _counts(record: Record) -> Iterator[tuple[str, int]]:
    left_out = {fault.partition(_LEFT_OUT)[0] for fault in record.faults if _LEFT_OUT in fault}
    inflicted = [
        fault.partition("s: ")[2].split() for fault in record.faults if _LEFT_OUT not in fault and fault not in left_out
    ]
    yield from sorted(Counter(f"{act} {part.partition('-')[0]}" for act, part, *_ in inflicted).items())
    yield from sorted(Counter(record.restarts).items())
    ends = Counter(job_run.reason or job_run.status for job_run in record.job_runs)
    yield from ((f"JobRuns {end}", count) for end, count in sorted(ends.items()))
    yield "deploys", len(record.deploys)
    for kind, count in sorted(Counter(each.kind for each in record.executions).items()):
        yield f"executions of {kind}", count
    yield "executions that were killed", sum(each.how is None for each in record.executions)
    attempts = Counter(attempt.status for run in record.runs for attempt in run.attempts)
    yield from ((f"Attempts {status}", count) for status, count in sorted(attempts.items()))
    errors = Counter(attempt.error for run in record.runs for attempt in run.attempts if attempt.error)
    yield from ((f"Attempts with error {error}", count) for error, count in sorted(errors.items()))
    arrived = Counter((each.sink, each.id) for each in record.delivered)
    yield "Deliveries that arrived", len(arrived)
    yield "requests of Deliveries beyond the first", sum(arrived.values()) - len(arrived)


def _end(run: Run) -> tuple[str, str]:
    return "asked for" if run.cancel_asked else "", "none" if run.told is None else run.told.status


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)


def _words(name: str) -> str:
    return name.replace("_", " ")
