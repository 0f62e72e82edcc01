import type { BrowserContext, Page } from 'playwright';

/** A store of values that live for one Attempt, shared by all code that runs in it, the hook included. */
export interface AttemptStore {
  /** Return the value of `key`; `undefined` if it was not set. */
  get<Value = any>(key: string): Value;
  /** Keep a value of any kind under `key` until the Attempt ends. */
  set(key: string, value: unknown): void;
}

export const attemptStore: AttemptStore;

/** A store of JSON values that outlive the Run. Each project has one. */
export interface PersistentStore {
  /**
   * Return the value of `key`; `undefined` if it was never set.
   * @param key Text of at least one character, without `:` and `#`.
   * @throws TypeError The key cannot be one.
   */
  get<Value = any>(key: string): Promise<Value>;
  /**
   * Keep a value under `key`; `null` frees what it takes. Each `set` is atomic; of two at the same time, the later one
   * stays.
   * @param key Text of at least one character, without `:` and `#`.
   * @param value Anything that has a JSON form, of at most 1 MiB with its key.
   * @throws TypeError The key cannot be one, or the value has no JSON form.
   * @throws RangeError They are too large.
   * @throws Error The project's store is full, or could not be reached.
   */
  set(key: string, value: unknown): Promise<void>;
}

export const persistentStore: PersistentStore;

/** A further API call. */
export interface Payload {
  /** The name of the API. */
  api: string;
  /** An object that has a JSON form; `{}` if there is none. */
  parameters?: object | null;
}

/**
 * Add further API calls to what the Run returns as its `extendedPayloads`, which become items of its JobRun, and
 * restart the Attempt's clock.
 * @throws TypeError A payload is not of that shape.
 */
export function extendPayload(...payloads: (Payload | Payload[])[]): void;

/** Restart the Attempt's clock at its full length. This never waits; the hard limit stays. */
export function extendTimeout(): void;

/** Text of at most 255 characters, a finite number, a boolean, a Date, or up to 20 such texts. */
export type AttributeValue = string | number | boolean | Date | string[];

/**
 * Set an attribute of the Run; it is reported when the Attempt ends, whatever the outcome.
 * @param key A letter and up to 63 letters, digits or underscores.
 * @throws TypeError The key or the value cannot be one.
 * @throws RangeError There are more than 64 attributes, or they have more than 16 KiB.
 */
export function setAttribute(key: string, value: AttributeValue): void;

/** Take an attribute back; one that is not set is no error. */
export function deleteAttribute(key: string): void;

/** Who runs this Attempt. What does not apply is absent. */
export interface ExecutionContext {
  runId?: string;
  /** The ids of the Job and of the JobRun that have started the Run. */
  jobId?: string;
  jobRunId?: string;
  /** The id of the Run that waits for this check or create. */
  parentRunId?: string;
  authSessionId?: string;
  /** A copy of the login that the Attempt began with. */
  authSession?: any;
  /** The proxy's address, without credentials. */
  proxy?: string;
  /** The id of the OpenTelemetry trace that the Attempt belongs to. */
  traceId?: string;
  /** The header `traceparent` (W3C Trace Context) with which a service that is called takes part in that trace. */
  traceparent?: string;
  /** The path of the Attempt below the API's address; those of its log, trace and files begin with it. */
  attemptPath?: string;
}

/** Return who runs this Attempt; `undefined` outside of one. */
export function getExecutionContext(): ExecutionContext | undefined;

/**
 * Return the parameters with which the Run's AuthSession was created.
 * @throws Error The Run has no AuthSession, or one that was not made from stored parameters.
 */
export function getAuthSessionParameters<Parameters = any>(): Promise<Parameters>;

export interface RunErrorOptions {
  /** The error that is the cause of this one. */
  cause?: unknown;
  /** `false`: no further Attempt can help, and the Run fails at once. */
  retryable?: boolean;
  status_code?: number;
  error_code?: string;
}

/** An error of an automation, which may say that no further Attempt can help. */
export class RunError extends Error {
  constructor(message?: string, options?: RunErrorOptions);

  readonly retryable?: boolean;
  readonly status_code?: number;
  readonly error_code?: string;
}

/** The helper needs a service of Intuned's platform that Callboard does not have. */
export class PlatformOnlyError extends Error {
  /** @param called What was called, as `name()`. */
  constructor(called: string);
}

/**
 * There is no model gateway of the platform here.
 * @throws PlatformOnlyError Always.
 */
export function getAiGatewayConfig(): Promise<{ baseUrl: string; apiKey: string }>;

export interface CaptchaOptions {
  /** Most milliseconds to wait. */
  timeoutInMs?: number;
  /** Milliseconds without a captcha until there is none. */
  settleDurationMs?: number;
}

/**
 * Captcha solving needs a browser extension of the platform.
 * @throws PlatformOnlyError Always.
 */
export function waitForCaptchaSolve(page: Page, options?: CaptchaOptions): Promise<void>;

/**
 * Captcha solving needs a browser extension of the platform; `callback` is not called.
 * @throws PlatformOnlyError Always.
 */
export function withWaitForCaptchaSolve<Result>(
  callback: (page: Page) => Promise<Result>,
  options: CaptchaOptions & { page: Page; waitForNetworkSettled?: boolean },
): Promise<Result>;

/**
 * Captcha solving needs a browser extension of the platform, and so do its events.
 * @throws PlatformOnlyError Always.
 */
export function onCaptchaEvent(page: Page, ...rest: any[]): Promise<void>;

/**
 * Captcha solving needs a browser extension of the platform, and so do its events.
 * @throws PlatformOnlyError Always.
 */
export function onceCaptchaEvent(page: Page, ...rest: any[]): Promise<void>;

/**
 * Captcha solving needs a browser extension of the platform.
 * @throws PlatformOnlyError Always.
 */
export function pauseCaptchaSolver(context: BrowserContext): Promise<void>;

/**
 * Captcha solving needs a browser extension of the platform.
 * @throws PlatformOnlyError Always.
 */
export function resumeCaptchaSolver(context: BrowserContext): Promise<void>;
