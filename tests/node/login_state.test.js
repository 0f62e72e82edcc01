'use strict';
const assert = require('node:assert');
const { test } = require('node:test');

const { NOTHING, capture, differ } = require('../../runtime/node/login_state.js');

const SITE = 'https://site.example';
const COOKIE = { name: 'sid', value: '1', domain: 'site.example', path: '/', expires: -1, httpOnly: true, secure: true, sameSite: 'Lax' };
const LATER = Date.now() / 1000 + 1_000;

/** A context with this storage, whose pages tell these origins and session storages; null is a page that denies it. */
function contextWith(cookies, origins, pages) {
  return {
    storageState: async () => ({ cookies, origins }),
    pages: () => pages.map((page) => ({ evaluate: async () => page ?? Promise.reject(new Error('denied')) })),
  };
}

const stored = (storage, origin, items) => ({
  origin,
  [storage]: Object.entries(items).map(([name, value]) => ({ name, value })),
});
const session = (origin, items) => stored('sessionStorage', origin, items);

test('a state has what the contract says of it, and of origins without an open page what was restored', async () => {
  const before = { ...NOTHING, sessionStorage: [session('https://other.example', { a: '1' }), session(SITE, { old: '1' })] };
  const cookies = [{ ...COOKIE, partitionKey: 'x', value: 'partitioned' }, COOKIE, { ...COOKIE, name: 'p', partitionKey: 'x' }];
  const pages = [session(SITE, { now: '2' }), session('null', { a: '1' }), null, session('https://none.example', {})];
  const local = stored('localStorage', SITE, { a: '1' });
  const { state } = await capture(contextWith(cookies, [local], pages), before, false);
  assert.deepEqual(state, {
    cookies: [COOKIE, { ...COOKIE, name: 'p' }],
    origins: [local],
    sessionStorage: [session(SITE, { now: '2' }), session('https://other.example', { a: '1' })],
  });
});

test('what a site does to each login is no change of it', () => {
  const state = { ...NOTHING, cookies: [COOKIE, { ...COOKIE, name: 'b', expires: LATER }] };
  const postponed = { ...COOKIE, name: 'b', expires: LATER + 59 };
  const expired = { ...COOKIE, name: 'c', expires: 1 };
  assert.equal(differ(state, { ...NOTHING, cookies: [postponed, expired, COOKIE] }), false);
});

for (const [what, changed] of Object.entries({
  'a value': { cookies: [{ ...COOKIE, value: '2' }] },
  'a flag': { cookies: [{ ...COOKIE, secure: false }] },
  'an end': { cookies: [{ ...COOKIE, expires: LATER }] },
  'a cookie less': { cookies: [] },
  'a cookie more': { cookies: [COOKIE, { ...COOKIE, path: '/a' }] },
  'local storage': { origins: [stored('localStorage', SITE, { a: '1' })] },
  'a database': { origins: [{ origin: SITE, localStorage: [], indexedDB: [{ name: 'a', version: 1, stores: [] }] }] },
  'session storage': { sessionStorage: [session(SITE, { a: '1' })] },
})) {
  test(`${what} makes another login`, () => {
    const state = { ...NOTHING, cookies: [COOKIE] };
    assert.equal(differ(state, { ...state, ...changed }), true);
  });
}
