'use strict';
/**
 * The state of a login (docs/contract.md, section 4.5) on its way into a browser and out of it, on its author's host.
 *
 * On a Machine, the supervisor does this (`callboard_runtime/state.py`), where all is explained.
 */

const { fillDatabases, findUnkept } = require('../callboard_runtime/indexed_db.js');

const STUB = '<!doctype html><link rel="icon" href="data:,">';
/** Value of `expires` for a cookie that ends with the browser. */
const SESSION = -1;
/** Seconds by which the expiry of a cookie must move to count as changed: sites put it off with each response. */
const SAME_TIME = 60;
/** Milliseconds that finding out what a state lacks may take, and most kinds of values that are named of an origin. */
const UNKEPT = { milliseconds: 2_500, most: 20 };
const NOTHING = { cookies: [], origins: [], sessionStorage: [] };

/** @typedef {{cookies: any[], origins: any[], sessionStorage: any[]}} State */

/**
 * Restore a state in a context that nobody has worked with yet. No request is sent to a site.
 * @param {any} context
 * @param {any} page A page of it.
 * @param {State} state
 */
async function restore(context, page, state) {
  const cookies = unexpired(state.cookies);
  if (cookies.length) await context.addCookies(cookies);
  if (state.origins.length) {
    await page.route('**/*', answer);
    for (const { origin, localStorage: items, indexedDB: databases } of state.origins) {
      await page.goto(origin);
      await page.evaluate(fillLocalStorage, items);
      if (databases) await page.evaluate(fillDatabases, JSON.stringify([origin, databases]));
    }
    await page.unroute('**/*');
    await page.goto('about:blank');
    const session = await context.newCDPSession(page);
    await session.send('Page.resetNavigationHistory');
    await session.detach();
  }
  if (state.sessionStorage.length) await context.addInitScript(fillSessionStorage, state.sessionStorage);
}

/**
 * Return the state that a context is in, and a sentence that names what it lacks, or null.
 * @param {any} context
 * @param {State | null} before What was restored in it. The session storage of origins without an open page is kept.
 * @param {boolean} databases Whether IndexedDB is a part of the state.
 * @returns {Promise<{state: State, unkept: string | null}>}
 */
async function capture(context, before, databases) {
  const [{ cookies, origins }, ...pages] = await Promise.all([
    context.storageState({ indexedDB: databases }),
    // A page that denies access, or is navigated meanwhile, has no storage to tell.
    ...context.pages().map((page) => page.evaluate(readSessionStorage).catch(() => null)),
  ]);
  const open = pages.filter((page) => page !== null);
  const kept = (before?.sessionStorage ?? []).filter(({ origin }) => !open.some((page) => page.origin === origin));
  // A partitioned cookie has the same key as the unpartitioned one of the same site, which is to win.
  const partitionedFirst = cookies.toSorted((one, other) => !one.partitionKey - !other.partitionKey);
  const state = {
    cookies: [...new Map(partitionedFirst.map((cookie) => [keyOf(cookie), cookieOf(cookie)])).values()],
    origins: ofOrigins(origins, 'localStorage'),
    sessionStorage: ofOrigins([...open, ...kept], 'sessionStorage'),
  };
  return { state, unkept: await unkeptOf(context, state) };
}

/** Name the values of IndexedDB that are not in the state. Playwright makes an empty object of each, without a word. */
async function unkeptOf(context, { origins }) {
  const lacking = origins.filter(({ indexedDB }) => JSON.stringify(indexedDB ?? []).includes('{"o":[],'));
  if (!lacking.length) return null;
  const named = [];
  try {
    const page = await context.newPage();
    await page.route('**/*', answer); // no script of the site is there, which could hide something
    const session = await context.newCDPSession(page);
    await session.send('Network.enable');
    await session.send('Network.setBypassServiceWorker', { bypass: true });
    for (const { origin } of lacking) {
      await page.goto(origin);
      const { found, all } = await page.evaluate(findUnkept, UNKEPT);
      named.push(...found.map(([name, store, kind]) => `${kind} in store ${store} of database ${name} of ${origin}`));
      if (!all) named.push(`perhaps more of ${origin}, which was not read in time`);
    }
    await page.close();
  } catch (error) {
    named.push(`perhaps more, as the browser did not tell the kinds of all values: ${error.message}`);
  }
  return named.length ? `The login has empty objects in place of what cannot be kept: ${named.join('; ')}.` : null;
}

