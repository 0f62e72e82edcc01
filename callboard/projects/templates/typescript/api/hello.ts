/** Greet somebody on a page, and read the greeting from it. */

import type { Page } from 'playwright';

interface Params {
  name?: string;
}

export const parametersSchema = {
  type: 'object',
  properties: { name: { type: 'string', description: 'Whom to greet; by default the world' } },
};

export default async function handler(params: Params, page: Page) {
  // Where a real one begins: await page.goto('https://…')
  await page.setContent('<h1></h1>');
  await page.locator('h1').evaluate((heading, name) => {
    heading.textContent = `Hello, ${name}!`;
  }, params.name ?? 'world');
  return { greeting: await page.getByRole('heading').innerText() };
}
