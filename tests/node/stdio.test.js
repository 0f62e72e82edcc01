'use strict';
const assert = require('node:assert');
const { spawnSync } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');

const STDIO = path.join(__dirname, '..', '..', 'runtime', 'node', 'stdio.js');
/** More bytes than a pipe holds. */
const MUCH = 10_000_000;

test('what is printed stays whole where another program has set the pipe to non-blocking', () => {
  // Node's own streams set it, as they do in a Node that user code has started with its output.
  const script = `process.stdout; process.stderr;
    require(${JSON.stringify(STDIO)}).openOutput();
    for (const stream of [process.stdout, process.stderr]) stream.write('x'.repeat(${MUCH}));`;
  const command = '{ "$0" -e "$1" 2>&1 && echo well; } | cat';
  const { stdout } = spawnSync('sh', ['-c', command, process.execPath, script], { maxBuffer: 3 * MUCH });
  assert.ok(stdout.toString().endsWith('xwell\n'), stdout.toString().slice(-200));
  assert.equal(stdout.length, 2 * MUCH + 'well\n'.length);
});
