'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');

const { parametersSchema, UnreadableError } = require('../../runtime/node/parameters_schema.js');

const TEXT = { type: 'object', properties: { url: { type: 'string' } }, required: ['url'] };

/** A schema of a library that implements Standard JSON Schema, as zod does from 4.2 on. */
function standard(input) {
  return { '~standard': { version: 1, vendor: 'any', jsonSchema: { input } } };
}

test('a JSON Schema is told as it is, and precedes what else there is', () => {
  assert.equal(parametersSchema({ parametersSchema: TEXT, parameters: {} }, '/none'), TEXT);
});

test('a module may say nothing', () => {
  assert.equal(parametersSchema({ default: async () => {} }, '/none'), null);
  assert.equal(parametersSchema(undefined, '/none'), null);
});

test('a schema of a library says what a client has to send', () => {
  const parameters = standard((options) => (assert.deepEqual(options, { target: 'draft-2020-12' }), TEXT));
  assert.equal(parametersSchema({ parameters }, '/none'), TEXT);
});

test('a schema that contains itself leads to a definition', () => {
  const parameters = standard(() => ({
    $schema: 'x',
    type: 'object',
    properties: { sub: { $ref: '#' } },
    $defs: { a: {} },
  }));
  assert.deepEqual(parametersSchema({ parameters }, '/none'), {
    $ref: '#/$defs/Parameters',
    $defs: { a: {}, Parameters: { type: 'object', properties: { sub: { $ref: '#/$defs/Parameters' } } } },
  });
});

test('what cannot be read is told', () => {
  const broken = standard(() => {
    throw new Error('Date cannot be represented in JSON Schema');
  });
  assert.throws(
    () => parametersSchema({ parameters: broken }, '/none'),
    (error) =>
      error instanceof UnreadableError && error.message === '`parameters`: Date cannot be represented in JSON Schema',
  );
  assert.throws(() => parametersSchema({ parameters: { url: 'text' } }, '/none'), {
    message: /^`parameters` is no schema of zod 3 or 4/,
  });
});

describe('schemas of older zods are converted by packages of the tools', () => {
  let tools;
  before(() => {
    tools = fs.mkdtempSync(path.join(os.tmpdir(), 'tools-'));
    const packages = {
      // They say what they are given; what the real ones make of it is theirs.
      zod: 'exports.toJSONSchema = (schema, options) => ({ type: "object", made: [schema.of, options] });',
      'zod-to-json-schema':
        'exports.zodToJsonSchema = (schema, options) => ({ $schema: "draft 7", ...schema.made, options });',
    };
    for (const [name, code] of Object.entries(packages)) {
      fs.mkdirSync(path.join(tools, 'node_modules', name), { recursive: true });
      fs.writeFileSync(path.join(tools, 'node_modules', name, 'index.js'), code);
    }
  });
  after(() => fs.rmSync(tools, { recursive: true }));

  test('of zod 4 before 4.2', () => {
    const parameters = { _zod: {}, of: 'four', '~standard': { version: 1 } };
    assert.deepEqual(parametersSchema({ parameters }, tools), { type: 'object', made: ['four', { io: 'input' }] });
  });

  test('of zod 3, whose tuples get the words of 2020-12', () => {
    const pair = { type: 'array', items: [{ type: 'string' }, { type: 'number' }], minItems: 2 };
    const made = { properties: { pair, more: { ...pair, additionalItems: {} }, items: { type: 'array', items: {} } } };
    const { options, ...schema } = parametersSchema({ parameters: { _def: { typeName: 'ZodObject' }, made } }, tools);
    const prefixItems = pair.items;
    assert.deepEqual(schema, {
      properties: {
        pair: { type: 'array', prefixItems, minItems: 2 },
        more: { type: 'array', prefixItems, minItems: 2, items: {} },
        items: { type: 'array', items: {} },
      },
    });
    assert.equal(options.removeAdditionalStrategy, 'strict');
  });
});
