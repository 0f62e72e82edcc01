// Tries to read, list, change and make files that are not its own, by every way there is to name them.

import fs from 'node:fs';
import path from 'node:path';

import { attempt, type Through } from '../ways';

const MADE = 'made-by-user-code';

/** The same place by other names. */
function* spellings(place: string): Generator<string> {
  yield place;
  for (const pid of ['self', '1', 'thread-self']) yield `/proc/${pid}/root${place}`;
  yield path.relative('.', place);
  for (const descriptor of fs.readdirSync('/proc/self/fd')) {
    yield `/proc/self/fd/${descriptor}${'/..'.repeat(20)}${place}`;
  }
  const link = `link-${Buffer.from(place).toString('hex').slice(-200)}`;
  fs.rmSync(link, { force: true });
  fs.symlinkSync(place, link);
  yield link;
}

function isFolder(place: string): boolean {
  try {
    return fs.statSync(place).isDirectory();
  } catch {
    return false;
  }
}

function read(place: string): unknown {
  if (!isFolder(place)) return `${place}: ${fs.readFileSync(place).subarray(0, 60)}`;
  const names = fs.readdirSync(place);
  return names.length ? names : null;
}

function make(place: string): string {
  fs.closeSync(fs.openSync(`${place}/${MADE}`, 'wx'));
  return `${place}/${MADE}`;
}

const ways = {
  append: (place: string) => fs.closeSync(fs.openSync(place, fs.constants.O_WRONLY | fs.constants.O_APPEND)) ?? place,
  take: (place: string) => fs.linkSync(place, `taken-${fs.readdirSync('.').length}`) ?? place,
  change: (place: string) => fs.utimesSync(place, new Date(), new Date()) ?? place,
};

export default async function handler(params: { read: string[]; write: string[] }) {
  const through: Through = {};
  for (const place of params.read) {
    for (const name of spellings(place)) await attempt(through, `read ${place} as ${name}`, () => read(name));
  }
  for (const place of params.write) {
    for (const name of [place, `/proc/self/root${place}`, `/proc/1/root${place}`]) {
      if (isFolder(name)) {
        await attempt(through, `make in ${place} as ${name}`, () => make(name));
        continue;
      }
      for (const [way, go] of Object.entries(ways)) {
        await attempt(through, `${way} ${place} as ${name}`, () => go(name));
      }
    }
  }
  return through;
}
