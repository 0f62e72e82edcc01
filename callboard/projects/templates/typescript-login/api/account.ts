/** Read what only a member sees. The browser is signed in when this begins. */

import type { Page } from 'playwright';

interface Params {
  url: string;
}

export const parametersSchema = {
  type: 'object',
  properties: { url: { type: 'string', description: "The site's address, without a slash at its end" } },
  required: ['url'],
};

export default async function handler({ url }: Params, page: Page) {
  await page.goto(`${url}/account`);
  return { name: await page.getByLabel('Name').innerText() };
}
