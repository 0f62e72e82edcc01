"""Whether every promise was kept, judged by the record of a run of chaos alone.

Each invariant is a function that tells every violation of it in a sentence.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta

from tests.chaos.record import Answer, Delivered, Deploy, Execution, JobRun, Record, Run

SETTLES_WITHIN = timedelta(seconds=60)
"""How long after a deploy with fewer Machines another Attempt may begin by the larger number: a worker that is cut off
learns of it by the end of its lease, and the store may be away when workers look at it."""
MAXIMUM_INTERRUPTED = 3
"""How many Attempts of a Run are made again because they were lost."""
CHECKS, CREATES = 3, 3
"""How many checks and creates a Validate or Create may make, lost ones left aside."""
GROWTH = 40.0
"""Most megabytes by which the memory of one process may grow after it has lived for a while."""

ENDED = {"completed", "failed", "canceled"}
_INFRASTRUCTURE = {"script-process-crashed", "internal-server-error"}
"""Errors of Attempts that may follow from what was done to the parts."""
_NEVER_RETURN = {"failing", "hanging", "crashing"}

Violations = Iterator[str]


def every_run_ended_once(record: Record) -> Violations:
    """Every accepted Run has ended, all who asked were told the same end, and it is listed once."""
    yield from record.refused
    listed = Counter(record.listed)
    for run in record.runs:
        if run.told is None or run.told.status not in ENDED:
            yield f"Run {run.run_id} ({run.api}) has not ended: {run.told}."
        elif run.read != run.told:
            yield f"Run {run.run_id} ({run.api}) has ended twice: first {run.told}, then {run.read}."
        if listed[run.run_id] != 1:
            yield f"Run {run.run_id} ({run.api}) is listed {listed[run.run_id]} times."
    known = {run.run_id for run in record.runs}
    if len(known) != len(record.runs):
        yield "Two starts have got the same Run."
    yield from (f"Run {run_id} is listed, but nobody has started it." for run_id in listed if run_id not in known)


def every_run_ended_truly(record: Record) -> Violations:
    """A Run's end is what its automation did, or what was done to it."""
    executions = _by_run(record)
    creates = {each.token for each in record.executions if each.kind == "create" and each.how == "returned"}
    for run in record.runs:
        if run.told is None:
            continue
        mine = executions[run.run_id]
        untrue = _untrue(run, run.told, mine, creates)
        if untrue is not None:
            yield f"Run {run.run_id} ({run.api}) {untrue}: {run.told}; executions: {mine}; Attempts: {run.attempts}."
        if len({each.deploy for each in mine}) > 1:
            yield f"Run {run.run_id} ({run.api}) has executed the code of several deploys: {mine}."


def _untrue(run: Run, answer: Answer, executions: list[Execution], creates: set[str]) -> str | None:
    """Return why the answer is not true, or None."""
    last = executions[-1] if executions else None
    match answer.status:
        case "completed":
            if last is None or last.how != "returned":
                return "is completed, but its last execution has not returned"
            result = answer.result or {}
            if (result.get("n"), result.get("token")) != (run.n, last.token):
                return "has a result that is not that of its last execution"
            if run.project == "members" and result.get("login") not in creates:
                return "had a login that nobody has made"
        case "failed":
            if answer.error != "api-attempts-failed":
                return "has failed with an error that nothing explains"
            counted = [each for each in run.attempts if each.status != "interrupted"]
            given_up = len(run.attempts) - len(counted) > MAXIMUM_INTERRUPTED
            if len(counted) < run.maximum_attempts and run.maximum_attempts > 1 and not given_up:
                return "has failed, but not made all of its Attempts"
            if any(each.status == "completed" for each in run.attempts):
                return "has failed, although an Attempt has completed"
            if answer.last_error == "script-execution-exception" and (last is None or last.how != "raised"):
                return "has failed with an exception that its automation has not raised"
            if answer.last_error == "script-timeout" and run.api != "hanging":
                return "has failed with a time-out, but its automation takes no time"
            known = _INFRASTRUCTURE | {"script-execution-exception", "script-timeout"}
            if answer.last_error not in known:
                return "has failed with an error that nothing explains"
        case "canceled":
            if answer.reason == "auth-session-validate-dependency-failed" and run.project == "members":
                return None
            if answer.reason != "cancelled-user-action" or not run.cancel_asked:
                return "is canceled, but nobody has asked for that"
        case _:
            return "has not ended"
    return None


