'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');
const { afterEach, beforeEach, describe, test } = require('node:test');

const { enter, MOST_OPEN } = require('../../runtime/node/state.js');
const { RetryLater } = require('../../runtime/node/packages/@callboard/runtime');
const intuned = require('../../runtime/node/packages/@intuned/runtime');
const { real, table } = require('./same_as_python.js');

const KEY = Symbol.for('callboard.runtime');

let runtime;
let asked;
let extended;

beforeEach(() => {
  asked = [];
  extended = 0;
  runtime = enter({
    runInfo: { run_id: 'r1', job_run_id: null, auth_session_id: 'anna', auth_session: { cookies: [] } },
    ask: async (operation, given) => {
      asked.push([operation, given]);
      return { persistent_get: given.key === 'known' ? '{"a":[1]}' : null, auth_session_parameters: '{"user":"anna"}' }[
        operation
      ];
    },
    extendTimeout: () => void (extended += 1),
    kind: 'api',
    parameters: {},
    playwright: {},
  });
});

afterEach(() => delete globalThis[KEY]);

describe('the same is allowed as in Python', () => {
  for (const { key, value, allowed } of table.attributes) {
    test(`attribute ${JSON.stringify(key)}: ${JSON.stringify(value)}`, () => {
      const set = () => intuned.setAttribute(real(key), real(value));
      if (allowed) assert.deepEqual(set() ?? runtime.attributes, { [real(key)]: real(value) });
      else assert.throws(set, { name: 'TypeError', message: /^attribute .*: a (key|value) is / });
    });
  }
  for (const { key, allowed } of table.persistentKeys) {
    test(`key ${JSON.stringify(key)}`, async () => {
      for (const call of [
        () => intuned.persistentStore.get(real(key)),
        () => intuned.persistentStore.set(real(key), 1),
      ]) {
        if (allowed) await call();
        else await assert.rejects(call, { message: /^persistentStore: a key (is text of|has less than)/ });
      }
      assert.equal(asked.length, allowed ? 2 : 0);
    });
  }
  for (const { key, value, allowed } of table.persistentValues) {
    test(`value ${JSON.stringify(value)}`, async () => {
      const set = intuned.persistentStore.set(key, real(value));
      if (allowed) await set;
      else await assert.rejects(set, { message: /^persistentStore: the value for '.*' is / });
      assert.equal(asked.length, allowed ? 1 : 0);
    });
  }
  for (const { payload, kept } of table.payloads) {
    test(`payload ${JSON.stringify(payload)}`, () => {
      if (kept) assert.deepEqual(intuned.extendPayload(payload) ?? runtime.payloads, [kept]);
      else assert.throws(() => intuned.extendPayload(payload), { name: 'TypeError', message: /^A payload is / });
      assert.equal(extended, kept ? 1 : 0);
    });
  }
  for (const { seconds, allowed } of table.retryLater) {
    test(`RetryLater ${JSON.stringify(seconds)}`, () => {
      if (allowed) assert.equal(new RetryLater(real(seconds)).seconds, seconds);
      else
        assert.throws(() => new RetryLater(real(seconds)), {
          name: 'RangeError',
          message: /^RetryLater takes a number of /,
        });
    });
  }
});

test('attributes have bounds together, and what is refused leaves them as they were', () => {
  for (let number = 0; number < 64; number++) intuned.setAttribute(`a${number}`, number);
  assert.throws(() => intuned.setAttribute('more', 1), {
    name: 'RangeError',
    message: "attribute 'more': a Run has at most 64 attributes",
  });
  intuned.deleteAttribute('a0');
  intuned.deleteAttribute('a0');
  intuned.setAttribute('when', new Date(0));
  assert.equal(runtime.attributes.when, '1970-01-01T00:00:00.000Z');
  const large = Array(20).fill('é'.repeat(255));
  intuned.setAttribute('a1', large);
  assert.throws(() => intuned.setAttribute('a2', large), {
    name: 'RangeError',
    message: /^attribute 'a2': all attributes together would be \d+ bytes; at most 16384$/,
  });
  assert.equal(runtime.attributes.a2, 2);
  assert.throws(() => intuned.setAttribute('b', 1n), TypeError);
  assert.throws(() => intuned.setAttribute('b', new Date(NaN)), TypeError);
});

test('several payloads may come at once, and what says its own JSON', () => {
  intuned.extendPayload([{ api: 'a' }, { api: 'b', parameters: { toJSON: () => ({ id: 1 }) } }]);
  intuned.extendPayload({ api: 'c' }, { toJSON: () => ({ api: 'd', parameters: null }) });
  intuned.extendPayload([]);
  assert.deepEqual(runtime.payloads, [
    { api: 'a', parameters: {} },
    { api: 'b', parameters: { id: 1 } },
    { api: 'c', parameters: {} },
    { api: 'd', parameters: {} },
  ]);
  assert.throws(() => intuned.extendPayload([{ api: 'a' }, { api: 'b', parameters: new Map() }]), TypeError);
  assert.equal(runtime.payloads.length, 4);
});

