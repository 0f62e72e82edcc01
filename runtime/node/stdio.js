'use strict';
/**
 * The standard streams of this process, which lead to the keeper by one pipe, as `callboard/machines/runner/stdio.py`
 * says. What is written stays, even if this process is killed in the next moment.
 */

const fs = require('node:fs');
const { Writable } = require('node:stream');

/** A stream whose writes have happened when they return. */
class Output extends Writable {
  /** @param {number} descriptor */
  constructor(descriptor) {
    super();
    this.fd = descriptor;
  }

  /** @param {Buffer} data @param {string} _encoding @param {(error?: Error) => void} done */
  _write(data, _encoding, done) {
    for (let written = 0; written < data.length; ) written += fs.writeSync(this.fd, data, written);
    done();
  }
}

/**
 * Have `process.stdout` and `process.stderr` write at once. Node's own would set the pipe to non-blocking, for further
 * processes, too, and hold back what does not fit into it.
 */
function openOutput() {
  Object.defineProperty(process, 'stdout', { value: new Output(1), configurable: true, enumerable: true });
  Object.defineProperty(process, 'stderr', { value: new Output(2), configurable: true, enumerable: true });
}

module.exports = { openOutput };
