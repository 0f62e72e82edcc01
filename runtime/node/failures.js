'use strict';
/**
 * The ways in which user code can fail, and the message about each of them.
 *
 * The messages have the fields that `callboard_runtime.failures` makes for Python. Stacks are those of V8, cut to the
 * frames that say something to the project's author, by paths that say nothing about this host.
 */

const { findSourceMap } = require('node:module');
const { fileURLToPath } = require('node:url');
const { inspect, stripVTControlCharacters, types } = require('node:util');
const { NotRetryable, RetryLater } = require('./packages/@callboard/runtime');
const { RunError } = require('./packages/@intuned/runtime');

const MESSAGE_LIMIT = 4_000;
const STACK_LIMIT = 16_000;
const NAME_LIMIT = 200;
/** Most errors that are told as causes of one. */
const MOST_CAUSES = 10;

const FRAME = /^ +at (?:(.+) \()?((?:file:\/\/)?\/.*?):(\d+):(\d+)\)?$/;
/** Codes of the errors of an import that would fail in each Attempt. */
const NOT_IMPORTED = new Set(['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND', 'ERR_PACKAGE_PATH_NOT_EXPORTED']);

const LINE_OF_FRAME = /^ +at /;
const IN_PACKAGE = /\/(node_modules\/(?!.*\/node_modules\/).*)$/;
/** Our own packages, wherever they lie. */
const OWN_PACKAGE = /\/(@(?:callboard|intuned)\/(?:browser|runtime)\/.*)$/;

/** User code threw an error, or returned what is not JSON. Another Attempt may succeed. */
class UserCodeError extends Error {
  kind = 'user';

  /**
   * @param {string} message
   * @param {{name?: string, stack?: string}} [told] The class of the error to tell, and where it was thrown. Without a
   *   stack, it is told where this error was made.
   */
  constructor(message, { name = '', stack } = {}) {
    super(message);
    this.name = name;
    this.shownStack = stack;
  }
}

/** The API's file is broken or not what it should be. No Attempt can succeed. */
class StructuralError extends UserCodeError {
  kind = 'structural';
}

/** User code says that no further Attempt can help. */
class NoRetryError extends StructuralError {
  kind = 'non-retryable';
}

/** User code says that another Attempt may help after a while. */
class RetryLaterError extends UserCodeError {
  kind = 'retry-later';

  /** @param {string} message @param {{name: string, stack: string, seconds: number}} told */
  constructor(message, { seconds, ...told }) {
    super(message, told);
    this.seconds = seconds;
  }
}

/** What is returned is larger than the limit (docs/contract.md, section 3, rule 5). */
class ResultTooBigError extends StructuralError {
  kind = 'too-big';

  /** @param {string} what @param {string} text The ASCII JSON. @param {number} limit Most bytes of it. */
  constructor(what, text, limit) {
    super(
      `${what} is ${text.length} bytes of JSON; at most ${limit} are allowed. Return less, or store it elsewhere ` +
        'and return a reference.',
      { name: 'ResultTooBigError' },
    );
    this.text = text;
    this.limit = limit;
  }
}

/**
 * One frame of a stack. `line` and `column` count from 1.
 * @typedef {{name?: string, file: string, line: number, column: number}} Frame
 */

/**
 * Return the fields of a message about whatever user code threw, or what we threw ourselves.
 * @param {unknown} thrown
 * @param {string} root The project's folder.
 * @returns {{kind: string, name: string, message: string, stack: string, details?: object, retryAfter?: number}}
 */
function asMessage(thrown, root) {
  let error;
  try {
    error = thrown instanceof UserCodeError ? thrown : raised(thrown, root);
  } catch {
    error = new UserCodeError('What was thrown cannot be shown.', { name: typeof thrown, stack: '' }); // such as a Proxy
  }
  const fields = {
    kind: error.kind,
    name: error.name,
    message: error.message,
    stack: error.shownStack ?? stackOf(error, root, error.message),
  };
  if (error instanceof ResultTooBigError) {
    fields.details = { sizeInBytes: error.text.length, maxSizeInBytes: error.limit };
  }
  if (error instanceof RetryLaterError) fields.retryAfter = error.seconds;
  return fields;
}

/**
 * Return the error for what user code threw: its class and message, with its causes, and its stack.
 *
 * An import that fails, and a name that there is not, would fail in each Attempt. A variable that has no value yet may
 * depend on what the page had.
 * @param {unknown} thrown
 * @param {string} root
 * @returns {UserCodeError}
 */
