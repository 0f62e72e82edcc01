'use strict';
/**
 * Where user code's imports are found: our own packages here, and those that its version has beside its bundles.
 */

const { registerHooks } = require('node:module');
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
const PACKAGE = /^(@[^/]+\/[^/]+|[^@./][^/]*)(\/.*)?$/;

/**
 * Have all imports from now on find our packages, and those in a folder.
 * @param {string | null} modules The folder with the `node_modules` of the version; null if it has none.
 */
function provide(modules) {
  const beside = modules === null ? undefined : pathToFileURL(path.join(modules, 'bundle.cjs')).href;
  registerHooks({
    resolve(specifier, context, nextResolve) {
      const [, name, within] = PACKAGE.exec(specifier) ?? [];
      const ours = name && OURS.get(name);
      if (ours) return nextResolve(path.join(PACKAGES, ours, within ?? ''), context);
      const isBundle = context.parentURL?.includes('/.callboard/');
      return nextResolve(specifier, name && beside && isBundle ? { ...context, parentURL: beside } : context);
    },
  });
}

module.exports = { provide };
