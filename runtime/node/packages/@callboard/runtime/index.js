'use strict';
/** What user code imports from Callboard beside `@intuned/runtime` (docs/contract.md, section 3.4). */

/** Most seconds until the next Attempt. */
const LONGEST_WAIT = 86_400;

class NotRetryable extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name; // of subclasses, too
  }
}

class RetryLater extends Error {
  constructor(seconds, options) {
    if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= LONGEST_WAIT)) {
      throw new RangeError(`RetryLater takes a number of seconds from 0 to ${LONGEST_WAIT}`);
    }
    super(`another Attempt may help in ${seconds} seconds`, options);
    this.name = new.target.name;
    this.seconds = seconds;
  }
}

module.exports = { NotRetryable, RetryLater };
