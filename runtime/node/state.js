'use strict';
/**
 * The one object by which the packages that user code imports reach the process of user code.
 *
 * It is `globalThis[Symbol.for('callboard.runtime')]`, so that a package finds it from wherever it lies, in whatever
 * bundle. There is none outside of an Attempt.
 */

const { jsonOf } = require('./results.js');

const KEY = Symbol.for('callboard.runtime');
/** Most requests of an Attempt that wait for their answers at the same time (docs/contract.md, section 3.2). */
const MOST_OPEN = 16;

/**
 * @typedef {object} Runtime
 * @property {Record<string, any>} runInfo Who runs the Attempt: the fields of Python's `RunContext`, by their names.
 * @property {(operation: string, args: Record<string, string>) => Promise<any>} ask Ask the worker. It rejects with an
 *   Error that says why.
 * @property {() => void} extendTimeout Restart the Attempt's clock.
 * @property {'api' | 'check' | 'create'} kind What is called.
 * @property {any} parameters What it is called with; null for a check.
 * @property {any} playwright Playwright, connected to the Attempt's browser.
 * @property {Map<string, any>} attemptStore Values of the Attempt.
 * @property {{api: string, parameters: Record<string, any>}[]} payloads Further API calls.
 * @property {Record<string, any>} attributes Attributes of the Run.
 * @property {Set<string | undefined>} answers What people have answered: a create that is a generator may yield it. It is
 *   undefined where they have done something in the browser.
 * @property {(value: unknown, path: string) => string} jsonOf Make ASCII JSON of a value, or throw an Error that says
 *   by its path what has no such form.
 */

/**
 * Make the Runtime of the Attempt, whose packages find it from now on.
 * @param {Pick<Runtime, 'runInfo' | 'ask' | 'extendTimeout' | 'kind' | 'parameters' | 'playwright'>} given
 * @returns {Runtime}
 */
function enter(given) {
  const runtime = {
    ...given,
    ask: taking(MOST_OPEN, given.ask),
    attemptStore: new Map(),
    payloads: [],
    attributes: {},
    answers: new Set(),
    jsonOf,
  };
  globalThis[KEY] = runtime;
  return runtime;
}

/** Return a function whose calls wait as long as so many of them have not ended. */
function taking(most, call) {
  const waiting = [];
  let open = 0;
  return async (...values) => {
    if (open === most) await new Promise((resolve) => waiting.push(resolve));
    else open += 1;
    try {
      return await call(...values);
    } finally {
      if (waiting.length) waiting.shift()();
      else open -= 1;
    }
  };
}

module.exports = { MOST_OPEN, enter };
