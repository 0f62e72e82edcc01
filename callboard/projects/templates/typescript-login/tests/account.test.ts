import { runApi } from '@callboard/runtime/test';
import assert from 'node:assert/strict';
import { test } from 'node:test';

const SITE = 'https://site.example';

test('reads the name of the account', async () => {
  const run = await runApi('account', { url: SITE }, {
    prepare: async (_page, context) => {
      await context.route(`${SITE}/**`, async (route) => {
        const signedIn = (await route.request().allHeaders()).cookie?.includes('sid=1');
        const body = signedIn ? '<p aria-label="Name">Ada</p>' : '<h1>Sign in</h1>';
        await route.fulfill({ body, contentType: 'text/html' });
      });
      await context.addCookies([{ name: 'sid', value: '1', url: SITE }]);
    },
  });
  assert.deepEqual(run.result, { name: 'Ada' });
});
