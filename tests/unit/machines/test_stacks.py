"""Where an automation waits is told through everything by which asyncio waits for tasks."""

from __future__ import annotations

import asyncio
import runpy
import textwrap
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from callboard.machines.runner.stacks import waiting_at

LEAVES = """
import asyncio

async def leaf(name):
    await asyncio.sleep(600)

async def other(name):
    await asyncio.Event().wait()
"""
ENDS = {
    "gather": "await asyncio.gather(leaf('a'), other('b'))",
    "gather_of_gathers": "await asyncio.gather(asyncio.gather(leaf('a')), other('b'))",
    "wait": "await asyncio.wait({asyncio.create_task(leaf('a')), asyncio.create_task(other('b'))})",
    "shield": "await asyncio.gather(asyncio.shield(leaf('a')), asyncio.shield(other('b')))",
    "as_completed": "for each in asyncio.as_completed([leaf('a'), other('b')]): await each",
    "wait_for": "await asyncio.wait_for(asyncio.gather(leaf('a'), other('b')), 600)",
    "task": "await asyncio.gather(asyncio.create_task(leaf('a')), asyncio.create_task(nested()))",
    "group": """
        async with asyncio.TaskGroup() as group:
            group.create_task(leaf('a'))
            group.create_task(other('b'))
    """,
}
NESTED = """
async def nested():
    async with asyncio.TaskGroup() as group:
        group.create_task(other('b'))
"""


async def told(folder: Path, name: str, source: str) -> str:
    file = folder / f"{name}.py"
    file.write_text(source)
    return await at(runpy.run_path(str(file))["automation"](), folder)


async def at(coroutine: Coroutine[Any, Any, Any], folder: Path) -> str:
    task = asyncio.create_task(coroutine)
    for _ in range(50):  # until all of it waits
        await asyncio.sleep(0)
    stack = waiting_at(task, folder)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for each in others:
        if each is task or "leaf" in repr(each) or "other" in repr(each) or "nested" in repr(each):
            each.cancel()
    await asyncio.wait({task})
    return stack


@pytest.mark.parametrize("how", ENDS)
async def test_each_awaited_task_is_shown(tmp_path: Path, how: str) -> None:
    body = textwrap.indent(textwrap.dedent(ENDS[how]), "    ")
    stack = await told(tmp_path, f"waits_by_{how}", f"{LEAVES}{NESTED}\nasync def automation():\n{body}\n")
    assert stack.startswith(f'  File "waits_by_{how}.py", line ')
    assert ", in automation\n" in stack
    assert f'  File "waits_by_{how}.py", line 5, in leaf\n    await asyncio.sleep(600)\n' in stack
    assert f'  File "waits_by_{how}.py", line 8, in other\n    await asyncio.Event().wait()\n' in stack
    assert stack.count("It awaits task 'Task-") == (3 if how == "task" else 2)
    assert ("nested:\n" in stack) == (how == "task")


async def test_a_generator_is_shown_as_it_makes_its_next_value(tmp_path: Path) -> None:
    rows = "async def rows(): yield await leaf('a')"
    source = f"{LEAVES}\n{rows}\n\nasync def automation():\n    async for row in rows(): pass\n"
    stack = await told(tmp_path, "waits_for_rows", source)
    functions = [line.rpartition(", in ")[2] for line in stack.splitlines() if line.startswith("  File ")]
    assert functions[:3] == ["automation", "rows", "leaf"]


async def test_those_that_are_done_are_not_shown(tmp_path: Path) -> None:
    source = f"{LEAVES}\nasync def quick(): pass\n\nasync def automation(): await asyncio.gather(quick(), leaf('a'))\n"
    stack = await told(tmp_path, "waits_for_one", source)
    assert stack.count("It awaits") == 1


async def test_tasks_that_wait_for_each_other_are_shown_once(tmp_path: Path) -> None:
    source = f"""{LEAVES}
async def leaf_of(task): await asyncio.wait({{task}})

async def automation():
    own = asyncio.current_task()
    await asyncio.gather(leaf_of(own), leaf_of(own))
"""
    assert (await told(tmp_path, "waits_for_itself", source)).count("It awaits") == 2


@pytest.mark.parametrize("deep", [False, True])
async def test_of_many_tasks_some_are_shown(tmp_path: Path, deep: bool) -> None:
    many = "await asyncio.gather(*[leaf(n) for n in range(5000)])"
    chain = "await asyncio.gather(automation_leaf(30))"
    source = f"""{LEAVES}
async def automation_leaf(n):
    await asyncio.create_task(automation_leaf(n - 1) if n else leaf(n))

async def automation():
    {chain if deep else many}
"""
    stack = await told(tmp_path, "waits_for_many", source)
    assert stack.endswith("\nMore tasks are awaited.\n")
    assert stack.count("It awaits") == 10
    assert len(stack) < 12_000
