'use strict';
const assert = require('node:assert');
const { afterEach, beforeEach, describe, test } = require('node:test');

const { asMessage } = require('../../runtime/node/failures.js');
const { enter } = require('../../runtime/node/state.js');
const { HandoffDeclined, handOver, requestInput } = require('../../runtime/node/packages/@callboard/runtime');
const { real, table } = require('./same_as_python.js');

const KEY = Symbol.for('callboard.runtime');

let asked;
let end;

beforeEach(() => {
  asked = [];
  end = { status: 'completed', values: { code: '493027' } };
  enter({
    ask: async (operation, given) => {
      asked.push([operation, given]);
      return operation === 'request_input' || operation === 'hand_over' ? JSON.stringify(await end) : null;
    },
  });
});

afterEach(() => delete globalThis[KEY]);

describe('the same is allowed as in Python', () => {
  for (const { text, seconds, ...options } of table.questions) {
    test(`question ${JSON.stringify({ text, ...options })}`, async () => {
      const given = Object.entries(options).map(([name, value]) => [name, real(value)]);
      const asking = requestInput(real(text), Object.fromEntries(given));
      if (seconds) await asking;
      else await assert.rejects(asking, ({ name }) => name === 'TypeError' || name === 'RangeError');
      assert.deepEqual(
        asked.map(([, { timeout }]) => timeout),
        seconds ? [seconds] : [],
      );
    });
  }
});

test('a question is told as in Python, and each has a number of its own', async () => {
  const since = new Date(0);
  const options = { name: 'code', pattern: /\d{6}/, secret: true, timeout: '5m', codeTo: '+4917012345', since };
  assert.equal(await requestInput('The code', options), '493027');
  await requestInput('The code');
  const [[operation, first], [, second]] = asked;
  assert.equal(operation, 'request_input');
  const { question, ...told } = first;
  assert.deepEqual(told, {
    ...{ instructions: 'The code', name: 'code', pattern: '\\d{6}', masked: 'true', timeout: '300' },
    ...{ code_to: '+4917012345', since: '1970-01-01T00:00:00.000Z' },
  });
  assert.deepEqual(second, {
    ...{ question: `${Number(question) + 1}`, instructions: 'The code', name: 'code', pattern: '', masked: 'false' },
    ...{ timeout: '300', code_to: '', since: '' },
  });
});

for (const [options, says] of [
  [{ pattern: /[a-z]/gi }, 'a pattern has no flags, as it is matched elsewhere: write /[a-z]/gi without gi'],
  [{ pattern: 6 }, 'a pattern is text; not 6'],
  [{ codeTo: ' ' }, "codeTo is text; not ' '"],
  [{ since: new Date(0) }, 'since is a valid Date, beside codeTo; not 1970-01-01T00:00:00.000Z'],
  [{ codeTo: 'me', since: new Date(NaN) }, 'since is a valid Date, beside codeTo; not Invalid Date'],
]) {
  test(`what cannot be asked is a sentence: ${says}`, async () => {
    await assert.rejects(requestInput('The code', options), { name: 'TypeError', message: says });
    assert.equal(asked.length, 0);
  });
}

for (const [told, name, message] of [
  [{ status: 'declined', reason: 'Not my phone.' }, 'HandoffDeclined', 'Not my phone.'],
  [{ status: 'declined' }, 'HandoffDeclined', 'a person has declined to answer'],
  [{ status: 'expired' }, 'HandoffTimeout', 'nobody has answered in time: The code'],
  [{ status: 'withdrawn', reason: 'Too many.' }, 'HandoffUnavailable', 'Too many.'],
]) {
  test(`a question that is ${told.status} throws ${name}: ${message}`, async () => {
    end = told;
    const error = await requestInput('The code').catch((thrown) => thrown);
    assert.deepEqual([error.name, error.message], [name, message]);
    assert.deepEqual([asMessage(error, '/').kind, asMessage(error, '/').name], ['user', name]);
    assert.equal(error instanceof HandoffDeclined, name === 'HandoffDeclined');
  });
}

test('a question is withdrawn once its signal aborts, and not asked if it has', async () => {
  const { promise, resolve } = Promise.withResolvers();
  end = promise;
  const stop = new AbortController();
  const asking = requestInput('The code', { signal: stop.signal });
  const why = new Error('no patience');
  stop.abort(why);
  await assert.rejects(asking, why);
  await assert.rejects(requestInput('The code', { signal: stop.signal }), why);
  const [[, { question }], ...others] = asked;
  assert.deepEqual(others, [['withdraw', { question }]]);
  resolve({ status: 'withdrawn' });
});

describe('the browser is handed over', () => {
  const PAGE = { _guid: 'page@1' };
  const DONE = { status: 'completed', values: {} };
  const timedOut = () => Object.assign(new Error('Timeout 30000ms exceeded.'), { name: 'TimeoutError' });
  const heard = () => asked.map(([operation]) => operation);
  /** An `until` that throws, or gives, these in turn; it takes so long that a person is asked. */
  const calls = (...ends) => async () => {
    if (!asked.length) await until(() => asked.length);
    const next = ends.shift();
    if (next instanceof Error) throw next;
    return next;
  };
  const until = async (isSo) => {
    while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 10));
  };

  test('until a person says that it is done', async () => {
    end = DONE;
    await handOver(PAGE, 'Log in', { timeout: '15m' });
    const [[operation, { question, ...told }]] = asked;
    assert.equal(operation, 'hand_over');
    assert.match(question, /^\d+$/);
    assert.deepEqual(told, { instructions: 'Log in', timeout: '900', page: 'page@1' });
    assert.equal(asked.length, 1);
  });

  test('or until it holds, for which it is called again', async () => {
    end = new Promise(() => {});
    await handOver(PAGE, 'Log in', { until: calls(timedOut(), false, undefined) });
    assert.deepEqual(heard().slice(0, 2), ['hand_over', 'until_holds']);
  });

  test('and nobody is asked where it holds already', async () => {
    await handOver(PAGE, 'Log in', { until: Promise.resolve() });
    await handOver(PAGE, 'Log in', { until: () => true });
    assert.deepEqual(asked, []);
  });

  test('by the person alone once a promise has timed out, and the log says so', async (t) => {
    const { promise, resolve } = Promise.withResolvers();
    end = promise;
    const warn = t.mock.method(console, 'warn', () => resolve(DONE));
    await handOver(PAGE, 'Log in', { until: calls(timedOut())() });
    assert.match(warn.mock.calls[0].arguments[0], /Give a function, which is called again/);
    assert.deepEqual(heard(), ['hand_over']);
  });

  test('and is withdrawn where it throws, or the signal aborts', async () => {
    end = new Promise(() => {});
    const why = new Error('the site is down');
    await assert.rejects(handOver(PAGE, 'Log in', { until: calls(why) }), why);
    const stop = new AbortController();
    const asking = handOver(PAGE, 'Log in', { until: () => false, signal: stop.signal });
    await until(() => asked.length === 3);
    stop.abort(why);
    await assert.rejects(asking, why);
    assert.deepEqual(heard(), ['hand_over', 'withdraw', 'hand_over', 'withdraw']);
  });

  test('of a page', async () => {
    const says = { name: 'TypeError', message: "page is a page of Playwright; not 'page'" };
    await assert.rejects(handOver('page', 'Log in'), says);
  });
});

test('outside of an Attempt, nobody is asked', async () => {
  delete globalThis[KEY];
  await assert.rejects(requestInput('The code'), { message: /^There is no Attempt here/ });
});
