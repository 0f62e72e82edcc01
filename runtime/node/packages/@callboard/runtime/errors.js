'use strict';
/** Errors of user code that say whether another Attempt may help, and those of a question to a person. */

/** Most seconds until the next Attempt. */
const LONGEST_WAIT = 86_400;

class Named extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name; // of subclasses, too
  }
}

class NotRetryable extends Named {}

class RetryLater extends Named {
  constructor(seconds, options) {
    if (typeof seconds !== 'number' || !(seconds >= 0 && seconds <= LONGEST_WAIT)) {
      throw new RangeError(`RetryLater takes a number of seconds from 0 to ${LONGEST_WAIT}`);
    }
    super(`another Attempt may help in ${seconds} seconds`, options);
    this.seconds = seconds;
  }
}

class HandoffTimeout extends Named {}
class HandoffDeclined extends Named {}
class HandoffUnavailable extends Named {}

module.exports = { HandoffDeclined, HandoffTimeout, HandoffUnavailable, NotRetryable, RetryLater };
