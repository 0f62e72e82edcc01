// Tries to connect to sockets on this host that are not its own: by path, by abstract name, by port.

import net from 'node:net';

import { attempt, type Through } from '../ways';

type Params = { paths?: string[]; abstract?: string[]; ports?: [string, number][] };

function connect(to: net.NetConnectOpts): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ ...to, timeout: 3000 });
    const end = (got: string | null) => {
      socket.destroy();
      resolve(got);
    };
    socket.on('connect', () => end('connected')).on('timeout', () => end(null)).on('error', reject);
  });
}

export default async function handler({ paths = [], abstract = [], ports = [] }: Params) {
  const through: Through = {};
  for (const path of paths) {
    await attempt(through, `path ${path}`, () => connect({ path }));
    await attempt(through, `path ${path} by another root`, () => connect({ path: `/proc/1/root${path}` }));
  }
  for (const name of abstract) await attempt(through, `abstract ${name}`, () => connect({ path: `\0${name}` }));
  for (const [host, port] of ports) await attempt(through, `${host} port ${port}`, () => connect({ host, port }));
  return through;
}
