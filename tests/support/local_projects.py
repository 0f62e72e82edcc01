"""One project in each language, which its author calls by `callboard run`: the same functions, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

_PYTHON = {
    "Intuned.jsonc": "{}",
    "api/echo.py": """
import logging
from intuned_runtime import extend_payload, set_attribute

async def automation(page, params=None, **_kwargs):
    print("printed")
    logging.getLogger("shop").info("logged")
    await page.set_content("<title>Echo</title><script>console.log('of the page')</script>")
    extend_payload({"api": "more", "parameters": {"page": 2}})
    set_attribute("pages", 1)
    return {"given": params, "title": await page.title()}
""",
    "api/shop/fail.py": """
async def automation(page, params=None, **_kwargs):
    return params["url"].strip()
""",
    "api/wait.py": """
async def automation(page, params=None, **_kwargs):
    print("it waits")
    await page.wait_for_event("popup", timeout=0)
""",
    "api/block.py": """
import subprocess, time

async def automation(page, params=None, **_kwargs):
    print("it blocks")
    subprocess.Popen(["sleep", "3600"], start_new_session=True)
    time.sleep(3600)
""",
    "api/variables.py": """
import os

async def automation(page, params=None, **_kwargs):
    return {name: os.environ.get(name) for name in params}
""",
    "api/ask.py": r"""
from callboard_runtime import HandoffDeclined, HandoffTimeout, request_input

async def automation(page, params=None, **_kwargs):
    try:
        return await request_input(
            "The code of the text message", pattern=r"[0-9]{6}", secret=True, timeout=params["timeout"]
        )
    except (HandoffDeclined, HandoffTimeout) as error:
        return type(error).__name__
""",
    "api/visit.py": """
async def automation(page, params=None, **_kwargs):
    visits = {c["name"]: c["value"] for c in await page.context.cookies()}
    later = str(int(visits.get("visits", 0)) + 1)
    await page.context.add_cookies([{"name": "visits", "value": later, "url": "https://site.example"}])
    return visits
""",
    "auth-sessions/create.py": """
from callboard_runtime import request_input

async def create(page, params=None, **_kwargs):
    if "password" not in params:
        params["password"] = yield request_input("The password")
    if params["password"] != "right":
        raise ValueError("The site wants another password.")
    await page.context.add_cookies([{"name": "user", "value": params["user"], "url": "https://site.example"}])
""",
    "auth-sessions/check.py": """
from intuned_runtime import get_auth_session_parameters

async def check(page, **_kwargs):
    user = (await get_auth_session_parameters())["user"]
    return user != "gone" and user in [cookie["value"] for cookie in await page.context.cookies()]
""",
}
_TYPESCRIPT = {
    "Intuned.jsonc": "{}",
    "package.json": "{}",
    "api/echo.ts": """
import { extendPayload, setAttribute } from '@intuned/runtime';

export default async function handler(params: unknown, page: any) {
  console.log('printed');
  console.error('INFO shop: logged');
  await page.setContent("<title>Echo</title><script>console.log('of the page')</script>");
  extendPayload({ api: 'more', parameters: { page: 2 } });
  setAttribute('pages', 1);
  return { given: params, title: await page.title() };
}
""",
    "api/shop/fail.ts": """
export default async function handler(params: { url?: string }) {
  return params.url!.trim();
}
""",
    "api/wait.ts": """
export default async function handler(params: unknown, page: any) {
  console.log('it waits');
  await page.waitForEvent('popup', { timeout: 0 });
}
""",
    "api/block.ts": """
import { spawn } from 'node:child_process';

export default async function handler() {
  console.log('it blocks');
  spawn('sleep', ['3600'], { detached: true });
  while (true) {}
}
""",
    "api/variables.ts": """
export default async function handler(names: string[]) {
  return Object.fromEntries(names.map((name) => [name, process.env[name] ?? null]));
}
""",
    "api/ask.ts": r"""
import { HandoffDeclined, HandoffTimeout, requestInput } from '@callboard/runtime';

export default async function handler({ timeout }: { timeout: number | string }) {
  try {
    return await requestInput('The code of the text message', { pattern: /[0-9]{6}/, secret: true, timeout });
  } catch (error) {
    if (error instanceof HandoffDeclined || error instanceof HandoffTimeout) return error.name;
    throw error;
  }
}
""",
    "api/visit.ts": """
export default async function handler(params: unknown, page: any, context: any) {
  const visits = Object.fromEntries((await context.cookies()).map((cookie: any) => [cookie.name, cookie.value]));
  const value = String(Number(visits.visits ?? 0) + 1);
  await context.addCookies([{ name: 'visits', value, url: 'https://site.example' }]);
  return visits;
}
""",
    "auth-sessions/create.ts": """
import { requestInput } from '@callboard/runtime';

type Params = { user: string; password?: string };

export default async function* create(params: Params, page: any, context: any): AsyncGenerator<unknown, void, string> {
  params.password ??= yield requestInput('The password');
  if (params.password !== 'right') throw new RangeError('The site wants another password.');
  await context.addCookies([{ name: 'user', value: params.user, url: 'https://site.example' }]);
}
""",
    "auth-sessions/check.ts": """
import { getAuthSessionParameters } from '@intuned/runtime';

export default async function check(page: any, context: any) {
  const { user } = await getAuthSessionParameters();
  return user !== 'gone' && (await context.cookies()).some(({ value }: any) => value === user);
}
""",
}


@dataclass(frozen=True)
class LocalKind:
    """A language, with what its project says where the languages differ."""

    name: str
    files: dict[str, str]
    environment: str
    """The folder of its packages."""
    nothing_given: object
    """What a function is given for no parameters."""
    fails: str
    """The message of `api/shop/fail`."""
    waits: str
    """Where `api/wait` waits."""
    blocks: str
    """Where `api/block` blocks."""
    refused: str
    """The message of a create that is refused."""


PYTHON = LocalKind(
    "python",
    _PYTHON,
    ".venv",
    nothing_given=None,
    fails="KeyError: 'url' (api/shop/fail.py:3)",
    waits="api/wait.py:4",
    blocks="api/block.py:7",
    refused="ValueError: The site wants another password. (auth-sessions/create.py:8)",
)
TYPESCRIPT = LocalKind(
    "typescript",
    _TYPESCRIPT,
    "node_modules",
    nothing_given={},
    fails="TypeError: Cannot read properties of undefined (reading 'trim') (api/shop/fail.ts:3)",
    waits="api/wait.ts:4",
    blocks="api/block.ts:7",
    refused="RangeError: The site wants another password. (auth-sessions/create.ts:8)",
)
