import { setTimeout } from 'node:timers/promises';

export default async function handler(params: { seconds: number }) {
  await setTimeout(params.seconds * 1000);
  return 'waited';
}
