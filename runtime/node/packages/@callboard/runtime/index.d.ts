import type { Page } from 'playwright';

/** Throw it when no further Attempt can help: the Run fails at once. */
export class NotRetryable extends Error {
  constructor(message?: string, options?: { cause?: unknown });
}

/** Throw it when another Attempt may help after a while. This one has failed, and counts. */
export class RetryLater extends Error {
  /**
   * @param seconds How long the Run waits, from 0 to 86400 seconds.
   * @param options An error that is the cause of it.
   * @throws RangeError It is no such number.
   */
  constructor(seconds: number, options?: { cause?: unknown });

  /** How long the Run waits, in seconds. */
  readonly seconds: number;
}

/** Nobody has answered a question in time. */
export class HandoffTimeout extends Error {
  constructor(message?: string, options?: { cause?: unknown });
}

/** A person has declined to answer; the message is the reason, as far as there is one. */
export class HandoffDeclined extends Error {
  constructor(message?: string, options?: { cause?: unknown });
}

/** No question can be asked now; the message says why: too many are open, for example. */
export class HandoffUnavailable extends Error {
  constructor(message?: string, options?: { cause?: unknown });
}

/** How `requestInput` asks. */
export interface RequestInputOptions {
  /** What the value is called: a letter and up to 63 letters, digits, `_` or `-`. It is `code` by default. */
  name?: string;
  /**
   * A regular expression that matches the whole answer, such as `/\d{6}/`; any other answer is refused. It has no flags,
   * and must be one in Python, too, where it is matched.
   */
  pattern?: RegExp | string;
  /** Whether the answer is masked in what the Attempt leaves. */
  secret?: boolean;
  /**
   * How long to wait: seconds, or a text with a unit such as `'90s'`, `'5m'` or `'1h'`; 5 minutes by default. The
   * project's `handoffs.maxTimeout` bounds it.
   */
  timeout?: number | string;
  /**
   * To whom the code is sent, such as a phone number or a mail address, as the gateway that pushes codes names it. The
   * first match of `pattern` in what has come is the answer, too; without a pattern, all of it is.
   */
  codeTo?: string;
  /** Codes that came before this time do not count. By default, it is when the Attempt began. */
  since?: Date;
  /** Withdraws the question when it aborts; its reason is thrown. */
  signal?: AbortSignal;
}

/**
 * Ask a person for a text, and return it. The Attempt's clock stands still meanwhile, and its Machine is held.
 *
 * @param text What the person reads: at most 1000 characters.
 * @throws HandoffTimeout Nobody has answered in time.
 * @throws HandoffDeclined A person has declined.
 * @throws HandoffUnavailable No question can be asked now; the message says why: too many are open, for example.
 * @throws TypeError An argument is none of these.
 * @throws RangeError A text is too long, or a time too short or too long.
 * @throws Error The pattern is no regular expression in Python, or this is no Attempt.
 */
export function requestInput(text: string, options?: RequestInputOptions): Promise<string>;

/** How `handOver` asks. */
export interface HandOverOptions {
  /**
   * What also ends it: a function, mostly one that returns a promise, such as `() => page.waitForURL(/home$/)`. As
   * often as that times out (by default, Playwright's calls do so after 30 seconds), fails as an assertion, or gives
   * false, it is called again: it holds once it gives anything else. Its other errors end it, and are thrown. A promise
   * can be given itself, but counts once: if it does not hold, the log says so, and the person ends it alone.
   */
  until?: (() => unknown) | Promise<unknown>;
  /** How long to wait, as for `requestInput`. */
  timeout?: number | string;
  /** Withdraws the question when it aborts; its reason is thrown. */
  signal?: AbortSignal;
}

/**
 * Hand the browser over to a person, and return when that is done, or `until` holds.
 *
 * The Attempt's clock stands still meanwhile, and its Machine is held. The person sees this page, or one that is opened
 * meanwhile, as a popup of it, and acts there. Where `until` holds already, nobody is asked.
 *
 * @param page What the person sees.
 * @param text What the person reads: at most 1000 characters.
 * @throws HandoffTimeout Nobody has said in time that it is done, nor does `until` hold.
 * @throws HandoffDeclined A person has declined.
 * @throws HandoffUnavailable No person can be asked now; the message says why: too many questions are open, for example.
 * @throws TypeError An argument is none of these.
 * @throws RangeError A text is too long, or a time too short or too long.
 * @throws Error This is no Attempt.
 */
export function handOver(page: Page, text: string, options?: HandOverOptions): Promise<void>;

/**
 * Return the code that an authenticator app shows now, once it is good for three seconds more.
 *
 * No code is given twice within an Attempt, as sites take each once: the next one is waited for, for half a minute at
 * most. The Attempt's clock goes on meanwhile. The code is not masked in what the Attempt leaves: it is worthless soon.
 *
 * @param secret The secret in base32, as the site shows it; spaces, lower case and missing padding are fine. Or the
 *   `otpauth://totp/…` address that its QR code has, with `algorithm`, `digits` and `period`.
 * @throws TypeError It is neither. The message does not show it.
 */
export function totp(secret: string): Promise<string>;
