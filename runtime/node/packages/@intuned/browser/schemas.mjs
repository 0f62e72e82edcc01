/** Checks data against a JSON schema. */

import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';

import { isPlain } from './values.mjs';

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
