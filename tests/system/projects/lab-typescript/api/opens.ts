/** Leaves a second window open and a downloaded file behind. */

import { readFileSync } from 'node:fs';
import type { Page } from 'playwright';

const PAGE = `
<title>first</title>
<a id="window" target="_blank" href="about:blank">another window</a>
<a id="file" download="list.txt" href="data:text/plain,some%20text">a file</a>
`;

export default async function handler(params: unknown, page: Page) {
  await page.setContent(PAGE);
  const [second] = await Promise.all([page.waitForEvent('popup'), page.click('#window')]);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#file')]);
  const text = readFileSync(await download.path(), 'utf8');
  return { windows: page.context().pages().length, url: second.url(), text };
}
