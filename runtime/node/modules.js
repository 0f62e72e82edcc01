'use strict';
/**
 * Where user code's imports are found: our own packages here, and those that its version has beside its bundles.
 */

const { createRequire, registerHooks } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const PACKAGES = path.join(__dirname, 'packages');
/** Packages that are ours on a Machine, whatever the project has of the same name, and the folders that they are in. */
const OURS = new Map([
  ['@callboard/runtime', '@callboard/runtime'],
  ['@intuned/runtime', '@intuned/runtime'],
  ['@playwright/test', 'playwright'],
  ['playwright', 'playwright'],
  ['playwright-core', 'playwright'],
]);
/** Part of the paths of bundles. */
const BUNDLES = '/.callboard/';
const PACKAGE = /^(@[^/]+\/[^/]+|[^@./][^/]*)(\/.*)?$/;

/**
 * Have all imports from now on find our packages; and those of bundles also the packages of a folder.
 * @param {string | null} modules The folder with the `node_modules` of the version; null if it has none.
 */
function provide(modules) {
  const beside = modules === null ? undefined : path.join(modules, 'bundle.cjs');
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const [, name, within] = PACKAGE.exec(specifier) ?? [];
      if (name === undefined) return nextResolve(specifier, context);
      const ours = OURS.get(name);
      if (ours) return nextResolve(path.join(PACKAGES, ours, within ?? ''), context);
      if (beside === undefined || !context.parentURL?.includes(BUNDLES)) return nextResolve(specifier, context);
      // What requires a module counts for `import` alone; `require` would still look beside the bundle.
      return context.conditions?.includes('import')
        ? nextResolve(specifier, { ...context, parentURL: pathToFileURL(beside).href })
        : nextResolve(createRequire(beside).resolve(specifier), context);
    },
  });
}

module.exports = { provide };
