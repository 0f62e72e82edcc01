'use strict';
/** Turn what user code returned into JSON text (docs/contract.md, section 3, rule 5). */

const fs = require('node:fs');
const path = require('node:path');
const { types } = require('node:util');
const { ResultTooBigError, StructuralError } = require('./failures.js');

/** Most bytes of ASCII-escaped JSON. */
const LIMIT = 2 * 1024 * 1024;
/** Most levels of arrays and objects within each other: as many as a request may have, so that whoever reads it can. */
const DEPTH = 200;
/** Most characters of a key in the path to what has no JSON form. */
const LONGEST_KEY = 100;
/** Names that are tried for a file with a result. */
const MOST_RESULTS = 100;

/**
 * What has no JSON form, with what to return instead. `JSON.stringify` would make `{}` of most of these.
 * @type {[(value: any) => boolean, string][]}
 */
const WITHOUT_FORM = [
  [types.isPromise, '; is an `await` missing?'],
  [(value) => types.isGeneratorObject(value) && Symbol.asyncIterator in value, '; is an `await` missing?'],
  [types.isMap, '; return Object.fromEntries(…)'],
  [types.isSet, '; return [...…]'],
  [
    (value) => types.isMapIterator(value) || types.isSetIterator(value) || types.isGeneratorObject(value),
    '; return [...…]',
  ],
  [(value) => types.isArrayBufferView(value) || types.isAnyArrayBuffer(value), '; return base64 text, or an array'],
  [(value) => types.isNativeError(value) || value instanceof Error, '; return its message'],
  [types.isRegExp, '; return String(…)'],
  [types.isDate, ', as it is invalid; return null'], // a valid one is text by now
  [isPlaywright, ''],
];

/** What is returned has no JSON form, which it would not have in another Attempt either. */
class NotJsonError extends StructuralError {}

/**
 * Return ASCII-escaped JSON of a value, as `JSON.stringify` makes it: `toJSON` is honoured, so that a Date is text, and
 * `undefined` is left out of objects and is null in arrays. Nothing else is left out.
 * @param {unknown} value What user code returned.
 * @param {{what?: string, path?: string}} [names] The value's name at the beginning of a sentence, and of a path.
 * @returns {string}
 * @throws {NotJsonError} The value is not JSON (NaN, Infinity, a BigInt, a Map, a cycle …), or has more
 *   than `DEPTH` levels; its message has the path.
 * @throws {ResultTooBigError} The JSON is larger than `LIMIT`.
 */
function toJson(value, { what = 'Result', path = 'result' } = {}) {
  const text = jsonOf(value, path, DEPTH);
  if (text.length > LIMIT) throw new ResultTooBigError(what, text, LIMIT);
  return text;
}

/**
 * Return ASCII-escaped JSON of a value of any size, as `toJson` makes it.
 * @param {unknown} value
 * @param {string} root The value's name at the beginning of a path.
 * @param {number} [depth] Most levels.
 * @returns {string}
 * @throws {NotJsonError} As of `toJson`.
 */
