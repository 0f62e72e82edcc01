'use strict';
/** The JSON Schema (2020-12) of an API's parameters, as its module says it (docs/contract.md, section 8.3). */

const { createRequire } = require('node:module');
const path = require('node:path');

/** The module says nothing that can be read, and why: the message is the end of a sentence. */
class UnreadableError extends Error {}

/**
 * Return what a module says of the parameters of its function; null if it says nothing.
 *
 * It exports a JSON Schema as `parametersSchema`, or as `parameters` a schema of zod, or of another library that
 * implements Standard JSON Schema. What those take before they change it is what a client has to send.
 * @param {any} exported What the module exports.
 * @param {string} tools The folder whose `node_modules` have `zod` and `zod-to-json-schema`, for schemas of older zods.
 * @returns {any}
 * @throws {UnreadableError} It cannot be read.
 */
function parametersSchema(exported, tools) {
  const { parametersSchema: plain, parameters: schema } = exported ?? {};
  if (plain !== undefined) return plain;
  if (schema === undefined) return null;
  let made;
  try {
    made = converted(schema, createRequire(path.join(tools, 'package.json')));
  } catch (error) {
    throw new UnreadableError(`\`parameters\`: ${error?.message ?? error}`);
  }
  if (made !== undefined) return withoutRootReference(made);
  throw new UnreadableError(
    '`parameters` is no schema of zod 3 or 4, or of a library that implements Standard JSON Schema. Export a JSON ' +
      'Schema as `parametersSchema`',
  );
}

/** Return the JSON Schema of a library's schema; undefined if it is none. */
function converted(schema, load) {
  const standard = schema?.['~standard']?.jsonSchema;
  if (standard !== undefined) return standard.input({ target: 'draft-2020-12' });
  if (schema?._zod !== undefined) return load('zod').toJSONSchema(schema, { io: 'input' }); // before zod 4.2
  if (typeof schema?._def?.typeName !== 'string') return undefined;
  // Of an object that is not strict, zod leaves out what it does not know, and refuses nothing.
  const options = { target: 'jsonSchema7', $refStrategy: 'none', removeAdditionalStrategy: 'strict' };
  const { $schema, ...made } = load('zod-to-json-schema').zodToJsonSchema(schema, options);
  return newer(made);
}

/** Return a schema of draft 7 in the words of 2020-12, which has another one for tuples. */
function newer(part) {
  if (Array.isArray(part)) return part.map(newer);
  if (typeof part !== 'object' || part === null) return part;
  const words = Object.fromEntries(Object.entries(part).map(([word, value]) => [word, newer(value)]));
  if (part.type !== 'array' || !Array.isArray(part.items)) return words;
  const { items: prefixItems, additionalItems, ...others } = words;
  return { ...others, prefixItems, ...(additionalItems === undefined ? {} : { items: additionalItems }) };
}

/** Return a schema whose references to the whole of it lead to a definition, as all others do. */
function withoutRootReference(schema) {
  const name = 'Parameters';
  let found = false;
  const renamed = JSON.parse(JSON.stringify(schema), (word, value) => {
    if (word !== '$ref' || value !== '#') return value;
    found = true;
    return `#/$defs/${name}`;
  });
  if (!found) return schema;
  const { $schema, $defs, ...whole } = renamed;
  return { $ref: `#/$defs/${name}`, $defs: { ...$defs, [name]: whole } };
}

module.exports = { UnreadableError, parametersSchema };
