'use strict';
/**
 * A thread that ends the process once its main thread has not told within a time that it goes on: it blocks.
 *
 * A message is that time in milliseconds, from now on; null stops it. Where the main thread stands goes to the descriptor
 * `stack`, as the text of a stack; without one, that the process was ended.
 */

const fs = require('node:fs');
const { Session } = require('node:inspector');
const { SourceMap } = require('node:module');
const path = require('node:path');
const { fileURLToPath } = require('node:url');
const { parentPort, workerData } = require('node:worker_threads');

/** Milliseconds until the place where the main thread stands is given up. */
const PAUSE_WITHIN = 10_000;
const INLINE = /\/\/# sourceMappingURL=data:application\/json;base64,(\S+)\s*$/;

let timer;
parentPort.on('message', (within) => {
  clearTimeout(timer);
  if (within !== null) timer = setTimeout(end, within);
});

function end() {
  const session = new Session();
  session.connectToMainThread();
  const urls = new Map();
  session.on('Debugger.scriptParsed', ({ params }) => urls.set(params.scriptId, params.url));
  session.on('Debugger.paused', ({ params }) => kill(stackOf(params.callFrames, urls)));
  session.post('Debugger.enable');
  session.post('Debugger.pause');
  setTimeout(kill, PAUSE_WITHIN, '');
}

function kill(text) {
  fs.writeSync(workerData.stack, text || ' ');
  process.kill(process.pid, 'SIGKILL');
}

/** Return the frames in the project's code, the innermost first, as the text of a stack. */
function stackOf(callFrames, urls) {
  const lines = callFrames.map(({ functionName, location }) => {
    const url = urls.get(location.scriptId) ?? '';
    const file = url.startsWith('file:') ? fileURLToPath(url) : url;
    if (!path.isAbsolute(file)) return ''; // Node's own
    const { fileName, lineNumber, columnNumber } = originOf(file, location);
    const at = path.relative(workerData.root, fileName);
    if (at.startsWith('..') || at.startsWith('node_modules')) return '';
    const place = `${at}:${lineNumber}:${columnNumber}`;
    return functionName ? `    at ${functionName} (${place})\n` : `    at ${place}\n`;
  });
  return lines.join('');
}

/** Return where a place of a compiled function comes from. Lines and columns count from 1, those of `location` from 0. */
function originOf(file, { lineNumber, columnNumber }) {
  const [, inline] = INLINE.exec(fs.readFileSync(file, 'utf8')) ?? [];
  const map = inline && new SourceMap(JSON.parse(Buffer.from(inline, 'base64').toString()));
  const origin = map?.findOrigin(lineNumber + 1, columnNumber + 1);
  if (!origin?.fileName) return { fileName: file, lineNumber: lineNumber + 1, columnNumber: columnNumber + 1 };
  return { ...origin, fileName: path.resolve(path.dirname(file), origin.fileName) };
}