function jsonOf(value, root, depth = Infinity) {
  /** What the value that is looked at lies in: what each is shown as, and where it lies in turn. */
  const around = [];
  const here = () =>
    root +
    around
      .slice(1)
      .map(({ holder, key }) => stepTo(holder, key))
      .join('');

  /** @this {any} */
  function checked(key, form) {
    while (around.length && around.at(-1).form !== this) around.pop();
    // Published examples return an object with a method in it, of which JSON.stringify makes nothing either.
    if (typeof form === 'function' && around.length && !Array.isArray(this)) return undefined;
    const fault = faultOf(this[key], form, around);
    if (fault) {
      around.push({ holder: this, key });
      throw new NotJsonError(`${here()}${fault}`, { name: 'TypeError' });
    }
    if (typeof form !== 'object' || form === null) return form;
    if (around.length === depth) throw new NotJsonError(tooDeep(root), { name: 'RangeError' });
    around.push({ form, holder: this, key });
    return form;
  }

  let text;
  try {
    text = JSON.stringify(value, checked);
  } catch (error) {
    if (error instanceof NotJsonError) throw error;
    // A `toJSON` or a getter of user code has thrown, or the text would be longer than any text can be.
    const said = types.isNativeError(error) ? error.message : String(error);
    throw new NotJsonError(`${root} has no JSON form: ${said}`, { name: 'TypeError' });
  }
  return (text ?? 'null').replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * Return what of a value has no JSON form, and what to return instead; an empty text if it has one.
 * @param {any} given The value.
 * @param {any} form What its `toJSON` has made of it.
 * @param {{form: any}[]} around What it lies in.
 */
function faultOf(given, form, around) {
  if (typeof form === 'number') return Number.isFinite(form) ? '' : `: JSON has no ${form}; return null`;
  if (typeof form === 'bigint') return ': JSON has no BigInt; return Number(…) or String(…)';
  if (typeof form === 'function' || typeof form === 'symbol')
    return `: a ${typeof form} has no JSON form; leave it out`;
  const value = isHidden(given, form) ? given : form;
  if (typeof value !== 'object' || value === null) return '';
  if (around.some((outer) => outer.form === form)) return ': it contains itself, which JSON cannot hold; leave it out';
  if (Object.getPrototypeOf(value) === Object.prototype) return ''; // most are
  const found = WITHOUT_FORM.find(([matches]) => matches(value));
  return found ? `: ${a(value)} has no JSON form${found[1]}` : '';
}

/** Tell whether the `toJSON` of a value says something else than what the value is. */
function isHidden(given, form) {
  return Buffer.isBuffer(given) || (types.isDate(given) && form === null) || isPlaywright(given);
}

function isPlaywright(value) {
  return typeof value === 'object' && value !== null && '_guid' in value && '_connection' in value;
}

/** The sentence for a value with too many levels. */
function tooDeep(root) {
  return `${root} is nested too deeply: it may have ${DEPTH} levels of arrays and objects`;
}

function stepTo(holder, key) {
  if (Array.isArray(holder)) return `[${key}]`;
  const text = key.slice(0, LONGEST_KEY);
  return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(text) ? `.${text}` : `[${JSON.stringify(text)}]`;
}

/** Return the value's type with its article. */
function a(value) {
  const name = value.constructor?.name || 'object';
  return `${/^[aeiou]/i.test(name) ? 'an' : 'a'} ${name}`;
}

/**
 * Return JSON text of what a function returned: for a check only whether it is true, for a create `null`.
 *
 * A result that is too big is left as a file below `output/` of the project's folder, so that it is not lost.
 * @param {'api' | 'check' | 'create'} kind
 * @param {unknown} value
 * @param {string} root The project's folder.
 * @returns {string}
 * @throws {StructuralError} As of `toJson`.
 */
function resultAsJson(kind, value, root) {
  if (kind === 'check') return value ? 'true' : 'false';
  if (kind === 'create') return 'null';
  try {
    return toJson(value);
  } catch (error) {
    if (error instanceof ResultTooBigError) error.message += ` ${leave(error.text, root)}`;
    throw error;
  }
}

/** Write a result to a file that the Attempt leaves. Return a sentence that says where it is. */
function leave(text, root) {
  const folder = path.join(root, 'output');
  try {
    fs.mkdirSync(folder, { recursive: true });
    for (let number = 1; number < MOST_RESULTS; number++) {
      const name = number === 1 ? 'result.json' : `result-${number}.json`;
      try {
        fs.writeFileSync(path.join(folder, name), text, { flag: 'wx' });
        return `It is left as the file ${name}.`;
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      }
    }
  } catch (error) {
    return `It could not be left as a file: ${error.code}.`;
  }
  return 'It could not be left as a file: there are too many of its name.';
}

module.exports = { DEPTH, LIMIT, NotJsonError, jsonOf, resultAsJson, toJson };
