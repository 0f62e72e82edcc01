'use strict';
const assert = require('node:assert');
const { once } = require('node:events');
const net = require('node:net');
const test = require('node:test');

const { Channel } = require('../../runtime/node/channel.js');

/** A channel, and the socket at its other end. */
async function connected(t) {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = net.connect(server.address().port, '127.0.0.1');
  const [[far]] = await Promise.all([once(server, 'connection'), once(near, 'connect')]);
  let ended = false;
  const channel = new Channel(near, () => (ended = true));
  t.after(() => {
    far.destroy();
    near.destroy();
    server.close();
  });
  return { channel, far, hasEnded: () => ended };
}

function framed(message) {
  const body = Buffer.from(JSON.stringify(message));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

test('messages come whole, in whatever pieces they come', async (t) => {
  const { channel } = await connected(t);
  const got = [];
  channel.onmessage = (message) => got.push(message);
  const data = Buffer.concat([framed({ type: 'call', text: 'ä€𝄞' }), framed({ type: 'stop' })]);
  for (const byte of data) channel._take(Buffer.from([byte]));
  channel._take(data);
  assert.deepStrictEqual(got, [...Array(2)].flatMap(() => [{ type: 'call', text: 'ä€𝄞' }, { type: 'stop' }]));
});

test('an answer is that of its request, in whatever order answers come', async (t) => {
  const { channel } = await connected(t);
  const others = [];
  channel.onmessage = (message) => others.push(message);
  const [first, second] = [channel.ask('open', {}), channel.ask('request', { operation: 'x' })];
  for (const number of [2, 1, 3]) channel._take(framed({ type: 'answer', number, value: `of ${number}` }));
  assert.strictEqual((await first).value, 'of 1');
  assert.strictEqual((await second).value, 'of 2');
  assert.deepStrictEqual(others, [{ type: 'answer', number: 3, value: 'of 3' }], 'nobody has asked for it');
});

test('what is posted can be read as the supervisor reads it', async (t) => {
  const { channel, far } = await connected(t);
  channel.post('ready');
  channel.post('done', { result: '"ü"' });
  const expected = Buffer.concat([framed({ type: 'ready' }), framed({ type: 'done', result: '"ü"' })]);
  let got = Buffer.alloc(0);
  while (got.length < expected.length) {
    const [data] = await once(far, 'data');
    got = Buffer.concat([got, data]);
  }
  assert.deepStrictEqual(got, expected);
});

test('the end of the other side is told', async (t) => {
  const { channel, far, hasEnded } = await connected(t);
  const closed = once(channel._socket, 'close');
  far.destroy();
  await closed;
  assert.ok(hasEnded());
});
