'use strict';
/** Small calls of user code to its Attempt, and the error by which it may end its Run. */

const { types } = require('node:util');
const { current, running } = require('./current.js');
const { shown } = require('./shown.js');

class RunError extends Error {
  constructor(message, { retryable, status_code, error_code, ...options } = {}) {
    super(message, options);
    Object.assign(this, { name: new.target.name, retryable, status_code, error_code });
  }
}

function extendTimeout() {
  current().extendTimeout();
}

function extendPayload(...payloads) {
  const checked = payloads.flat().map((payload) => {
    const fields = fieldsOf(payload);
    const parameters = fields && fieldsOf(fields.parameters ?? {});
    if (typeof fields?.api !== 'string' || parameters === undefined) {
      throw new TypeError(`A payload is {api: name, parameters: object}; this one is ${shown(payload)}.`);
    }
    return { api: fields.api, parameters };
  });
  const runtime = current();
  runtime.payloads.push(...checked);
  runtime.extendTimeout();
}

/** Return a copy of an object, or of what its `toJSON` makes of it; undefined for what is no object in JSON. */
function fieldsOf(given) {
  const value = typeof given?.toJSON === 'function' ? given.toJSON() : given;
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject && !types.isMap(value) && !types.isSet(value) && !types.isPromise(value) ? { ...value } : undefined;
}

async function getAuthSessionParameters() {
  const runtime = current();
  if (runtime.runInfo.auth_session_id == null)
    throw new Error('getAuthSessionParameters: this Run has no AuthSession.');
  return JSON.parse(await runtime.ask('auth_session_parameters', {}));
}

function getExecutionContext() {
  const info = running()?.runInfo;
  if (info === undefined) return undefined;
  const told = Object.entries(info).filter(([, value]) => value !== null);
  const named = told.map(([name, value]) => [name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase()), value]);
  return structuredClone(Object.fromEntries(named));
}

module.exports = { RunError, extendPayload, extendTimeout, getAuthSessionParameters, getExecutionContext };
