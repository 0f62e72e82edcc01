'use strict';
/** One call of a project's function on its author's host: by `callboard run`, and in a test of the project. */

const { call, load } = require('./project_code.js');
const { resultAsJson, toJson } = require('./results.js');
const { enter } = require('./state.js');

/**
 * @typedef {object} Login The login that the call begins with.
 * @property {string} id
 * @property {object | null} parameters What it was made from; null if it was not.
 * @property {import('./login_state.js').State | null} state Null for a create.
 */
/**
 * @typedef {object} LocalCall
 * @property {'api' | 'create' | 'check'} kind
 * @property {string} function Its path, such as `api/shop/list`.
 * @property {any} parameters
 * @property {Login | null} login
 * @property {string} compiled Folder with the project's compiled functions.
 * @property {string} core Folder of Playwright.
 * @property {string} runId
 * @property {string} [proxy] Address of the proxy.
 * @property {Values} values What `persistentStore` keeps.
 * @property {() => void} [extendTimeout]
 * @property {(question: Record<string, string>) => Promise<string>} askPerson Ask a question of user code: of
 *   `handOver`, if it has a `page`. Return
 *   how it has ended, as a worker tells it: JSON with `status`, and `values` or `reason`.
 * @property {(question: string) => void} [withdraw] Withdraw a question that is asked, by its number.
 */
/** @typedef {{get: (key: string) => string | undefined, set: (key: string, value: string) => void}} Values */

/**
 * Call the function, and return what it has returned and left. What it throws passes through.
 * @param {LocalCall} given
 * @param {() => Promise<{context: any, page: any}>} open Opens the page of the call. The function is loaded before.
 */
async function callLocally(given, open) {
  const { kind, login, parameters } = given;
  const root = process.cwd();
  const playwright = require(given.core);
  const runtime = enter({
    kind,
    parameters,
    playwright,
    core: given.core,
    runInfo: {
      run_id: given.runId,
      auth_session_id: login?.id ?? null,
      auth_session: login?.state ?? null,
      proxy: given.proxy ?? null,
    },
    ask: async (operation, values) => answer(given, operation, values),
    extendTimeout: given.extendTimeout ?? (() => {}),
  });
  const exported = load(given.function, kind, given.compiled);
  const { context, page } = await open();
  const value = await call(exported, kind, parameters, page, context, runtime.answers);
  const what = { what: 'What extendPayload was given', path: 'extendedPayloads' };
  return {
    result: resultAsJson(kind, value, root),
    extendedPayloads: runtime.payloads.length ? toJson(runtime.payloads, what) : null,
    attributes: runtime.attributes,
  };
}

/** Answer a request of `@intuned/runtime`, as a worker does. @param {LocalCall} given */
function answer({ login, values, askPerson, withdraw }, operation, given) {
  const { key, value } = given;
  switch (operation) {
    case 'request_input':
    case 'hand_over':
      return askPerson(given);
    case 'withdraw':
    case 'until_holds':
      return withdraw?.(given.question);
    case 'auth_session_parameters':
      if (login?.parameters) return JSON.stringify(login.parameters);
      throw new Error('getAuthSessionParameters: this AuthSession was not made from parameters.');
    case 'persistent_get':
      return values.get(key) ?? null;
    case 'persistent_set':
      values.set(key, value);
      return null;
    default:
      throw new Error(`${operation} has no answer here.`);
  }
}

module.exports = { callLocally };