def every_job_run_ended_with_a_run_of_each_item(record: Record) -> Violations:
    """A JobRun has one Run of each item, all with the code of one deploy, unless another one was active; it says so."""
    executions = _by_run(record)
    by_id = {run.run_id: run for run in record.runs}
    for job_run in record.job_runs:
        name = f"JobRun {job_run.job_run_id}"
        if (job_run.status, job_run.reason) == ("CANCELED", "another-job-run-active"):
            if job_run.results:
                yield f"{name} did not begin, but has results: {job_run.results}."
            continue
        if job_run.status != "SUCCESS":
            yield f"{name} has ended with status {job_run.status}, reason {job_run.reason}."
        if sorted(item for item, _ in job_run.results) != list(range(job_run.items)):
            yield f"{name} of {job_run.items} items has these results: {sorted(job_run.results)}."
        completed = sum(run.told is not None and run.told.status == "completed" for run in _runs_of(job_run, by_id))
        if (job_run.succeeded, job_run.failed) != (completed, len(job_run.results) - completed):
            yield f"{name} tells of {job_run.succeeded} and {job_run.failed} Runs, but {completed} have completed."
        if len(deploys := {each.deploy for _, run_id in job_run.results for each in executions[run_id]}) > 1:
            yield f"{name} has executed the code of several deploys: {sorted(deploys)}."


def _runs_of(job_run: JobRun, by_id: dict[str, Run]) -> Iterator[Run]:
    return (by_id[run_id] for _, run_id in job_run.results if run_id in by_id)


def no_automation_ran_too_often(record: Record) -> Violations:
    """No Run was executed more often than it has Attempts, nor had more of these than it may.

    An Attempt whose record the store refused for longer than its end may last counts, if its worker has said so.
    """
    executions = _by_run(record)
    unrecorded: defaultdict[str, set[int]] = defaultdict(set)
    for run_id, number in record.unrecorded:
        unrecorded[run_id].add(number)
    for run in record.runs:
        begun = len(executions[run.run_id])
        interrupted = sum(attempt.status == "interrupted" for attempt in run.attempts)
        counted = len(run.attempts) - interrupted
        untold = unrecorded[run.run_id] - {attempt.number for attempt in run.attempts}
        if begun > len(run.attempts) + len(untold):
            yield f"Run {run.run_id} ({run.api}) has {len(run.attempts)} Attempts, but was executed {begun} times."
        if run.maximum_attempts == 1 and begun > 1:
            yield f"Run {run.run_id} ({run.api}) may be executed once, but was executed {begun} times."
        if counted > run.maximum_attempts:
            yield f"Run {run.run_id} ({run.api}) made {counted} of at most {run.maximum_attempts} Attempts."
        if interrupted > MAXIMUM_INTERRUPTED + 1:
            yield f"Run {run.run_id} ({run.api}) was made again after {interrupted} lost Attempts."
    known = {run.run_id for run in record.runs}
    logins: Counter[tuple[str, str]] = Counter()
    for each in record.executions:
        if each.kind != "api":
            logins[each.run_id, each.kind] += 1
        elif each.run_id not in known:
            yield f"Execution {each.token} is of a Run that nobody has started: {each.run_id}."
    for (run_id, kind), count in logins.items():
        if count > (2 * CHECKS + MAXIMUM_INTERRUPTED if kind == "check" else CREATES):
            yield f"Run {run_id} has executed {kind} {count} times."


def never_two_copies(record: Record) -> Violations:
    """Of one Run, no execution begins before the one before it has ended."""
    for run_id, executions in _by_run(record).items():
        for before, after in itertools.pairwise(executions):
            if after.began < before.ended:
                yield f"Run {run_id} was executed twice at the same time: {before} and {after}."


def never_more_attempts_than_machines(record: Record) -> Violations:
    """When an execution begins, its project has no more of them than Machines; after a decrease, what runs may end."""
    by_project: defaultdict[str, list[Execution]] = defaultdict(list)
    for each in record.executions:
        by_project[each.project].append(each)
    for project, executions in by_project.items():
        deploys = [deploy for deploy in record.deploys if deploy.project == project]
        running: list[Execution] = []
        for each in sorted(executions, key=lambda each: each.began):
            running = [*(other for other in running if other.ended > each.began), each]
            if len(running) > (allowed := machines_at(deploys, each.began)):
                yield (
                    f"Project {project} may have {allowed} Machines, but at {each.began:.3f} it had {len(running)}"
                    f" executions: {running}."
                )


