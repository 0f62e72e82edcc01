import type { Download, Locator, Page } from 'playwright';

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

/**
 * Click a button until it is hidden or disabled, until a click brings nothing, or `maxClicks` times. After each click,
 * this waits until the network has settled.
 */
export function clickUntilExhausted(options: {
  page: Page;
  buttonLocator: Locator;
  /** Called after each click, and awaited; `extendTimeout` of `@intuned/runtime`, for example. */
  heartbeat?: () => unknown;
  /** What has to get more elements by each click. Without it, each click counts. */
  containerLocator?: Locator;
  /** Default: 50. */
  maxClicks?: number;
  /** A further wait after each click, in milliseconds. Default: 500. */
  clickDelay?: number;
  /** A click that brings so many elements, or fewer, is the last one. Default: 0. */
  noChangeThreshold?: number;
}): Promise<void>;

/**
 * Scroll a page, or the element of a locator, to its end until it no longer grows, or `maxScrolls` times. After each
 * scroll, this waits until the network has settled.
 */
export function scrollToLoadContent(options: {
  source: Page | Locator;
  /** Called after each scroll, and awaited; `extendTimeout` of `@intuned/runtime`, for example. */
  onScrollProgress?: () => unknown;
  /** Default: 50. */
  maxScrolls?: number;
  /** A further wait after each scroll, in milliseconds. Default: 100. */
  delayInMs?: number;
  /** So many pixels are growth. Default: 100. */
  minHeightChange?: number;
}): Promise<void>;

/** Return what a page, or the element of a locator, has as markdown, without frames. */
export function extractMarkdown(options: { source: Page | Locator }): Promise<string>;

/** Return HTML without elements and attributes that say nothing about its content. */
export function sanitizeHtml(options: {
  html: string;
  /** Default: true. */
  removeScripts?: boolean;
  /** Whether `style` elements are removed. Default: true. */
  removeStyles?: boolean;
  /** Default: true. */
  removeSvgs?: boolean;
  /** Default: true. */
  removeComments?: boolean;
  /** Whether attributes are removed whose values are longer than `maxAttributeLength`. Default: true. */
  removeLongAttributes?: boolean;
  /** In characters. Default: 500. */
  maxAttributeLength?: number;
  /** Attributes that stay, however long they are. Default: `class` and `src`. */
  preserveAttributes?: string[];
  /** Whether elements are removed that have no text and no elements, or lose all of them here. Default: true. */
  removeEmptyTags?: boolean;
  /** Elements that stay, also if they are empty. Default: `img`. */
  preserveEmptyTags?: string[];
  /** Whether white space becomes one space. Default: true. */
  minifyWhitespace?: boolean;
}): string;

/** Return `data` without null, undefined, blank strings, and arrays and objects that have nothing else. */
export function filterEmptyValues<T>(options: { data: T }): T;

/**
 * Return the day that a text in English says, as midnight in UTC, or null if it says none. Of 01/02/2024, the month is
 * the first number, unless it cannot be one.
 */
export function processDate(options: { date: string }): Date | null;

/** Check data against a JSON schema (2020-12), which may have the type `attachment`. Throws ValidationError. */
export function validateDataUsingSchema(options: { data: unknown; schema: Record<string, unknown> }): void;

/** Data is not as its schema has it: `message` names each place. */
export class ValidationError extends Error {
  constructor(message: string, data: unknown);
  readonly data: unknown;
}

/** What begins a download: an address, an element that is clicked, or a function that is called with the page. */
export type Trigger = string | Locator | ((page: Page) => unknown);

export interface DownloadOptions {
  page: Page;
  /** An address may be relative to that of the page. */
  trigger: Trigger;
  /** Limit of the wait for the beginning of the download, in milliseconds. Default: 5,000. */
  timeoutInMs?: number;
}

/**
 * Download a file, and return Playwright's Download once it is complete. An address is opened in a page of its own, and
 * downloaded also if the browser shows it.
 */
export function downloadFile(options: DownloadOptions): Promise<Download>;

/** A bucket. What is left out is taken from the variables `AWS_BUCKET`, `AWS_REGION`, `AWS_ACCESS_KEY_ID` and so on. */
export interface S3Configs {
  bucket?: string;
  region?: string;
  accessKeyId?: string;
  secretAccessKey?: string;
  /** Of a service other than AWS. */
  endpoint?: string;
}

export interface KeepOptions {
  configs?: S3Configs;
  /** The key in the bucket; without a bucket, the path below `output/`. By default, the name that the site suggests. */
  fileNameOverride?: string;
  /** By default, what the name suggests. */
  contentType?: string;
}

/** Keep a file in the bucket of `configs`, else in that of the variables `AWS_…`, else as a file of the Run. */
export function uploadFileToS3(
  options: { file: Download | Uint8Array | ArrayBuffer } & KeepOptions,
): Promise<Attachment>;

/** Download a file as `downloadFile` does, and keep it as `uploadFileToS3` does. */
export function saveFileToS3(options: DownloadOptions & KeepOptions): Promise<Attachment>;

/** A file that is kept. Without `bucket` it is a file of the Run, and `key` is its name there. */
export class Attachment {
  constructor(fields: {
    fileName: string;
    key: string;
    suggestedFileName: string;
    fileType?: string;
    bucket?: string | null;
    region?: string | null;
    endpoint?: string | null;
  });
  static fromDict(data: Record<string, string>): Attachment;
  fileName: string;
  key: string;
  bucket: string | null;
  region: string | null;
  endpoint: string | null;
  suggestedFileName: string;
  fileType: string;
  /** Return the fields that are not null. */
  toDict(): Record<string, string>;
  toJSON(): Record<string, string>;
  /**
   * Return an address by which anybody can read the file, for `expiration` seconds (default: 432,000, five days). Of a
   * file of the Run, this is its path at Callboard's API, which needs a key and is there once the Attempt has ended.
   */
  getSignedUrl(expiration?: number): Promise<string>;
  /** Return the address of the file in its bucket, which only its owner can read. Throws of a file of the Run. */
  getS3Key(): string;
}
