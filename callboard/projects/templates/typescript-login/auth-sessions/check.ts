/** Tell whether the login is still good. This is called before every Attempt, so it opens one page only. */

import { getAuthSessionParameters } from '@intuned/runtime';
import type { Page } from 'playwright';

export default async function check(page: Page) {
  const login = await getAuthSessionParameters();
  await page.goto(`${login.url}/account`);
  return !page.url().endsWith('/login');
}