async function answer(route) {
  await route.fulfill({ contentType: 'text/html', body: STUB });
}

function cookieOf({ name, value, domain, path, expires, httpOnly, secure, sameSite }) {
  return { name, value, domain, path, expires: expires >= 0 ? expires : SESSION, httpOnly, secure, sameSite };
}

/** Return one entry for each origin that has something. Of two items with the same name, the first one counts. */
function ofOrigins(entries, storage) {
  const stored = new Map();
  const more = new Map();
  for (const { origin, [storage]: items, indexedDB } of entries) {
    const known = stored.get(origin) ?? new Map();
    for (const { name, value } of items) if (!known.has(name)) known.set(name, value);
    if (indexedDB?.length) more.set(origin, { indexedDB });
    if ((known.size || more.has(origin)) && /^https?:/.test(origin)) stored.set(origin, known);
  }
  return [...stored].map(([origin, items]) => ({
    origin,
    [storage]: [...items].map(([name, value]) => ({ name, value })),
    ...more.get(origin),
  }));
}

/**
 * Tell whether two states are different logins. Neither order nor expired cookies matter.
 * @param {State} one
 * @param {State} other
 */
function differ(one, other) {
  const storages = ['origins', 'sessionStorage'].map((place) => [one, other].map((state) => sorted(state[place])));
  const [ours, theirs] = [one, other].map(({ cookies }) => new Map(unexpired(cookies).map((each) => [keyOf(each), each])));
  return (
    storages.some(([here, there]) => here !== there) ||
    ours.size !== theirs.size ||
    [...ours].some(([key, cookie]) => !theirs.has(key) || cookiesDiffer(cookie, theirs.get(key)))
  );
}

function sorted(entries) {
  const lines = entries.flatMap(({ origin, indexedDB = [], ...storage }) => [
    ...Object.values(storage).flat().map(({ name, value }) => JSON.stringify([origin, name, value])),
    ...indexedDB.flatMap((database) => linesOf(database).map((line) => JSON.stringify([origin, database.name, line]))),
  ]);
  return lines.sort().join('\n');
}

/** What a database holds, in lines whose order does not matter. The browser lists a store in the order of its keys. */
function linesOf({ version, stores }) {
  return [`${version}`, ...stores.map((store) => JSON.stringify(store))];
}

function cookiesDiffer(one, other) {
  if (['value', 'httpOnly', 'secure', 'sameSite'].some((field) => one[field] !== other[field])) return true;
  const [here, there] = [one.expires, other.expires];
  return here !== there && (here === SESSION || there === SESSION || Math.abs(here - there) >= SAME_TIME);
}

function keyOf({ name, domain, path }) {
  return JSON.stringify([name, domain, path]);
}

function unexpired(cookies) {
  const now = Date.now() / 1000;
  return cookies.filter(({ expires }) => expires === SESSION || expires > now);
}

// The following are executed in pages.

function fillLocalStorage(items) {
  for (const { name, value } of items) globalThis.localStorage.setItem(name, value);
}

function fillSessionStorage(stored) {
  for (const { origin, sessionStorage: items } of stored) {
    try {
      if (new URL(origin).origin !== globalThis.origin) continue;
      for (const { name, value } of items) {
        if (globalThis.sessionStorage.getItem(name) === null) globalThis.sessionStorage.setItem(name, value);
      }
    } catch {
      // A document that may not have storage throws. That is no reason to break a page that would work.
    }
  }
}

function readSessionStorage() {
  const storage = globalThis.sessionStorage;
  const names = Array.from({ length: storage.length }, (_, number) => storage.key(number));
  return { origin: globalThis.origin, sessionStorage: names.map((name) => ({ name, value: storage.getItem(name) })) };
}

module.exports = { NOTHING, capture, differ, restore };
