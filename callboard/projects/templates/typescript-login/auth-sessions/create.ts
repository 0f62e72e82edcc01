/** Sign in. What the browser holds when this is done is the login that every API begins with. */

import { NotRetryable } from '@callboard/runtime';
import type { Page } from 'playwright';

interface Params {
  url: string;
  user: string;
  password: string;
}

export default async function create({ url, user, password }: Params, page: Page) {
  await page.goto(`${url}/login`);
  await page.getByLabel('User').fill(user);
  const field = page.getByLabel('Password');
  await field.fill(password);
  await field.evaluate((element: HTMLElement) => {
    element.dataset.sent = 'yes';
  });
  await page.getByRole('button', { name: 'Sign in' }).click();
  // Write what your site shows to whoever is signed in.
  const signedIn = page.getByRole('heading', { name: 'Your account' });
  // A site that refuses says so, or shows its form again: the field of a new form is not marked.
  const alert = page.getByRole('alert').filter({ visible: true });
  const refused = alert.or(page.locator('input[type=password]:not([data-sent])'));
  await signedIn.or(refused).first().waitFor();
  if (!(await signedIn.isVisible())) {
    // A wrong password is sent once: to send it again may lock the account.
    const said = (await alert.count()) ? await alert.first().innerText() : 'it shows its form again';
    throw new NotRetryable(`The site refuses the login of ${user}: ${said}`);
  }
}
