import type { Locator, Page } from 'playwright';

/** What a page has to reach to be loaded, as in Playwright. */
export type LoadState = 'load' | 'domcontentloaded' | 'networkidle' | 'commit';

/**
 * Open `url` in `page`, and wait until the page has loaded and its network has settled.
 *
 * If all tries have failed, the log has the error and the code goes on, unless `throwOnTimeout` is true. A page that has
 * been closed always throws.
 */
export function goToUrl(options: {
  page: Page;
  url: string;
  /** Limit of the load in each try, and then of the wait for the network, in milliseconds. Default: 30,000. */
  timeoutInMs?: number;
  /** Tries in all, with pauses of 1 s, 2 s, 4 s and so on between them. Default: 3. */
  retries?: number;
  /** Default: `load`. */
  waitForLoadState?: LoadState;
  /** Whether the last failure is thrown. Default: false. */
  throwOnTimeout?: boolean;
  /** Has no effect but a warning, as Callboard has no model. */
  waitForLoadingStateUsingAi?: boolean;
  /** Has no effect, as Callboard has no model. */
  model?: string;
  /** Has no effect, as Callboard has no model. */
  apiKey?: string;
}): Promise<void>;

/** Return an absolute, percent-encoded address: of a string with a base or page, or of the link that a locator finds. */
export function resolveUrl(options: { url: string; baseUrl: string }): Promise<string>;
export function resolveUrl(options: { url: string; page: Page }): Promise<string>;
export function resolveUrl(options: { url: Locator }): Promise<string>;

export interface NetworkOptions {
  page: Page;
  /** Limit of the wait in milliseconds, after which a warning says so. Default: 30,000. */
  timeoutInMs?: number;
  /** So many requests may be under way in a network that has settled. Default: 0. */
  maxInflightRequests?: number;
}

/**
 * Call `callback(page)`, wait until the page's network has settled, and return what the callback returned.
 *
 * The network has settled once at most `maxInflightRequests` of the requests that began since the call have been under
 * way for half a second. Streams of events, web sockets and pings do not count.
 */
export function withNetworkSettledWait<T>(
  callback: (page: Page) => T | Promise<T>,
  options: NetworkOptions,
): Promise<T>;

/** Wait until the page's network has settled, without an action of one's own. */
export function waitForNetworkSettled(options: NetworkOptions): Promise<void>;

/**
 * Wait until the DOM of a page, or below the element of a locator, has not changed for a while. Return whether that was
 * so in time; if not, a warning says so. Throws Playwright's TimeoutError if the element does not come in time.
 */
export function waitForDomSettled(options: {
  source: Page | Locator;
  /** How long nothing may change, in milliseconds. Default: 500. */
  settleDurationMs?: number;
  /** Limit of the wait in milliseconds. Default: 30,000. */
  timeoutInMs?: number;
}): Promise<boolean>;
