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
