'use strict';
/** The Attempt that runs, as the process of user code has left it for this package. */

const KEY = Symbol.for('callboard.runtime');

/** Return what the Attempt offers to this package; undefined outside of one. */
function running() {
  return globalThis[KEY];
}

/** Return what the Attempt offers to this package. Throws an Error outside of one. */
function current() {
  const runtime = running();
  if (runtime === undefined) {
    throw new Error('There is no Attempt here: @intuned/runtime works only inside a running automation.');
  }
  return runtime;
}

module.exports = { current, running };
