/**
 * Opens addresses, and resolves them.
 *
 * @import { Locator, Page } from "playwright"
 */

import { withNetworkSettledWait } from './settle.mjs';

/** How long to wait before the second try. Each further wait is twice as long. */
const FIRST_PAUSE_IN_MS = 1_000;

/**
 * Open `url` in `page`, and wait until the page has loaded and its network has settled.
 *
 * There are `retries` tries in all, with pauses of one second, two seconds, four seconds and so on. `timeoutInMs` limits
 * the load in each of them, and then the wait for the network. If all have failed, the error is thrown if
 * `throwOnTimeout` is true; else the log has it, and the code goes on. A page that has been closed always throws.
 *
 * @param {object} options
 * @param {Page} options.page
 * @param {string} options.url
 * @param {number} [options.timeoutInMs]
 * @param {number} [options.retries]
 * @param {"load" | "domcontentloaded" | "networkidle" | "commit"} [options.waitForLoadState]
 * @param {boolean} [options.throwOnTimeout]
 * @param {boolean} [options.waitForLoadingStateUsingAi] has no effect but a warning, as there is no model here
 * @returns {Promise<void>}
 */
export async function goToUrl({
  page,
  url,
  timeoutInMs = 30_000,
  retries = 3,
  waitForLoadState = 'load',
  throwOnTimeout = false,
  waitForLoadingStateUsingAi = false,
}) {
  if (typeof url !== 'string' || !url)
    throw new TypeError(`goToUrl() needs a url, and has got ${JSON.stringify(url)}.`);
  if (waitForLoadingStateUsingAi) {
    console.warn(
      'waitForLoadingStateUsingAi needs a model, which Callboard does not have: no model looks at the page.',
    );
  }
  const open = () => page.goto(url, { timeout: timeoutInMs, waitUntil: waitForLoadState });
  for (let number = 1; ; number++) {
    try {
      await withNetworkSettledWait(open, { page, timeoutInMs });
      return;
    } catch (error) {
      const isDownload = error.message.includes('Download is starting');
      if (page.isClosed()) throw error;
      if (number >= retries || isDownload) {
        if (throwOnTimeout) throw error;
        const hint = isDownload ? ' It is a file: use downloadFile().' : '';
        console.error(`${url} could not be opened (try ${number}); the code goes on.${hint} ${error.message}`);
        return;
      }
      await page.waitForTimeout(FIRST_PAUSE_IN_MS * 2 ** (number - 1));
    }
  }
}

/**
 * Return an absolute, percent-encoded address.
 *
 * A string is resolved against `baseUrl`, else against the address of `page`. A locator of a link is resolved as the
 * browser itself does it, so the page's `<base>` counts.
 *
 * @param {{url: string | Locator, baseUrl?: string, page?: Page}} options
 * @returns {Promise<string>}
 */
export async function resolveUrl({ url, baseUrl, page }) {
  let base = baseUrl ?? page?.url();
  if (typeof url !== 'string') {
    const link = await url.evaluate((element) => ({
      href: element.getAttribute('href'),
      base: element.baseURI,
      tag: element.tagName.toLowerCase(),
    }));
    if (link.href === null) throw new TypeError(`resolveUrl() needs a link, and <${link.tag}> has no href.`);
    ({ href: url, base } = link);
  }
  if (base === undefined) throw new TypeError('resolveUrl() needs baseUrl or page, unless url is a locator.');
  if (!URL.canParse(url, base)) {
    throw new TypeError(`${JSON.stringify(url)} cannot be resolved against ${JSON.stringify(base)}.`);
  }
  return new URL(url, base).href;
}
