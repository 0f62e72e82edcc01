'use strict';
const assert = require('node:assert');
const { mock, test } = require('node:test');

/** The keys of RFC 6238, appendix B. */
const SECRETS = {
  sha1: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ',
  sha256: 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA',
  sha512:
    'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNA',
};

/** `totp` of a process that has given no code yet. */
function fresh() {
  const file = require.resolve('../../runtime/node/packages/@callboard/runtime/authenticator.js');
  delete require.cache[file];
  return require(file).totp;
}

function at(t, seconds) {
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: seconds * 1_000 });
  t.after(() => mock.timers.reset());
}

for (const [seconds, algorithm, code] of [
  [59, 'sha1', '94287082'],
  [1111111109, 'sha256', '68084774'],
  [1234567890, 'sha512', '93441116'],
  [20000000000, 'sha1', '65353130'],
]) {
  test(`${algorithm} at ${seconds} is that of the RFC`, async (t) => {
    at(t, Math.floor(seconds / 30) * 30);
    const address = `otpauth://totp/Shop:ada?secret=${SECRETS[algorithm]}&algorithm=${algorithm.toUpperCase()}&digits=8`;
    assert.equal(await fresh()(address), code);
  });
}

test('a secret is taken as a site shows it', async (t) => {
  at(t, 30);
  assert.equal(await fresh()('gezd gnbv-gy3t qojq gezd gnbv gy3t qojq===='), '287082');
});

test('no code is given twice, nor one that is good for less than three seconds', async (t) => {
  at(t, 58);
  const totp = fresh();
  const given = [];
  for (const [begin, wait, end] of [[58, 2, 60], [60, 30, 90]]) {
    assert.equal(Date.now(), begin * 1_000);
    const asking = totp(SECRETS.sha1).then((code) => given.push(code));
    await new Promise(setImmediate);
    mock.timers.tick(wait * 1_000 - 1);
    await new Promise(setImmediate);
    assert.equal(given.length, end === 60 ? 0 : 1);
    mock.timers.tick(1);
    await asking;
  }
  assert.deepEqual(given, ['359152', '969429']);
});

const REFUSED = [
  ...[undefined, '', '1', 'A', 'ABC', 'otpauth://hotp/x?secret=GEZDGNBV', 'otpauth://totp/x?digits=6'],
  ...['otpauth://totp/x?secret=GEZDGNBV&period=5', 'otpauth://totp/x?secret=GEZDGNBV&digits=9', 'GEZD GNB1'],
];
for (const secret of REFUSED) {
  test(`${secret} is no secret, and the message does not show it`, async () => {
    await assert.rejects(fresh()(secret), { name: 'TypeError', message: /^totp takes the secret of an (?!.*GEZD)/ });
  });
}
