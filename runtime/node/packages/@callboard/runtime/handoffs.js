'use strict';
/** Ask a person: a question of an Attempt, which waits for its answer (docs/contract.md, section 22). */

const { setTimeout: sleep } = require('node:timers/promises');
const { inspect, types } = require('node:util');
const { HandoffDeclined, HandoffTimeout, HandoffUnavailable } = require('./errors.js');

const KEY = Symbol.for('callboard.runtime');
/** Most seconds that a question waits for its answer: the hard limit of an Attempt. */
const LONGEST_WAIT = 43_200;
const DEFAULT_WAIT = 300;
const LONGEST_TEXT = 1000;
const LONGEST_PATTERN = 500;
const LONGEST_ADDRESS = 320;
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;
const TIME = /^(\d+(?:\.\d+)?) *([smh]?)$/;
const UNITS = { '': 1, s: 1, m: 60, h: 3600 };
/** Milliseconds from one call of an `until` to the next. */
const LOOK_EVERY = 500;
/** Milliseconds in which an `until` that holds already keeps a person from being asked. */
const LOOK_FIRST = 1_000;
/** Names of errors which say that an `until` does not hold yet. */
const NOT_YET = new Set(['TimeoutError', 'AssertionError']);
const HOLDS = Symbol('until holds');

let asked = 0;

async function requestInput(text, options = {}) {
  const { name = 'code', pattern, secret = false, timeout = DEFAULT_WAIT, codeTo, since, signal } = options;
  const question = {
    question: `${asked + 1}`,
    instructions: textOf(text, LONGEST_TEXT, 'what a person reads'),
    name: nameOf(name),
    pattern: patternOf(pattern),
    masked: secret ? 'true' : 'false',
    timeout: `${secondsOf(timeout)}`,
    code_to: codeTo === undefined ? '' : textOf(codeTo, LONGEST_ADDRESS, 'codeTo'),
    since: since === undefined ? '' : timeOf(since, codeTo),
  };
  const runtime = runtimeFor('requestInput', signal);
  asked += 1;
  const value = (await answer(runtime, 'request_input', question, signal))[name];
  runtime.answers.add(value);
  return value;
}

