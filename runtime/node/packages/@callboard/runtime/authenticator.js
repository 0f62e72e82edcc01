'use strict';
/** Codes of an authenticator app, made of the secret that a site shows when the app is set up (RFC 6238). */

const { createHmac } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');

/** Seconds that a code is good for at least when it is given: a page takes time to send it. */
const LEAST_LEFT = 3;
const LONGEST_PERIOD = 300;
const ALGORITHMS = ['sha1', 'sha256', 'sha512'];
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
/** How many letters the last group of eight may have in base32. */
const WHOLE_BYTES = [0, 2, 4, 5, 7];

/** The number of the last period whose code was given, by key and period. A process has one Attempt. */
const used = new Map();

async function totp(secret) {
  const { key, algorithm, digits, period } = parsed(secret);
  const name = `${key.toString('hex')} ${period}`;
  for (;;) {
    const now = Date.now() / 1_000;
    const number = Math.floor(now / period);
    const left = period - (now % period);
    if (left >= LEAST_LEFT && number > (used.get(name) ?? -1)) {
      used.set(name, number);
      return codeOf(key, number, algorithm, digits);
    }
    await sleep(Math.ceil(left * 1_000));
  }
}

/** Return the code of a period (RFC 4226, section 5.3). */
function codeOf(key, number, algorithm, digits) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(number));
  const digest = createHmac(algorithm, key).update(counter).digest();
  const value = digest.readUInt32BE(digest.at(-1) & 15) & 0x7fff_ffff;
  return `${value % 10 ** digits}`.padStart(digits, '0');
}

/** Return the key, the algorithm, the number of digits and the seconds of a period. Throws a TypeError. */
function parsed(secret) {
  const text = typeof secret === 'string' ? secret.trim() : '';
  let given = new URLSearchParams({ secret: text });
  if (/^otpauth:/i.test(text)) {
    const address = URL.canParse(text) ? new URL(text) : undefined;
    given = address?.hostname.toLowerCase() === 'totp' ? address.searchParams : new URLSearchParams();
  }
  const read = (name, otherwise) => given.getAll(name).at(-1) || otherwise;
  const key = bytesOf(read('secret', ''));
  const algorithm = read('algorithm', 'sha1').toLowerCase();
  const [digits, period] = [Number(read('digits', '6')), Number(read('period', '30'))];
  const isGood =
    key.length &&
    ALGORITHMS.includes(algorithm) &&
    [6, 7, 8].includes(digits) &&
    Number.isInteger(period) &&
    period >= 2 * LEAST_LEFT &&
    period <= LONGEST_PERIOD;
  if (isGood) return { key, algorithm, digits, period };
  throw new TypeError(
    'totp takes the secret of an authenticator app in base32, such as the one that a site shows beside its QR code, or ' +
      "that code's otpauth://totp/… address; this is neither",
  );
}

/** Return the bytes of a text in base32; none if it is not that. Spaces, hyphens and padding do not count. */
function bytesOf(text) {
  const values = [...text.replace(/[\s-]/g, '').replace(/=+$/, '').toUpperCase()].map((letter) => LETTERS.indexOf(letter));
  if (values.includes(-1) || !WHOLE_BYTES.includes(values.length % 8)) return Buffer.alloc(0);
  const bits = values.map((value) => value.toString(2).padStart(5, '0')).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

module.exports = { totp };
