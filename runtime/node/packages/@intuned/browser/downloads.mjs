/**
 * Downloads files by a browser.
 *
 * @import { Download, Locator, Page } from "playwright"
 */

/**
 * Download a file, and return Playwright's Download once it is complete.
 *
 * The trigger is an address, which a page of its own opens (one that the browser shows, such as an image, is downloaded
 * there); a locator, which is clicked; or a function that is called with the page. Of several downloads the first counts.
 *
 * @param {object} options
 * @param {Page} options.page
 * @param {string | Locator | ((page: Page) => unknown)} options.trigger an address may be relative to that of the page
 * @param {number} [options.timeoutInMs] limit of the wait for the beginning of the download
 * @returns {Promise<Download>}
 * @throws Playwright's TimeoutError if no download begins in time; an Error if the download fails
 */
export async function downloadFile({ page, trigger, timeoutInMs = 5_000 }) {
  if (typeof trigger === 'string') {
    const url = URL.canParse(trigger, page.url()) ? new URL(trigger, page.url()).href : trigger;
    const own = await page.context().newPage();
    try {
      return await downloadedBy(own, () => open(own, url, timeoutInMs), timeoutInMs);
    } finally {
      await own.close();
    }
  }
  const act = typeof trigger === 'function' ? trigger : () => trigger.click({ timeout: timeoutInMs });
  return downloadedBy(page, act, timeoutInMs);
}

/**
 * Return the first download that `act(page)` begins, once it is complete.
 *
 * @param {Page} page
 * @param {(page: Page) => unknown} act
 * @param {number} timeoutInMs
 */
async function downloadedBy(page, act, timeoutInMs) {
  const [download] = await Promise.all([page.waitForEvent('download', { timeout: timeoutInMs }), act(page)]);
  const failure = await download.failure();
  if (failure) throw new Error(`The download of ${download.url()} has failed: ${failure}.`);
  return download;
}

/**
 * Open `url`, so that it is downloaded, also if the browser shows what is there.
 *
 * @param {Page} page
 * @param {string} url
 * @param {number} timeout
 */
async function open(page, url, timeout) {
  let response;
  try {
    response = await page.goto(url, { timeout, waitUntil: 'commit' });
  } catch (error) {
    if (/Download is starting|net::ERR_ABORTED/.test(error.message)) return;
    throw error;
  }
  if (response && !response.ok())
    throw new Error(`${url} cannot be downloaded: the site answers ${response.status()}.`);
  await page.evaluate(() => {
    const link = document.createElement('a');
    link.href = location.href;
    link.download = '';
    link.click();
  });
}