function raised(thrown, root) {
  const name = nameOf(thrown).slice(0, NAME_LIMIT);
  const text = whole(thrown, root);
  const told = { name, stack: isError(thrown) ? stackOf(thrown, root, headOf(thrown, root)) : '' };
  if (thrown instanceof NotRetryable || (thrown instanceof RunError && thrown.retryable === false)) {
    return new NoRetryError(text, told);
  }
  if (thrown instanceof RetryLater) return new RetryLaterError(text, { ...told, seconds: thrown.seconds });
  const isFinal = isMissingModule(thrown) || isUnknownName(thrown);
  return new (isFinal ? StructuralError : UserCodeError)(text, told);
}

function isError(thrown) {
  return types.isNativeError(thrown) || thrown instanceof Error;
}

function isMissingModule(thrown) {
  return isError(thrown) && NOT_IMPORTED.has(read(thrown, 'code'));
}

/** Errors of a page have the same name, but are none of these. */
function isUnknownName(thrown) {
  return thrown instanceof ReferenceError && / is not defined$/.test(String(read(thrown, 'message')));
}

/** Return the class of an error: its own `name` unless that is `Error`, else its constructor's; or the thrown type. */
function nameOf(thrown) {
  if (!isError(thrown)) return thrown === null ? 'null' : typeof thrown;
  const own = read(thrown, 'name');
  return typeof own === 'string' && own && own !== 'Error' ? own : published(read(thrown, 'constructor'));
}

/** Return the name of a class. Those of Playwright's errors have got another one in its bundle. */
function published(constructor) {
  const name = read(constructor, 'name');
  if (typeof name !== 'string' || !name || name === 'PlaywrightError') return 'Error';
  const base = read(Object.getPrototypeOf(constructor), 'name');
  return base === 'PlaywrightError' ? name.replace(/\d+$/, '') : name;
}

/** Return a property of what user code may have made; undefined if reading it throws. */
function read(value, property) {
  try {
    return value?.[property];
  } catch {
    return undefined;
  }
}

/** Return class and message of what was thrown, or its content if it is no error. */
function headOf(thrown, root) {
  if (!isError(thrown)) return contentOf(thrown).slice(0, MESSAGE_LIMIT);
  const name = nameOf(thrown).slice(0, NAME_LIMIT);
  let said = read(thrown, 'message');
  said = stripVTControlCharacters(typeof said === 'string' ? said : '')
    .replaceAll(`${root}/`, '')
    .trimEnd();
  if (isMissingModule(thrown)) said = undeclared(said);
  return (said ? `${name}: ${said}` : name).slice(0, MESSAGE_LIMIT);
}

function contentOf(thrown) {
  if (thrown === undefined || thrown === null) return `${thrown} was thrown instead of an Error`;
  const type = typeof thrown;
  const content = type === 'string' ? thrown : inspect(thrown, { depth: 2, breakLength: Infinity });
  return `${type === 'object' ? 'An' : 'A'} ${type} was thrown instead of an Error: ${content}`;
}

