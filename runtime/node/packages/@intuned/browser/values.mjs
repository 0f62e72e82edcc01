/** Makes values fewer. */

/**
 * Return `data` without null, undefined, blank strings, and arrays and plain objects that have nothing, or lose all they
 * have here. `data` itself stays what it is.
 *
 * @template T
 * @param {{data: T}} options
 * @returns {T}
 */
export function filterEmptyValues({ data }) {
  if (Array.isArray(data)) return data.map((item) => filterEmptyValues({ data: item })).filter(hasContent);
  if (!isPlain(data)) return data;
  const entries = Object.entries(data).map(([key, value]) => [key, filterEmptyValues({ data: value })]);
  return Object.fromEntries(entries.filter(([, value]) => hasContent(value)));
}

/**
 * Tell whether a value is an object without a class of its own.
 *
 * @param {unknown} value
 */
export function isPlain(value) {
  if (typeof value !== 'object' || value === null) return false;
  return [Object.prototype, null].includes(Object.getPrototypeOf(value));
}

/** @param {unknown} value */
function hasContent(value) {
  if (typeof value === 'string') return value.trim() !== '';
  if (Array.isArray(value)) return value.length > 0;
  return value !== null && value !== undefined && !(isPlain(value) && Object.keys(value).length === 0);
}
