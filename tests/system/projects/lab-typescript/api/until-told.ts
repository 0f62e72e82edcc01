/** Waits until a file appears, and says that it began by making another: the test holds the reins. */

import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

export default async function handler(params: { began: string; go: string; value?: unknown }) {
  writeFileSync(params.began, '');
  while (!existsSync(params.go)) await setTimeout(20);
  return params.value ?? null;
}