async function handOver(page, text, options = {}) {
  const { until, timeout = DEFAULT_WAIT, signal } = options;
  const question = {
    question: `${asked + 1}`,
    instructions: textOf(text, LONGEST_TEXT, 'what a person reads'),
    timeout: `${secondsOf(timeout)}`,
    page: idOf(page),
  };
  const runtime = runtimeFor('handOver', signal);
  asked += 1;
  const ending = new AbortController();
  const ends = signal ? AbortSignal.any([signal, ending.signal]) : ending.signal;
  const holding = hold(until, ends);
  holding.catch(() => {}); // it may fail after the end
  try {
    const first = until === undefined ? undefined : await Promise.race([holding, sleep(LOOK_FIRST, undefined, { signal: ends })]);
    if (first !== HOLDS) {
      const answering = answer(runtime, 'hand_over', question, ends);
      answering.catch(() => {});
      if ((await Promise.race([answering, holding])) === HOLDS) {
        await runtime.ask('until_holds', { question: question.question });
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    ending.abort();
  }
  runtime.answers.add(undefined); // what a create that is a generator yields so
}

/** Return `HOLDS` once this holds; where it never does, a person alone ends the handover. */
async function hold(until, ends) {
  while (until !== undefined) {
    try {
      if ((await (typeof until === 'function' ? until() : until)) !== false) return HOLDS;
    } catch (error) {
      if (!NOT_YET.has(error?.name)) throw error;
    }
    if (typeof until !== 'function') {
      if (!ends.aborted) console.warn('handOver: `until` has ended, and does not hold. Give a function, which is called again.');
      break;
    }
    await sleep(LOOK_EVERY, undefined, { signal: ends });
  }
  return await new Promise(() => {});
}

/** Return the runtime of the Attempt, unless the signal has aborted, which is thrown. */
function runtimeFor(what, signal) {
  const runtime = globalThis[KEY];
  if (runtime === undefined) throw new Error(`There is no Attempt here: ${what} works only inside one.`);
  signal?.throwIfAborted();
  return runtime;
}

/** Ask, and return the values of the answer. The question is withdrawn once the signal aborts, which is thrown. */
async function answer(runtime, operation, question, signal) {
  const { promise: given, reject: giveUp } = Promise.withResolvers();
  const withdraw = () => {
    // A person must not be asked in vain. What cannot be told ends with the Attempt.
    runtime.ask('withdraw', { question: question.question }).catch(() => {});
    giveUp(signal.reason);
  };
  signal?.addEventListener('abort', withdraw);
  let end;
  try {
    end = JSON.parse(await Promise.race([runtime.ask(operation, question), given]));
  } finally {
    signal?.removeEventListener('abort', withdraw);
  }
  switch (end.status) {
    case 'completed':
      return end.values;
    case 'declined':
      throw new HandoffDeclined(end.reason || 'a person has declined to answer');
    case 'expired':
      throw new HandoffTimeout(`nobody has answered in time: ${question.instructions}`);
    default:
      throw new HandoffUnavailable(end.reason || 'the question was withdrawn');
  }
}

/** Return the id by which every client of the browser knows a page. */
function idOf(page) {
  if (typeof page?._guid === 'string' && page._guid.startsWith('page@')) return page._guid;
  throw new TypeError(`page is a page of Playwright; not ${shown(page)}`);
}

/** Return a text that a message can hold, or throw an error that says what it is of. */
function textOf(value, longest, what) {
  if (typeof value !== 'string' || !value.trim()) throw new TypeError(`${what} is text; not ${shown(value)}`);
  if (!value.isWellFormed()) throw new TypeError(`${what}: half a surrogate pair is no text`);
  if ([...value].length > longest) throw new RangeError(`${what} has at most ${longest} characters`);
  return value;
}

function nameOf(name) {
  if (typeof name === 'string' && NAME.test(name)) return name;
  throw new TypeError(`the name of a value is a letter and up to 63 letters, digits, _ or -; not ${shown(name)}`);
}

/** Return the text of a pattern: one that has a meaning here and, as the supervisor sees to, in Python. */
function patternOf(pattern) {
  if (pattern === undefined || pattern === '') return '';
  if (types.isRegExp(pattern)) {
    if (!pattern.flags) return textOf(pattern.source, LONGEST_PATTERN, 'a pattern');
    throw new TypeError(`a pattern has no flags, as it is matched elsewhere: write ${pattern} without ${pattern.flags}`);
  }
  const source = textOf(pattern, LONGEST_PATTERN, 'a pattern');
  try {
    new RegExp(source);
  } catch (error) {
    throw new TypeError(`the pattern is no regular expression: ${error.message}`, { cause: error });
  }
  return source;
}

function secondsOf(time) {
  const [, number, unit] = (typeof time === 'string' && TIME.exec(time.trim())) || [];
  const seconds = typeof time === 'number' ? time : Number(number) * UNITS[unit];
  if (seconds >= 1 && seconds <= LONGEST_WAIT) return seconds;
  throw new (Number.isNaN(seconds) ? TypeError : RangeError)(
    `a time is a number of seconds from 1 to ${LONGEST_WAIT}, or a text such as "90s", "5m" or "1h"; not ${shown(time)}`,
  );
}

function timeOf(since, codeTo) {
  if (!types.isDate(since) || Number.isNaN(since.getTime()) || codeTo === undefined) {
    throw new TypeError(`since is a valid Date, beside codeTo; not ${shown(since)}`);
  }
  return since.toISOString();
}

function shown(value) {
  return inspect(value, { breakLength: Infinity, depth: 2, maxStringLength: 100 }).slice(0, 100);
}

module.exports = { handOver, requestInput };
