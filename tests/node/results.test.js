'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');

const { asMessage } = require('../../runtime/node/failures.js');
const { LIMIT, resultAsJson, toJson } = require('../../runtime/node/results.js');
const { real, table } = require('./same_as_python.js');

/** Return the message of what a value is refused with. */
function refusal(value) {
  try {
    toJson(value);
  } catch (error) {
    assert.equal(asMessage(error, '/project').kind, 'structural');
    return error.message;
  }
  assert.fail(`${JSON.stringify(value)} was not refused`);
}

describe('the same values are JSON as in Python', () => {
  for (const { value, text } of table.results) test(text, () => assert.equal(toJson(real(value)), text));
  for (const { value, begins } of table.refused) {
    test(begins, () => assert.ok(refusal(real(value)).startsWith(begins), refusal(real(value))));
  }
  for (const { value, size, allowed } of table.sizes) {
    test(`${size} bytes`, () => {
      if (allowed) assert.equal(toJson(real(value)).length, size);
      else
        assert.throws(
          () => toJson(real(value)),
          (error) => assert.deepEqual(asMessage(error, '/project'), table.tooBig) ?? true,
        );
    });
  }
});

describe('what JSON.stringify would lose is refused, and told by its path with what to return instead', () => {
  const text = { n: 1n, f: () => 1, s: Symbol('s') };
  const cases = [
    [{ id: text.n }, 'result.id: JSON has no BigInt; return Number(…) or String(…)'],
    [[text.f], 'result[0]: a function has no JSON form; leave it out'],
    [{ s: text.s }, 'result.s: a symbol has no JSON form; leave it out'],
    [{ title: Promise.resolve() }, 'result.title: a Promise has no JSON form; is an `await` missing?'],
    [(async function* () {})(), 'result: an object has no JSON form; is an `await` missing?'],
    [{ m: new Map() }, 'result.m: a Map has no JSON form; return Object.fromEntries(…)'],
    [{ 'a b': new Set() }, 'result["a b"]: a Set has no JSON form; return [...…]'],
    [new Map().values(), 'result: an Iterator has no JSON form; return [...…]'],
    [{ picture: Buffer.from('x') }, 'result.picture: a Buffer has no JSON form; return base64 text, or an array'],
    [new TypeError('x'), 'result: a TypeError has no JSON form; return its message'],
    [[/x/], 'result[0]: a RegExp has no JSON form; return String(…)'],
    [{ when: new Date(NaN) }, 'result.when: a Date has no JSON form, as it is invalid; return null'],
    [NaN, 'result: JSON has no NaN; return null'],
  ];
  for (const [value, told] of cases) test(told, () => assert.equal(refusal(value), told));
});

test('toJSON is honoured, and undefined and methods are left out', () => {
  const value = { when: new Date(0), gone: undefined, method() {}, items: [undefined, 1], price: { toJSON: () => ({ amount: 3 }) } };
  assert.equal(toJson(value), '{"when":"1970-01-01T00:00:00.000Z","items":[null,1],"price":{"amount":3}}');
  assert.equal(toJson(undefined), 'null');
  assert.equal(refusal({ a: { toJSON: () => ({ b: NaN }) } }), 'result.a.b: JSON has no NaN; return null');
});

test('a value that lies in two places is no cycle', () => {
  const price = { amount: 1 };
  assert.equal(toJson([price, price, { price }]), '[{"amount":1},{"amount":1},{"price":{"amount":1}}]');
});

test('what a toJSON or a getter throws is told', () => {
  const broken = {
    toJSON: () => {
      throw new Error('no luck');
    },
  };
  assert.equal(refusal([{ a: 1 }, broken]), 'result has no JSON form: no luck');
});

test('a page, which has a form that says nothing, is refused', () => {
  class Frame {
    _guid = 'frame@1';
    _connection = {};
    toJSON() {
      return { _guid: this._guid };
    }
  }
  assert.equal(refusal({ title: { _frame: new Frame() } }), 'result.title._frame: a Frame has no JSON form');
});

test('of a check it is told whether it is true, of a create nothing', () => {
  assert.equal(resultAsJson('check', 'yes', '/project'), 'true');
  assert.equal(resultAsJson('check', undefined, '/project'), 'false');
  assert.equal(resultAsJson('create', NaN, '/project'), 'null');
});

test('a result that is too big is left as a file of its own', () => {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'results-'));
  try {
    const large = 'x'.repeat(LIMIT);
    for (const name of ['result.json', 'result-2.json']) {
      assert.throws(() => resultAsJson('api', large, root), {
        message: new RegExp(` It is left as the file ${name}\\.$`),
      });
      assert.equal(fs.readFileSync(path.join(root, 'output', name), 'utf8'), `"${large}"`);
    }
  } finally {
    fs.rmSync(root, { recursive: true });
  }
});