test('modules that are not bundled can import each name, and each has a type', async () => {
  for (const name of ['@intuned/runtime', '@callboard/runtime']) {
    const folder = path.join(__dirname, '..', '..', 'runtime', 'node', 'packages', name);
    const { default: whole, ...names } = await import(path.join(folder, 'index.js'));
    const exported = Object.keys(whole).sort();
    assert.deepEqual(
      Object.keys(names).filter((each) => each !== 'module.exports'),
      exported,
    );
    const types = fs.readFileSync(path.join(folder, 'index.d.ts'), 'utf8');
    const typed = [...types.matchAll(/^export (?:class|const|function) (\w+)/gm)].map(([, each]) => each);
    assert.deepEqual(typed.sort(), exported);
  }
});

test('attemptStore keeps values as they are', () => {
  const page = { click: () => {} };
  assert.equal(intuned.attemptStore.get('page'), undefined);
  assert.equal(intuned.attemptStore.set('page', page), undefined);
  assert.equal(intuned.attemptStore.get('page'), page);
});

test('persistentStore keeps JSON', async () => {
  assert.deepEqual(await intuned.persistentStore.get('known'), { a: [1] });
  assert.equal(await intuned.persistentStore.get('unknown'), undefined);
  assert.equal(await intuned.persistentStore.set('seen', { when: new Date(0), word: 'é' }), undefined);
  assert.deepEqual(asked.at(-1), [
    'persistent_set',
    { key: 'seen', value: '{"when":"1970-01-01T00:00:00.000Z","word":"\\u00e9"}' },
  ]);
  await assert.rejects(intuned.persistentStore.set('bad', { items: [1n] }), {
    name: 'TypeError',
    message:
      "persistentStore: the value for 'bad' is not JSON: value.items[0]: JSON has no BigInt; " +
      'return Number(…) or String(…)',
  });
});

test('the execution context has names in camelCase, and nothing that does not apply', () => {
  const context = intuned.getExecutionContext();
  assert.deepEqual(context, { runId: 'r1', authSessionId: 'anna', authSession: { cookies: [] } });
  context.authSession.cookies.push('changed');
  assert.deepEqual(runtime.runInfo.auth_session, { cookies: [] });
});

test('the parameters of the AuthSession are asked for if there is one', async () => {
  assert.deepEqual(await intuned.getAuthSessionParameters(), { user: 'anna' });
  runtime.runInfo = { auth_session_id: null };
  await assert.rejects(intuned.getAuthSessionParameters(), {
    message: 'getAuthSessionParameters: this Run has no AuthSession.',
  });
});

test('extendTimeout restarts the clock', () => {
  intuned.extendTimeout();
  assert.equal(extended, 1);
});

test('what needs the platform says so, and calls nothing', async () => {
  let called = false;
  const names = [
    'getAiGatewayConfig',
    'onCaptchaEvent',
    'onceCaptchaEvent',
    'pauseCaptchaSolver',
    'resumeCaptchaSolver',
    'waitForCaptchaSolve',
    'withWaitForCaptchaSolve',
  ];
  for (const name of names) {
    await assert.rejects(
      intuned[name](async () => void (called = true), {}),
      (error) => {
        assert.ok(error instanceof intuned.PlatformOnlyError);
        return error.message.startsWith(
          `${name}() needs a service of Intuned's platform, which Callboard does not have.`,
        );
      },
    );
  }
  assert.equal(called, false);
});

test('outside of an Attempt, all say that there is none', async () => {
  delete globalThis[KEY];
  const message = 'There is no Attempt here: @intuned/runtime works only inside a running automation.';
  assert.throws(() => intuned.extendTimeout(), { message });
  assert.throws(() => intuned.attemptStore.get('a'), { message });
  assert.throws(() => intuned.setAttribute('a', 1), { message });
  assert.throws(() => intuned.extendPayload({ api: 'a' }), { message });
  await assert.rejects(intuned.persistentStore.get('a'), { message });
  await assert.rejects(intuned.getAuthSessionParameters(), { message });
  assert.equal(intuned.getExecutionContext(), undefined);
});

test('so many requests are open at a time, and the others wait for their turn', async () => {
  const open = [];
  const bounded = enter({ ask: (key) => new Promise((resolve) => open.push(() => resolve(key))) });
  const answers = Array.from({ length: MOST_OPEN + 3 }, (_, number) => bounded.ask(number));
  await new Promise(setImmediate);
  assert.equal(open.length, MOST_OPEN);
  open.shift()();
  await new Promise(setImmediate);
  assert.equal(open.length, MOST_OPEN);
  while (open.length) {
    open.shift()();
    await new Promise(setImmediate);
  }
  assert.deepEqual(
    await Promise.all(answers),
    answers.map((_, number) => number),
  );
});
