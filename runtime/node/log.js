'use strict';
/**
 * Lines of the Attempt's log, in the form that `callboard.machines.log_writer` takes, and what makes them of `console`.
 */

const { Console } = require('node:console');
const fs = require('node:fs');
const { format } = require('node:util');
const { framesOf, shortened, shown } = require('./failures.js');

/** Most characters of a message; the keeper's limit is in bytes. */
const LONGEST = 64 * 1024;

/** Levels of what `console` prints; what is not named here is of the level `info`. */
const LEVELS = { assert: 'warning', debug: 'debug', error: 'error', trace: 'debug', warn: 'warning' };

/** @typedef {(level: 'debug' | 'info' | 'warning' | 'error', source: string, message: string) => void} Say */

/**
 * Return the function that writes lines of the log. Each is written at once, so that it stays if this process is killed
 * in the next moment.
 * @param {string} pipe Where to write. It is opened anew, as copied descriptors share their flags, and libuv sets its
 *   own to non-blocking.
 * @returns {Say}
 */
function openLog(pipe) {
  const end = fs.openSync(pipe, 'w');
  return (level, source, message) => {
    const text = wellFormed(message.slice(0, LONGEST));
    const cut = message.length > LONGEST ? { cut: Buffer.byteLength(wellFormed(message)) } : {};
    try {
      writeWhole(end, Buffer.from(`\x1e${JSON.stringify({ level, source, message: text, ...cut })}\n`));
    } catch {
      // The keeper is gone, and soon so is this process.
    }
  };
}

/** @type {Say | undefined} */
let own;

/** Write a line into the pipe to the keeper. `callboard.machines.log_writer` has the sources. @type {Say} */
function say(level, source, message) {
  own ??= openLog('/proc/self/fd/1');
  own(level, source, message);
}

function writeWhole(end, data) {
  for (let written = 0; written < data.length;) written += fs.writeSync(end, data, written);
}

/** Half a character has no UTF-8 form, so it is spelled out. */
function wellFormed(text) {
  return text.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);
}

/**
 * Make lines of what is logged by `console` from now on. This is called once in a process.
 * @param {Say} say
 * @param {string} root The project's folder, to whose files stacks are cut.
 */
function captureConsole(say, root) {
  let level = 'info';
  const lines = { write: (text) => say(level, 'user', shortened(text.replace(/\n$/, ''), root)) };
  // Node's own Console knows how values, groups, tables and timers are printed.
  const printer = new Console({ stdout: lines, ignoreErrors: false, colorMode: false });
  for (const name of Object.keys(console).filter((each) => typeof printer[each] === 'function')) {
    console[name] = (...values) => {
      level = LEVELS[name] ?? 'info';
      return printer[name](...values);
    };
  }
  console.trace = function trace(...values) {
    const here = {};
    Error.captureStackTrace(here, trace);
    say('debug', 'user', `Trace: ${format(...values)}\n${shown(framesOf(here.stack), root)}`.trimEnd());
  };
}

module.exports = { captureConsole, openLog, say };
