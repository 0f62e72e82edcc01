/**
 * Waits for a page to come to rest: its network, or its DOM.
 *
 * @import { Locator, Page, Request } from "playwright"
 */

/** How long a network has to be quiet to have settled. */
const QUIET_IN_MS = 500;

/** Requests of these types stay open as long as the page does, or tell the page nothing. */
const NOT_AWAITED = new Set(['eventsource', 'ping', 'websocket']);

/**
 * Call `callback(page)`, wait until the page's network has settled, and return what the callback returned.
 *
 * The network has settled once at most `maxInflightRequests` of the requests that began since the call have been under
 * way for half a second. If that takes more than `timeoutInMs` after the callback has ended, a warning says so.
 *
 * @template T
 * @param {(page: Page) => T | Promise<T>} callback
 * @param {{page: Page, timeoutInMs?: number, maxInflightRequests?: number}} options
 * @returns {Promise<T>}
 */
export async function withNetworkSettledWait(callback, { page, timeoutInMs = 30_000, maxInflightRequests = 0 }) {
  const network = watchNetwork(page, maxInflightRequests);
  try {
    const result = await callback(page);
    if (!(await network.settled(timeoutInMs))) {
      console.warn(`The network of ${page.url()} has not settled within ${timeoutInMs} ms; the code goes on.`);
    }
    return result;
  } finally {
    network.stop();
  }
}

/**
 * Wait until the page's network has settled, as `withNetworkSettledWait` does, without an action of one's own.
 *
 * @param {{page: Page, timeoutInMs?: number, maxInflightRequests?: number}} options
 * @returns {Promise<void>}
 */
export async function waitForNetworkSettled(options) {
  await withNetworkSettledWait(() => undefined, options);
}

/**
 * Wait until nothing has changed in the DOM for `settleDurationMs`; return whether that was so within `timeoutInMs`.
 *
 * @param {{source: Page | Locator, settleDurationMs?: number, timeoutInMs?: number}} options
 * @returns {Promise<boolean>}
 * @throws Playwright's TimeoutError if a locator has no element within `timeoutInMs`
 */
export async function waitForDomSettled({ source, settleDurationMs = 500, timeoutInMs = 30_000 }) {
  const end = Date.now() + timeoutInMs;
  const page = pageOf(source);
  for (let left = timeoutInMs; left > 0; left = end - Date.now()) {
    try {
      const root = source === page ? await page.evaluateHandle(() => document) : source;
      if (await root.evaluate(isQuiet, { settleDurationMs, timeoutInMs: left }, { timeout: left })) return true;
    } catch (error) {
      // A navigation has replaced the document, so the wait begins anew in the next one.
      if (!/context was destroyed|because of a navigation/.test(error.message)) throw error;
    }
  }
  console.warn(`The DOM of ${page.url()} has not settled within ${timeoutInMs} ms; the code goes on.`);
  return false;
}

/**
 * Return the page of a page or locator.
 *
 * @param {Page | Locator} source
 * @returns {Page}
 */
export function pageOf(source) {
  return 'goto' in source ? source : source.page();
}

/**
 * Begin to count the requests of `page` that are under way.
 *
 * @param {Page} page
 * @param {number} allowed
 */
function watchNetwork(page, allowed) {
  /** @type {Set<Request>} */
  const underWay = new Set();
  let changed = () => {};
  const begin = (request) => {
    if (NOT_AWAITED.has(request.resourceType())) return;
    underWay.add(request);
    changed();
  };
  const end = (request) => {
    if (underWay.delete(request)) changed();
  };
  const leave = () => {
    underWay.clear();
    changed();
  };
  const listeners = { request: begin, requestfinished: end, requestfailed: end, close: leave };
  for (const [event, listener] of Object.entries(listeners)) page.on(event, listener);

  return {
    /** @param {number} timeoutInMs */
    settled: (timeoutInMs) =>
      new Promise((resolve) => {
        let quiet;
        const finish = (value) => {
          changed = () => {};
          clearTimeout(quiet);
          clearTimeout(limit);
          resolve(value);
        };
        const limit = setTimeout(finish, timeoutInMs, false);
        changed = () => {
          if (underWay.size <= allowed) {
            quiet ??= setTimeout(finish, QUIET_IN_MS, true);
          } else {
            clearTimeout(quiet);
            quiet = undefined;
          }
        };
        changed();
      }),
    stop: () => {
      for (const [event, listener] of Object.entries(listeners)) page.off(event, listener);
    },
  };
}

/**
 * Resolve to whether nothing has changed below `root` for a while. The page executes this, so it uses nothing of ours.
 *
 * @param {Node} root
 * @param {{settleDurationMs: number, timeoutInMs: number}} limits
 * @returns {Promise<boolean>}
 */
function isQuiet(root, { settleDurationMs, timeoutInMs }) {
  return new Promise((resolve) => {
    const finish = (settled) => {
      observer.disconnect();
      clearTimeout(quiet);
      clearTimeout(limit);
      resolve(settled);
    };
    const observer = new MutationObserver(() => {
      clearTimeout(quiet);
      quiet = setTimeout(finish, settleDurationMs, true);
    });
    let quiet = setTimeout(finish, settleDurationMs, true);
    const limit = setTimeout(finish, timeoutInMs, false);
    observer.observe(root, { attributes: true, characterData: true, childList: true, subtree: true });
  });
}
