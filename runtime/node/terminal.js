'use strict';
/** A question of user code on the terminal of its author, where `callboard run` calls it: the twin of `terminal.py`. */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const readline = require('node:readline');

/** Lines of the standard input that no question has read yet; null is its end, which stays. @type {(string | null)[]} */
const typed = [];
/** The questions that have not ended, by their numbers. @type {Map<string, AbortController>} */
const open = new Map();
/** When the question before has left the terminal: one is on it at a time. @type {Promise<unknown>} */
let turn = Promise.resolve();
let isReading = false;
let wake = () => {};

/**
 * Ask, and return how that ended, as a worker tells it: JSON with `status`, and `values` or `reason`.
 *
 * An end of the input (Ctrl-D) declines. What does not match the pattern is asked for again. Where no value is asked for,
 * as the browser is handed over, Enter says that the person is done.
 * @param {Record<string, string>} question
 */
async function askOnTerminal(question) {
  const ending = new AbortController();
  const ended = new Promise((resolve) => {
    ending.signal.onabort = () => resolve({ status: ending.signal.reason });
  });
  const asked = turn.then(() => ask(question, ending.signal));
  turn = asked.catch(() => {});
  open.set(question.question, ending);
  const timer = setTimeout(() => ending.abort('expired'), Number(question.timeout) * 1_000);
  try {
    return JSON.stringify(await Promise.race([asked, ended]));
  } finally {
    clearTimeout(timer);
    open.delete(question.question);
  }
}

/** Withdraw a question: nobody waits for its answer any more. @param {string} number */
function withdraw(number) {
  open.get(number)?.abort('withdrawn');
}

/** @param {Record<string, string>} question @param {AbortSignal} signal */
async function ask({ instructions, name, pattern, masked }, signal) {
  const whole = new RegExp(`^(?:${pattern || '[^]*'})$`);
  if (!signal.aborted) write(`${instructions}\n`);
  while (!signal.aborted) {
    const typedLine = () => lineFor(name ?? 'Press Enter when you are done', signal);
    const line = await (masked === 'true' ? withoutEcho(typedLine) : typedLine());
    if (line === null) return { status: 'declined', reason: 'the input has ended' };
    if (line !== undefined && whole.test(line)) return { status: 'completed', values: name === undefined ? {} : { [name]: line } };
    if (line !== undefined) write(`Expected a text that matches ${pattern}\n`);
  }
}

/** Return a line of the standard input; null at its end, and undefined once the signal aborts. */
async function lineFor(name, signal) {
  if (!isReading) read();
  write(`${name}: `);
  while (!typed.length && !signal.aborted) {
    await new Promise((resolve) => {
      wake = resolve;
      signal.addEventListener('abort', resolve, { once: true });
    });
  }
  if (typed.length && typed[0] !== null && !signal.aborted) return typed.shift();
  write('\n');
  return signal.aborted ? undefined : null;
}

function read() {
  isReading = true;
  const take = (line) => {
    typed.push(line);
    wake();
  };
  readline
    .createInterface({ input: process.stdin })
    .on('line', take)
    .on('close', () => take(null));
}

/** Have the terminal not show what is typed, if the input is one. It is for our parent to restore it if we are killed. */
async function withoutEcho(line) {
  if (!process.stdin.isTTY) return await line();
  stty('-echo');
  try {
    return await line();
  } finally {
    stty('echo');
    write('\n');
  }
}

function stty(setting) {
  const { error, status } = spawnSync('stty', [setting], { stdio: ['inherit', 'ignore', 'ignore'] });
  if (error || status !== 0) throw new Error(`The terminal does not hide what is typed: stty ${setting} has failed.`);
}

function write(text) {
  fs.writeSync(2, text);
}

module.exports = { askOnTerminal, withdraw };
