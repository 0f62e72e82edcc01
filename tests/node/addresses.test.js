'use strict';
const assert = require('node:assert');
const test = require('node:test');

const { refusal } = require('../../runtime/node/addresses.js');

test('what leads into the machine itself is refused, by whatever spelling', () => {
  for (const url of ['file:///etc/passwd', ' \tFiLe:///x', 'fi\nle:///x', 'view-source:file:///x', 'chrome://version', 'javascript:1']) {
    assert.match(refusal(url) ?? '', / was refused: only http:, https:, data:, blob: and about: addresses/, url);
  }
});

test('what leads to sites is not', () => {
  for (const url of ['http://a.test/', 'HTTPS://a', 'data:,x', 'blob:null/1', 'about:blank', 'a.test/path', '/path', 'localhost:80', 7]) {
    assert.strictEqual(refusal(url), undefined, String(url));
  }
});

test('a relative address is what it is relative to', () => {
  assert.ok(refusal('passwd', 'file:///etc/'));
  assert.strictEqual(refusal('passwd', 'http://a.test/'), undefined);
  assert.strictEqual(refusal('http://a.test/', 'file:///etc/'), undefined);
});

test('what may be secret in an address is not told', () => {
  const said = refusal('chrome://me:pass@host/path?token=t1#part');
  assert.ok(said.startsWith('chrome://***@host/path was refused'), said);
});
