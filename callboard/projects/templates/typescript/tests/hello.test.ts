import { runApi } from '@callboard/runtime/test';
import assert from 'node:assert/strict';
import { test } from 'node:test';

test('greets by name', async () => {
  const run = await runApi('hello', { name: 'Ada' });
  assert.deepEqual(run.result, { greeting: 'Hello, Ada!' });
});
