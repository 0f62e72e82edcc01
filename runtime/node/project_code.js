'use strict';
/** The project's own code: its functions (docs/contract.md, section 3) and its hook (section 3.1). */

const fs = require('node:fs');
const path = require('node:path');

const { StructuralError } = require('./failures.js');

/** Folder of a version with a bundle for each of its entries. */
const BUNDLES = '.callboard';
const HOOK = 'hooks/setupContext';
/** What the functions take, as their authors write them. */
const SIGNATURES = {
  api: 'export default async function handler(params, page, context)',
  create: 'export default async function create(params, page, context)',
  check: 'export default async function check(page, context)',
  hook: 'export default async function setupContext({ cdpUrl, apiName, apiParameters })',
};

/** What a function is for. @typedef {'api' | 'create' | 'check'} Kind */

/**
 * Return the default export of `functionPath`, such as `api/shop/list`, in the project at `root`.
 * @param {string} functionPath
 * @param {Kind | 'hook'} kind
 * @param {string} root
 * @returns {(...given: any[]) => any}
 * @throws {StructuralError} There is none, or it is no function. What its module throws passes through.
 */
function load(functionPath, kind, root) {
  const bundle = path.join(root, BUNDLES, `${functionPath}.cjs`);
  if (!fs.existsSync(bundle)) throw new StructuralError(`${functionPath} is not in the project.`, { name: 'APINotFoundError' });
  const loaded = require(bundle);
  const exported = loaded?.default ?? loaded;
  if (typeof exported === 'function') return exported;
  throw new StructuralError(`${functionPath} has no function as its default export; write \`${SIGNATURES[kind]}\`.`, {
    name: 'APINotFoundError',
  });
}

/**
 * Call a function, and return what it returns. What it throws passes through.
 * @param {(...given: any[]) => any} exported
 * @param {Kind} kind
 * @param {any} parameters
 * @param {any} page
 * @param {any} context
 * @throws {StructuralError} A create has yielded a value.
 */
async function call(exported, kind, parameters, page, context) {
  if (kind === 'check') return await exported(page, context);
  const returned = await exported(parameters ?? {}, page, context);
  return kind === 'create' ? await ended(returned) : returned;
}

/** Run a create that is a generator to its end. @param {any} returned */
async function ended(returned) {
  if (typeof returned?.[Symbol.asyncIterator] !== 'function') return returned;
  const { done, value } = await returned.next();
  if (done) return value;
  await returned.return();
  throw new StructuralError(
    'create has yielded a value, to ask somebody for something. Nobody can be asked here: take it from `params`, or ' +
      'from a variable of the project.',
    { name: 'InvalidAPIError' },
  );
}

/**
 * Call the project's hook.
 * @param {string} root
 * @param {{cdpUrl: string, apiName: string, apiParameters: any}} given
 * @throws {StructuralError} The hook is no function, or has returned something. What it throws passes through.
 */
async function setUpContext(root, given) {
  const returned = await load(HOOK, 'hook', root)(given);
  if (returned === undefined || returned === null) return;
  const what = typeof returned.newPage === 'function' ? 'a context' : typeof returned;
  throw new StructuralError(
    `${HOOK} has returned ${what}; it must return nothing. The automation gets the page of the Machine, whatever the ` +
      'hook has done in the browser.',
    { name: 'InvalidAPIError' },
  );
}

module.exports = { call, load, setUpContext };
