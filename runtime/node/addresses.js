'use strict';
/**
 * Which addresses user code may open (docs/contract.md, section 4.2): the twin of `callboard_runtime/addresses.py`.
 */

const ALLOWED = new Set(['about', 'blob', 'data', 'http', 'https']);
/** Start of an address that is no scheme, although a colon may follow: Playwright puts `http://` before it. */
const COMPLETED = 'localhost';
/** Most characters of an address that are shown. */
const LONGEST = 500;

/**
 * Say why an address must not be opened; undefined if it may be opened, or is no text, of which Playwright complains.
 * @param {unknown} url
 * @param {string} [base] What it is relative to, if it is.
 * @returns {string | undefined}
 */
function refusal(url, base) {
  if (typeof url !== 'string') return undefined;
  const scheme = schemeOf(url) ?? schemeOf(base ?? '');
  if (scheme === undefined || ALLOWED.has(scheme) || scheme === COMPLETED) return undefined;
  return (
    `${shown(cleaned(url))} was refused: only http:, https:, data:, blob: and about: addresses may be opened. To allow` +
    ' all addresses, including those of files on the worker, set allowFileUrls to true in the project\'s settings file.'
  );
}

/** @param {string} url */
function schemeOf(url) {
  return /^([a-z][a-z0-9+.-]*):/i.exec(cleaned(url))?.[1]?.toLowerCase();
}

/** Return an address without the characters that browsers ignore, which must not hide a scheme. @param {string} url */
function cleaned(url) {
  return url.replace(/^[\0-\x20]+/, '').replace(/[\t\n\r]/g, '');
}

/** Return an address without its user, query and fragment, in which secrets may be. @param {string} url */
function shown(url) {
  const plain = url.replace(/[?#].*$/s, '').replace(/^([^/]*\/\/)[^/@]*@/, '$1***@');
  return plain.length > LONGEST ? `${plain.slice(0, LONGEST)}…` : plain;
}

module.exports = { refusal };
