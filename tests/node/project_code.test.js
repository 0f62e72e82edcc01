'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const { call, load, setUpContext } = require('../../runtime/node/project_code.js');

function project(t, files) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'project-'));
  t.after(() => fs.rmSync(root, { recursive: true }));
  for (const [name, source] of Object.entries(files)) {
    const file = path.join(root, '.callboard', `${name}.cjs`);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, source);
  }
  return root;
}

test('the default export is called, of a module or of plain CommonJS', (t) => {
  const root = project(t, { 'api/a': 'exports.default = () => 1', 'api/b': 'module.exports = () => 2' });
  assert.deepStrictEqual([load('api/a', 'api', root)(), load('api/b', 'api', root)()], [1, 2]);
});

test('one that is missing or no function is structural', (t) => {
  const root = project(t, { 'api/a': 'exports.default = 1', 'api/b': '' });
  for (const [name, says] of [['a', 'handler(params'], ['b', 'handler(params'], ['c', 'is not in the project']]) {
    assert.throws(() => load(`api/${name}`, 'api', root), (error) => error.kind === 'structural' && error.message.includes(says));
  }
});

test('each kind of function is given what it takes', async () => {
  const given = (...values) => values;
  assert.deepStrictEqual(await call(given, 'api', { n: 1 }, 'page', 'context'), [{ n: 1 }, 'page', 'context']);
  assert.deepStrictEqual(await call(given, 'api', null, 'page', 'context'), [{}, 'page', 'context']);
  assert.deepStrictEqual(await call(given, 'check', null, 'page', 'context'), ['page', 'context']);
});

test('a create may be a generator that runs to its end', async () => {
  let closed = false;
  async function* create(params) {
    try {
      if (params.asks) yield 'a question';
      return 'done';
    } finally {
      closed = true;
    }
  }
  assert.strictEqual(await call(create, 'create', {}, 'page', 'context'), 'done');
  closed = false;
  await assert.rejects(call(create, 'create', { asks: true }, 'page', 'context'), { kind: 'structural', name: 'InvalidAPIError' });
  assert.ok(closed, 'it was not left in the midst of it');
});

test('a hook returns nothing', async (t) => {
  const root = project(t, { 'hooks/setupContext': 'exports.default = async ({ apiName }) => (apiName === "api/a" ? { newPage() {} } : undefined)' });
  await setUpContext(root, { cdpUrl: '', apiName: 'api/b', apiParameters: {} });
  await assert.rejects(setUpContext(root, { cdpUrl: '', apiName: 'api/a', apiParameters: {} }), /has returned a context; it must return nothing/);
});
