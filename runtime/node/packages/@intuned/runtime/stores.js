'use strict';
/** Values of one Attempt, and values that outlive the Run (docs/contract.md, section 3.4). */

const { current } = require('./current.js');
const { shown } = require('./shown.js');

/** Most bytes of a value as JSON, together with its key. */
const LIMIT = 1024 * 1024;

const attemptStore = {
  get: (key) => current().attemptStore.get(key),
  set: (key, value) => void current().attemptStore.set(key, value),
};

const persistentStore = {
  async get(key) {
    const value = await current().ask('persistent_get', { key: checked(key) });
    return value === null ? undefined : JSON.parse(value);
  },

  async set(key, value) {
    checked(key);
    const runtime = current();
    let text;
    try {
      text = runtime.jsonOf(value, 'value');
    } catch (error) {
      throw new TypeError(`persistentStore: the value for ${shown(key)} is not JSON: ${error.message}`, {
        cause: error,
      });
    }
    const size = Buffer.byteLength(key) + text.length;
    if (size > LIMIT) {
      throw new RangeError(
        `persistentStore: the value for ${shown(key)} is ${size} bytes of JSON with its key; at most ${LIMIT} ` +
          'are allowed. Split it, or store it elsewhere and keep a reference.',
      );
    }
    await runtime.ask('persistent_set', { key, value: text });
  },
};

function checked(key) {
  if (typeof key !== 'string' || !key || /[:#]/.test(key)) {
    throw new TypeError(
      `persistentStore: a key is text of at least one character, without ':' and '#'; not ${shown(key)}`,
    );
  }
  const size = Buffer.byteLength(key);
  if (size >= LIMIT)
    throw new RangeError(`persistentStore: a key has less than ${LIMIT} bytes; ${shown(key)} has ${size}`);
  return key;
}

module.exports = { attemptStore, persistentStore };
