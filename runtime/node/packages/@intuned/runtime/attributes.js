'use strict';
/** Attributes of a Run: small values that user code leaves for its record (docs/contract.md, section 3.4). */

const { types } = require('node:util');
const { current } = require('./current.js');
const { shown } = require('./shown.js');

const MOST_KEYS = 64;
/** Most characters of a text. */
const LONGEST_TEXT = 255;
const MOST_ITEMS = 20;
/** Most bytes of all attributes together, as JSON. */
const MOST_BYTES = 16 * 1024;

function setAttribute(key, value) {
  const attributes = { ...current().attributes, [key]: checked(key, value) };
  if (Object.keys(attributes).length > MOST_KEYS) {
    throw new RangeError(`attribute ${shown(key)}: a Run has at most ${MOST_KEYS} attributes`);
  }
  const size = Buffer.byteLength(JSON.stringify(attributes));
  if (size > MOST_BYTES) {
    throw new RangeError(
      `attribute ${shown(key)}: all attributes together would be ${size} bytes; at most ${MOST_BYTES}`,
    );
  }
  current().attributes[key] = attributes[key];
}

function deleteAttribute(key) {
  delete current().attributes[key];
}

function checked(key, value) {
  if (typeof key !== 'string' || !/^[a-zA-Z][a-zA-Z0-9_]{0,63}$/.test(key)) {
    throw new TypeError(`attribute ${shown(key)}: a key is a letter and up to 63 letters, digits or underscores`);
  }
  if (typeof value === 'boolean' || Number.isFinite(value) || fits(value)) return value;
  if (types.isDate(value) && Number.isFinite(value.getTime())) return value.toISOString();
  if (Array.isArray(value) && value.length <= MOST_ITEMS && value.every(fits)) return [...value];
  throw new TypeError(
    `attribute ${shown(key)}: a value is text of at most ${LONGEST_TEXT} whole characters, a finite number, ` +
      `a boolean, a Date, or an array of at most ${MOST_ITEMS} such texts; not ${shown(value)}`,
  );
}

/** Half a character does not fit: JSON in UTF-8, as which the record travels, cannot hold it. */
function fits(text) {
  return typeof text === 'string' && text.isWellFormed() && [...text].length <= LONGEST_TEXT;
}

module.exports = { deleteAttribute, setAttribute };
