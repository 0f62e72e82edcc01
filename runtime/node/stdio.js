'use strict';
/**
 * The standard streams of this process, which lead to the keeper by one pipe, as `callboard/machines/runner/stdio.py`
 * says. What is written stays, even if this process is killed in the next moment.
 */

const fs = require('node:fs');
const { Writable } = require('node:stream');

/** A stream whose writes have happened when they return. */
class Output extends Writable {
  /**
   * @param {number} descriptor What user code finds as its descriptor, to give it to programs that it starts.
   * @param {number} pipe What is written to.
   */
  constructor(descriptor, pipe) {
    super();
    this.fd = descriptor;
    this._pipe = pipe;
  }

  /** @param {Buffer} data @param {string} _encoding @param {(error?: Error) => void} done */
  _write(data, _encoding, done) {
    for (let written = 0; written < data.length; ) written += fs.writeSync(this._pipe, data, written);
    done();
  }
}

/**
 * Have `process.stdout` and `process.stderr` write at once. Node's own would set the pipe to non-blocking, for further
 * processes, too, and hold back what does not fit into it. A Node that user code starts with its output does that to
 * descriptors 1 and 2, so that the pipe is opened anew for these streams: copied descriptors share their flags.
 */
function openOutput() {
  const pipe = fs.openSync('/proc/self/fd/1', 'w');
  Object.defineProperty(process, 'stdout', { value: new Output(1, pipe), configurable: true, enumerable: true });
  Object.defineProperty(process, 'stderr', { value: new Output(2, pipe), configurable: true, enumerable: true });
}

module.exports = { openOutput };
