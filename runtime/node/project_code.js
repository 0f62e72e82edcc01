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
 * @param {Set<string | undefined>} answers What people have answered in this Attempt.
 * @throws {StructuralError} The function is a generator, and must not be, or has yielded what it must not.
 */
async function call(exported, kind, parameters, page, context, answers) {
  const returned = await (kind === 'check' ? exported(page, context) : exported(parameters ?? {}, page, context));
  if (kind === 'api' || typeof returned?.next !== 'function') return returned; // a result that is none says so itself
  if (kind === 'create' && Symbol.asyncIterator in returned) return await answered(returned, answers);
  const wanted = kind === 'create' ? SIGNATURES.create.replace('function', 'function*') : SIGNATURES[kind];
  throw new StructuralError(`${kind} is a generator that nobody runs; write \`${wanted}\`.`, { name: 'InvalidAPIError' });
}

/**
 * Run a create that is a generator to its end. What it yields is a question that has its answer already: `yield` has
 * awaited it. It is given the answer.
 * @param {AsyncGenerator} generator
 * @param {Set<string | undefined>} answers
 */
async function answered(generator, answers) {
  let step = await generator.next();
  while (!step.done && answers.has(step.value)) step = await generator.next(step.value);
  if (step.done) return step.value;
  await generator.return(undefined);
  throw new StructuralError(
    'create has yielded something else than a question. It may yield `requestInput(…)` or `handOver(…)` of ' +
      '@callboard/runtime, which ask a person, and nothing else.',
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
