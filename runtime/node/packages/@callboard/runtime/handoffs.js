'use strict';
/** Ask a person: a question of an Attempt, which waits for its answer (docs/contract.md, section 22). */

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
  const runtime = globalThis[KEY];
  if (runtime === undefined) throw new Error('There is no Attempt here: requestInput works only inside one.');
  signal?.throwIfAborted();
  asked += 1;
  const { status, values, reason } = JSON.parse(await ask(runtime, question, signal));
  switch (status) {
    case 'completed':
      runtime.answers.add(values[name]);
      return values[name];
    case 'declined':
      throw new HandoffDeclined(reason || 'a person has declined to answer');
    case 'expired':
      throw new HandoffTimeout(`nobody has answered in time: ${text}`);
    default:
      throw new HandoffUnavailable(reason || 'the question was withdrawn');
  }
}

/** Return how the question has ended, as JSON. It is withdrawn once the signal aborts, which is thrown. */
async function ask(runtime, question, signal) {
  const { promise: given, reject: giveUp } = Promise.withResolvers();
  const withdraw = () => {
    // A person must not be asked in vain. What cannot be told ends with the Attempt.
    runtime.ask('withdraw_input', { question: question.question }).catch(() => {});
    giveUp(signal.reason);
  };
  signal?.addEventListener('abort', withdraw);
  try {
    return await Promise.race([runtime.ask('request_input', question), given]);
  } finally {
    signal?.removeEventListener('abort', withdraw);
  }
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

module.exports = { requestInput };
