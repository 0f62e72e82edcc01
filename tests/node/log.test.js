'use strict';
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');

const LOG = path.join(__dirname, '..', '..', 'runtime', 'node', 'log.js');

/** Return the lines of the log that code writes to its standard output, which is a pipe, as on a Machine. */
function logged(code) {
  const load = `const { captureConsole, say } = require(${JSON.stringify(LOG)});`;
  const script = `${load} captureConsole(say, '/scratch/project'); ${code}`;
  const { stdout, stderr, status } = spawnSync('sh', ['-c', '"$0" -e "$1" | cat', process.execPath, script]);
  assert.deepEqual([status, stderr.toString()], [0, '']);
  const [before, ...lines] = stdout.toString().split('\x1e');
  assert.equal(before, '');
  return lines.map((line) => {
    assert.ok(line.endsWith('\n'));
    return JSON.parse(line);
  });
}

test('what console prints has its level', () => {
  const lines = logged(`
    console.debug('a'); console.log('b', 1, { c: [2] }); console.info('c'); console.warn('%s and %d', 'd', 4);
    console.error(new Error('x').message); console.assert(true); console.assert(false, 'e'); console.dir({ a: 1 });
  `);
  assert.deepEqual(
    lines.map(({ level, message }) => [level, message]),
    [
      ['debug', 'a'],
      ['info', 'b 1 { c: [ 2 ] }'],
      ['info', 'c'],
      ['warning', 'd and 4'],
      ['error', 'x'],
      ['warning', 'Assertion failed: e'],
      ['info', '{ a: 1 }'],
    ],
  );
  assert.ok(lines.every(({ source }) => source === 'user'));
});

test('groups, counts and tables are as Node prints them', () => {
  const messages = logged(
    `console.group('g'); console.log('in'); console.groupEnd(); console.count(); console.table([{ a: 1 }]);`,
  ).map(({ message }) => message);
  assert.deepEqual(messages.slice(0, 3), ['g', '  in', 'default: 1']);
  assert.match(messages[3], /^┌[^]*│ 0 +│ 1 │[^]*┘$/);
});

test('a trace, and an error that is logged, tell no path of the host', () => {
  const [trace, error] = logged(`
    console.trace('here');
    const failed = new Error('no');
    failed.stack = 'Error: no\\n    at step (/scratch/project/api/list.ts:3:4)\\n    at run (${LOG}:1:1)';
    console.error('Failed:', failed);
  `);
  assert.deepEqual(trace, { level: 'debug', source: 'user', message: 'Trace: here' });
  assert.equal(error.message, 'Failed: Error: no\n    at step (api/list.ts:3:4)');
});

test('a line is one write of well-formed text, cut where it is too long', () => {
  const [marks, half, long] = logged(`
    console.log('\\x1e{}\\n\\x1e'); console.log('\\ud800 and 😀'); console.log('é'.repeat(70000));
  `);
  assert.equal(marks.message, '\x1e{}\n\x1e');
  assert.equal(half.message, '\\ud800 and 😀');
  assert.equal(long.message, 'é'.repeat(64 * 1024));
  assert.equal(long.cut, 140_000);
});
