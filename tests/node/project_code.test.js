'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const { requestInput } = require('../../runtime/node/packages/@callboard/runtime');
const { call, load, setUpContext } = require('../../runtime/node/project_code.js');
const { enter } = require('../../runtime/node/state.js');

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

test('a create may be a generator, which is given the answers of the questions that it yields', async (t) => {
  t.after(() => delete globalThis[Symbol.for('callboard.runtime')]);
  const ends = { first: { status: 'completed', values: { code: '1' } }, second: { status: 'declined', reason: 'No.' } };
  const { answers } = enter({ ask: async (_operation, { instructions }) => JSON.stringify(ends[instructions]) });
  let closed = 0;
  async function* create(yielded) {
    try {
      const code = yield requestInput('first');
      try {
        yield requestInput('second');
      } catch (error) {
        if (yielded.some) yield yielded.some;
        return [code, error.name, error.message];
      }
    } finally {
      closed += 1;
    }
  }
  const run = (given, exported = create, kind = 'create') => call(exported, kind, given, 'page', 'context', answers);
  assert.deepStrictEqual(await run({}), ['1', 'HandoffDeclined', 'No.']);
  const refused = { kind: 'structural', name: 'InvalidAPIError', message: /It may yield `requestInput\(…\)` or `handOver\(…\)` of @callboard\/runtime/ };
  await assert.rejects(run({ some: 'a question' }), refused);
  assert.strictEqual(closed, 2, 'it was not left in the midst of it');
});

test('no other function is a generator, which nobody would run', async () => {
  const refused = { kind: 'structural', name: 'InvalidAPIError' };
  await assert.rejects(call(function* () {}, 'create', {}), { ...refused, message: /write `export default async function\* create/ });
  await assert.rejects(call(async function* () {}, 'check', null), { ...refused, message: /write `export default async function check/ });
});

test('a hook returns nothing', async (t) => {
  const root = project(t, { 'hooks/setupContext': 'exports.default = async ({ apiName }) => (apiName === "api/a" ? { newPage() {} } : undefined)' });
  await setUpContext(root, { cdpUrl: '', apiName: 'api/b', apiParameters: {} });
  await assert.rejects(setUpContext(root, { cdpUrl: '', apiName: 'api/a', apiParameters: {} }), /has returned a context; it must return nothing/);
});