def machines_at(deploys: list[Deploy], time: float) -> int:
    """Return how many Machines a project may have at most, as its deploys say, which are in their order."""
    most = 0
    for deploy, following in zip(deploys, [*deploys[1:], None], strict=True):
        finished = following.finished if following is not None else None
        if deploy.began <= time and (finished is None or time <= finished + SETTLES_WITHIN.total_seconds()):
            most = max(most, deploy.machines)
    return most


def canceled_means_gone(record: Record) -> Violations:
    """When a Run is told to be canceled, none of its executions lives."""
    executions = _by_run(record)
    for run in record.runs:
        if run.told is not None and run.told.status == "canceled":
            for each in executions[run.run_id]:
                if each.ended > run.told_at:
                    yield f"Run {run.run_id} ({run.api}) was told to be canceled at {run.told_at:.3f}, but ran: {each}."


def every_delivery_arrived(record: Record) -> Violations:
    """What has a sink arrives there, true, signed and always the same, and nothing else does."""
    arrived: defaultdict[tuple[str, str], list[Delivered]] = defaultdict(list)
    for each in record.delivered:
        arrived[each.sink, each.id].append(each)
    for run in record.runs:
        bodies = arrived.pop((run.sink, run.run_id), []) if run.sink is not None else []
        wanted = run.sink is not None and run.told is not None and run.told.status in {"completed", "failed"}
        if wanted and not bodies:
            yield f"The result of Run {run.run_id} ({run.api}) was not delivered to its {run.sink}."
        if wanted and run.deliveries != ["delivered"]:
            yield f"Run {run.run_id} ({run.api}) says of its Delivery: {run.deliveries}."
        if not wanted and bodies:
            yield f"Run {run.run_id} ({run.api}) was delivered: {bodies[0].body}."
        if len({each.body for each in bodies}) > 1:
            yield f"Run {run.run_id} ({run.api}) was delivered with different bodies: {[each.body for each in bodies]}."
        if not all(each.signed for each in bodies):
            yield f"Run {run.run_id} ({run.api}) was delivered without a right signature."
        if wanted and bodies and run.told is not None and not _is_true(bodies[0].body, run, run.told):
            yield f"The delivered result of Run {run.run_id} ({run.api}) is not true: {bodies[0].body}."
    yield from (f"Something arrived in the {sink} that no Run sends there: {id_}." for sink, id_ in arrived)


def _is_true(body: str, run: Run, answer: Answer) -> bool:
    try:
        info = json.loads(body)["apiInfo"]
        result = info["result"]
        same = result["status"] == answer.status and info["runId"] == run.run_id and info["name"] == run.api
        if answer.status == "completed":
            return same and result["result"] == answer.result
        return same and result["error"] == answer.error
    except (ValueError, KeyError, TypeError):
        return False


def nothing_is_left(record: Record) -> Violations:
    """When all parts have stopped, no process, folder or lease is there, and no execution goes on."""
    left = record.left
    yield from (f"A process is left: {each}." for each in left.processes)
    yield from (f"A folder is left: {each}." for each in left.folders)
    yield from (f"A lease is left: {each}." for each in left.leases)
    yield from (f"An execution goes on: {each}." for each in left.executions)


def memory_is_flat(record: Record) -> Violations:
    """No process of Callboard grows once it has lived for a while."""
    for each in record.growth:
        if each.ended - each.began > GROWTH:
            yield (
                f"{each.part} has grown from {each.began:.0f} to {each.ended:.0f} MB within {each.minutes:.0f} minutes."
            )


INVARIANTS: tuple[Callable[[Record], Violations], ...] = (
    every_run_ended_once,
    every_run_ended_truly,
    every_job_run_ended_with_a_run_of_each_item,
    no_automation_ran_too_often,
    never_two_copies,
    never_more_attempts_than_machines,
    canceled_means_gone,
    every_delivery_arrived,
    nothing_is_left,
    memory_is_flat,
)


def check(record: Record) -> dict[str, list[str]]:
    """Return the violations of each invariant, by its name."""
    return {invariant.__name__: list(invariant(record)) for invariant in INVARIANTS}


def _by_run(record: Record) -> defaultdict[str, list[Execution]]:
    """Return the executions of each Run's own automation, in the order in which they began."""
    found: defaultdict[str, list[Execution]] = defaultdict(list)
    for each in sorted(record.executions, key=lambda each: each.began):
        if each.kind == "api":
            found[each.run_id].append(each)
    return found
