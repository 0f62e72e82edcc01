'use strict';
/**
 * What user code gets that imports `playwright`, `playwright-core` or `@playwright/test`. Most of them import types
 * alone, of which nothing is left at run time. The browser is there already, so nothing is launched.
 */

const { guard } = require('../../relay_client.js');

const runtime = () => /** @type {any} */ (globalThis)[Symbol.for('callboard.runtime')];

/**
 * @param {string} call
 * @param {string} instead
 */
function refused(call, instead) {
  return async () => {
    throw new Error(`${call} is not to be had here: the automation is given its page, in a browser that runs. ${instead}`);
  };
}

const USE = 'Use `page` and `context`, or `context.browser().newContext()`.';

/** @param {string} name */
const browserType = (name) => ({
  name: () => name,
  launch: refused(`${name}.launch`, USE),
  launchPersistentContext: refused(`${name}.launchPersistentContext`, USE),
  launchServer: refused(`${name}.launchServer`, USE),
  connect: refused(`${name}.connect`, USE),
  connectOverCDP: refused(`${name}.connectOverCDP`, USE),
});

const chromium = {
  ...browserType('chromium'),
  /**
   * Connect a client of its own to the browser, at the address that the project's hook is given.
   * @param {any[]} given
   */
  async connectOverCDP(...given) {
    const { core, guarded } = runtime();
    const browser = await require(core).chromium.connectOverCDP(...given);
    if (guarded) guard(browser._connection);
    return browser;
  },
};

module.exports = {
  chromium,
  firefox: browserType('firefox'),
  webkit: browserType('webkit'),
  get devices() {
    return runtime().playwright.devices;
  },
  get errors() {
    return runtime().playwright.errors;
  },
};
