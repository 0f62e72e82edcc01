'use strict';
/**
 * A stand-in for the libraries in Playwright's bundle: each is loaded at its first use, as to load them all takes longer
 * than all else of the client. Of all, a client needs `debug` and `colors` alone, which have nothing to do here.
 */

const debug = () => Object.assign(() => {}, { enabled: false });
/** A text in any color is that text. */
const colors = new Proxy({}, { get: () => (/** @type {string} */ text) => text });

/**
 * @param {string} file
 * @returns {any}
 */
module.exports = (file) => {
  /** @type {any} */
  let loaded;
  const real = () => (loaded ??= require(file));
  /** @type {Map<string | symbol, any>} */
  const known = new Map([
    ['colors', colors],
    ['debug', Object.assign(debug, { enabled: () => false, enable() {}, disable() {}, log() {} })],
  ]);
  const lazy = (/** @type {string | symbol} */ library) =>
    new Proxy(function () {}, {
      get: (_, name) => real()[library][name],
      apply: (_, self, given) => Reflect.apply(real()[library], self, given),
      construct: (_, given) => Reflect.construct(real()[library], given),
    });
  return new Proxy(
    {},
    {
      get(_, library) {
        if (!known.has(library)) known.set(library, lazy(library));
        return known.get(library);
      },
    },
  );
};
