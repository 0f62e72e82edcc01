/** Makes data regular: without empty values, with dates, of a shape that a schema describes. */

import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import * as chrono from 'chrono-node/en';

/** What `{ type: 'attachment' }` stands for in a schema. */
const ATTACHMENT = {
  type: 'object',
  required: ['fileName', 'key', 'suggestedFileName'],
  properties: {
    fileName: { type: 'string' },
    key: { type: 'string' },
    suggestedFileName: { type: 'string' },
    fileType: { type: 'string' },
    bucket: { type: ['string', 'null'] },
    region: { type: ['string', 'null'] },
    endpoint: { type: ['string', 'null'] },
  },
};

/** Data is not as its schema has it. `data` is the data; `message` names each place. */
export class ValidationError extends Error {
  name = 'ValidationError';

  /**
   * @param {string} message
   * @param {unknown} data
   */
  constructor(message, data) {
    super(message);
    this.data = data;
  }
}

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
 * Return the day that a text in English says, as midnight in UTC, or null if it says none.
 *
 * Of 01/02/2024, the month is the first number, unless it cannot be one. A time and its zone are ignored.
 *
 * @param {{date: string}} options
 * @returns {Date | null}
 */
export function processDate({ date }) {
  const day = chrono.strict.parse(date)[0]?.start;
  if (!day?.isCertain('year') || !day.isCertain('month')) return null;
  return new Date(Date.UTC(day.get('year'), day.get('month') - 1, day.get('day')));
}

/**
 * Check data against a JSON schema (2020-12), which may have the type `attachment`.
 *
 * @param {{data: unknown, schema: Record<string, unknown>}} options
 * @throws {ValidationError} with a line for each place that is wrong
 */
export function validateDataUsingSchema({ data, schema }) {
  const { $schema, ...rest } = schema;
  const ajv = addFormats(new Ajv({ allErrors: true, strict: false }));
  const validate = ajv.compile(withAttachments(rest));
  if (validate(data)) return;
  const lines = validate.errors.map(({ instancePath, message }) => `  - ${instancePath || '(all)'}: ${message}`);
  throw new ValidationError(`Validation failed with ${lines.length} error(s):\n${lines.join('\n')}`, data);
}

/** @param {unknown} value */
function isPlain(value) {
  if (typeof value !== 'object' || value === null) return false;
  return [Object.prototype, null].includes(Object.getPrototypeOf(value));
}

/** @param {unknown} value */
function hasContent(value) {
  if (typeof value === 'string') return value.trim() !== '';
  if (Array.isArray(value)) return value.length > 0;
  return value !== null && value !== undefined && !(isPlain(value) && Object.keys(value).length === 0);
}

/** Return a schema in which the type `attachment` is said in JSON schema. */
function withAttachments(schema) {
  if (Array.isArray(schema)) return schema.map(withAttachments);
  if (!isPlain(schema)) return schema;
  const { type, ...rest } = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, withAttachments(value)]),
  );
  const types = [type].flat();
  if (!types.includes('attachment')) return type === undefined ? rest : { ...rest, type };
  const others = types.filter((each) => each !== 'attachment');
  return { ...rest, anyOf: [ATTACHMENT, ...(others.length ? [{ type: others }] : [])] };
}
