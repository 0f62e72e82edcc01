/** The work of every row of the table: open a page of 50 items and read them. */

import type { Page } from 'playwright';

export default async function handler(params: { url: string }, page: Page) {
  await page.goto(params.url);
  return await page.evaluate("[...document.querySelectorAll('li')].map(item => item.textContent)");
}