/** Return the message about a missing module, with what to do unless it would be a file of the project. */
function undeclared(message) {
  const said = message.replace(/\nRequire stack:[^]*| imported from .*/, '').replace(/\/\S*\/(?=node_modules\/)/g, '');
  const [, module] = /Cannot find (?:module|package) '([^']+)'/.exec(said) ?? [];
  if (!module || /^[./#]/.test(module)) return said;
  return (
    `${said}\nIt is neither a file of the project nor in a package that it declares. ` +
    'Declare its package in package.json.'
  );
}

/** Return class and message of what was thrown, and those of its causes, a line each. */
function whole(thrown, root) {
  const lines = [headOf(thrown, root), ...causesOf(thrown).map(([cause, what]) => `${what}: ${headOf(cause, root)}`)];
  return lines.join('\n').slice(0, MESSAGE_LIMIT);
}

/** Return the errors that an error has as its causes, each with how it is one; those of a cause right behind it. */
function causesOf(thrown, seen = new Set([thrown])) {
  const found = [];
  const take = (cause, what) => {
    if (cause === undefined || seen.has(cause) || seen.size > MOST_CAUSES) return;
    seen.add(cause);
    found.push([cause, what], ...causesOf(cause, seen));
  };
  if (!isError(thrown)) return found;
  if (thrown instanceof AggregateError) {
    const errors = read(thrown, 'errors');
    if (Array.isArray(errors)) errors.forEach((error) => take(error, 'One of its errors'));
  }
  take(read(thrown, 'cause'), 'Cause');
  return found;
}

/**
 * Return the stack of an error as V8 has it, up to the outermost frame of the project, followed by those of its causes;
 * empty if no frame is in the project.
 * @param {any} error
 * @param {string} root
 * @param {string} head Its first lines.
 */
function stackOf(error, root, head) {
  const framesIn = (each) => shown(framesOf(read(each, 'stack')), root);
  const causes = causesOf(error).map(([cause, what]) => [`${what}: ${headOf(cause, root)}\n`, framesIn(cause)]);
  const parts = [[`${head}\n`, framesIn(error)], ...causes];
  if (parts.every(([, frames]) => !frames)) return '';
  return parts.flat().join('').slice(0, STACK_LIMIT).trimEnd();
}

/**
 * Return the frames at the end of the text of a stack, whose first lines are a message that may be anything.
 * @param {unknown} stack
 * @returns {Frame[]}
 */
function framesOf(stack) {
  const lines = typeof stack === 'string' ? stack.split('\n') : [];
  const begin = lines.findLastIndex((line) => line && !LINE_OF_FRAME.test(line)) + 1;
  return lines
    .slice(begin)
    .map(frameOf)
    .filter((frame) => frame !== undefined);
}

/** Return what a line of a stack tells; undefined for frames without a file. @returns {Frame | undefined} */
function frameOf(text) {
  const found = text.includes('<anonymous>:') ? null : FRAME.exec(text);
  if (found === null) return undefined;
  const [, name, place, line, column] = found;
  const file = place.startsWith('file:') ? pathOf(place) : place;
  return file === undefined ? undefined : { name, file, line: Number(line), column: Number(column) };
}

/** Return the path of the address of a file; undefined if it is none. @returns {string | undefined} */
function pathOf(address) {
  try {
    return fileURLToPath(address);
  } catch {
    return undefined;
  }
}

/**
 * Return frames as the text of a stack has them: from the innermost up to the outermost one of the project, those of
 * packages between them included, those of Node, of Playwright and of ours left out. Empty if none is in the project.
 * @param {Frame[]} frames The innermost first. Those in a bundle are told by the file that it was made of.
 * @param {string} root The project's folder.
 */
function shown(frames, root) {
  const all = placed(frames, root);
  const end = all.findLastIndex(({ own }) => own) + 1;
  const lines = all.slice(0, end).filter(({ short }) => short !== undefined);
  return lines.map((frame) => `${lineOf(frame)}\n`).join('');
}

/** Return frames with the place that each comes from, the path to show for it, and whether that is the project's. */
function placed(frames, root) {
  return frames.map((frame) => {
    const source = { ...frame, ...original(frame) };
    return { ...source, ...shownPath(source.file, root) };
  });
}

function lineOf({ name, short, line, column }) {
  const at = `${short}:${line}:${column}`;
  return `    at ${name ? `${name} (${at})` : at}`;
}

/**
 * Return text of a log with the frames of stacks in it by their short paths; those of Node and of ours are left out.
 * @param {string} text
 * @param {string} root The project's folder.
 */
function shortened(text, root) {
  return text.replace(/\n {4,}at ([^\n]*?)( \{)?(?=\n|$)/g, (line, told, rest = '') => {
    const [frame] = placed([frameOf(`    at ${told}`)].filter(Boolean), root);
    if (frame?.short) return `\n${lineOf(frame)}${rest}`;
    return frame || /\bnode:/.test(told) ? rest : line.replaceAll(`${root}/`, '');
  });
}

/** Return where a place in a bundle comes from, by the bundle's source map; nothing for other places. */
function original({ file, line, column }) {
  const { originalSource, originalLine, originalColumn } = findSourceMap(file)?.findEntry(line - 1, column - 1) ?? {};
  const source = originalSource === undefined ? undefined : pathOf(originalSource);
  return source === undefined ? {} : { file: source, line: originalLine + 1, column: originalColumn + 1 };
}

/** Return the path to show for a file, or undefined if it is not shown, and whether it is the project's own. */
function shownPath(file, root) {
  const relative = file.startsWith(`${root}/`) ? file.slice(root.length + 1) : undefined;
  const within = relative === undefined ? file : `/${relative}`;
  const [, inPackage] = OWN_PACKAGE.exec(within) ?? IN_PACKAGE.exec(within) ?? [];
  if (inPackage === undefined) return { short: relative, own: relative !== undefined };
  return { short: inPackage.startsWith('node_modules/playwright') ? undefined : inPackage, own: false };
}

/**
 * Return the fields of an error with `also` appended to its message.
 * @template {{message: string}} Fields
 * @param {Fields} fields
 * @param {string} also
 * @returns {Fields}
 */
function withAddition(fields, also) {
  return { ...fields, message: `${fields.message.slice(0, MESSAGE_LIMIT - also.length - 1).trimEnd()}\n${also}` };
}

module.exports = {
  MESSAGE_LIMIT,
  STACK_LIMIT,
  NoRetryError,
  ResultTooBigError,
  RetryLaterError,
  StructuralError,
  UserCodeError,
  asMessage,
  framesOf,
  raised,
  shortened,
  shown,
  withAddition,
};
