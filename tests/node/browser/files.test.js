'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { after, afterEach, before, beforeEach, describe, it, mock } = require('node:test');
const { bundled, launch, serve } = require('./lab.js');

// The package keeps files of the Run below the folder in which it is loaded.
const work = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'callboard-files-')));
process.chdir(work);
const { Attachment, downloadFile, saveFileToS3, uploadFileToS3 } = bundled();

const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const file = (type, body) => (_request, response) => response.writeHead(200, { 'content-type': type }).end(body);
const PAGES = {
  '/': '<title>Home</title><a id=file href=report.csv download>get it</a><b>nothing</b>',
  '/report.csv': file('application/octet-stream', 'a,b'),
  '/pixel.png': file('image/png', PIXEL),
  '/cut': (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': '10' }).write('x');
    setTimeout(() => response.destroy(), 100);
  },
};

/** The bucket whose server the environment names. The tests without a bucket take it away. */
const { AWS_BUCKET, AWS_REGION, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env;

let browser, site, page;
before(async () => {
  [browser, site] = await Promise.all([launch(), serve(PAGES)]);
});
after(async () => {
  await Promise.all([browser.close(), site.close()]);
  fs.rmSync(work, { recursive: true });
});
beforeEach(async () => {
  page = await (await browser.newContext()).newPage();
  await page.goto(site.url);
});
afterEach(() => page.context().close());

const contentOf = async (download) => fs.readFileSync(await download.path());

describe('downloadFile', () => {
  it('opens an address in a page of its own', async () => {
    const download = await downloadFile({ page, trigger: '/report.csv' });
    assert.deepEqual([download.suggestedFilename(), String(await contentOf(download))], ['report.csv', 'a,b']);
    assert.deepEqual([page.context().pages().length, await page.title()], [1, 'Home']);
  });

  it('downloads what the browser shows', async () => {
    const download = await downloadFile({ page, trigger: `${site.url}/pixel.png` });
    assert.equal(download.suggestedFilename(), 'pixel.png');
    assert.deepEqual(await contentOf(download), PIXEL);
  });

  it('clicks a locator, and calls a function', async () => {
    const clicked = await downloadFile({ page, trigger: page.locator('#file') });
    const called = await downloadFile({ page, trigger: (given) => given.locator('#file').click() });
    for (const download of [clicked, called]) assert.equal(String(await contentOf(download)), 'a,b');
  });

  it('says what went wrong', async () => {
    await assert.rejects(downloadFile({ page, trigger: '/gone' }), /\/gone cannot be downloaded: the site answers 404/);
    await assert.rejects(downloadFile({ page, trigger: '/cut' }), /download of .*\/cut has failed/);
    await assert.rejects(
      downloadFile({ page, trigger: 'http://127.0.0.1:9/' }),
      /ERR_UNSAFE_PORT|ERR_CONNECTION_REFUSED/,
    );
    const nothing = downloadFile({ page, trigger: page.locator('b'), timeoutInMs: 200 });
    await assert.rejects(nothing, { name: 'TimeoutError' });
    assert.equal(page.context().pages().length, 1);
  });
});

describe('without a bucket', () => {
  const lines = [];
  before(() => {
    delete process.env.AWS_BUCKET;
    mock.method(console, 'info', (line) => lines.push(line));
  });
  after(() => {
    process.env.AWS_BUCKET = AWS_BUCKET;
    mock.restoreAll();
  });

  it('a download becomes a file of the Run', async () => {
    const attachment = await saveFileToS3({ page, trigger: page.locator('#file') });
    assert.equal(fs.readFileSync(path.join(work, 'output', 'report.csv'), 'utf8'), 'a,b');
    const fields = { fileName: 'report.csv', key: 'report.csv', suggestedFileName: 'report.csv', fileType: 'document' };
    assert.deepEqual(JSON.parse(JSON.stringify(attachment)), fields);
    assert.equal(await attachment.getSignedUrl(), pathToFileURL(path.join(work, 'output', 'report.csv')).href);
    assert.throws(() => attachment.getS3Key(), /report\.csv is a file of the Run, in no bucket/);
    assert.match(lines.at(-1), /report\.csv is kept as a file of the Run/);
  });

  it('a name that is taken gets a number', async () => {
    const options = { file: Buffer.from('one'), fileNameOverride: 'a b/data.txt' };
    const kept = [
      await uploadFileToS3(options),
      await uploadFileToS3({ ...options, file: new Uint16Array([1]).buffer }),
    ];
    assert.deepEqual(
      kept.map((each) => each.key),
      ['a b/data.txt', 'a b/data-2.txt'],
    );
    globalThis[Symbol.for('callboard.runtime')] = { runInfo: { attempt_path: '/the-attempt' } };
    assert.equal(await kept[1].getSignedUrl(), '/the-attempt/files/a%20b%2Fdata-2.txt');
    delete globalThis[Symbol.for('callboard.runtime')];
    assert.equal(fs.readFileSync(path.join(work, 'output', 'a b', 'data.txt'), 'utf8'), 'one');
    assert.deepEqual([...fs.readFileSync(path.join(work, 'output', 'a b', 'data-2.txt'))], [1, 0]);
  });

  it('a name must not leave the folder', async () => {
    for (const fileNameOverride of ['../x.txt', '../output2/x.txt', '']) {
      const kept = uploadFileToS3({ file: Buffer.from('x'), fileNameOverride });
      await assert.rejects(kept, /is not a path below output/);
    }
    assert.deepEqual(fs.readdirSync(work), ['output']);
  });

  it('what is no file is refused', async () => {
    await assert.rejects(uploadFileToS3({ file: 'text' }), /takes a Download of Playwright, a Buffer/);
  });
});

describe('in the bucket of the environment', () => {
  it('a download is written and can be read by a signed address', async () => {
    const attachment = await saveFileToS3({ page, trigger: page.locator('#file') });
    assert.match(attachment.key, /^[0-9a-f-]{36}\/report\.csv$/);
    const { fileName, bucket, region, endpoint, suggestedFileName } = attachment;
    assert.deepEqual(
      { fileName, bucket, region, endpoint, suggestedFileName },
      {
        fileName: attachment.key,
        bucket: AWS_BUCKET,
        region: AWS_REGION,
        endpoint: AWS_ENDPOINT_URL,
        suggestedFileName: 'report.csv',
      },
    );
    const response = await fetch(await attachment.getSignedUrl());
    assert.deepEqual([response.status, await response.text()], [200, 'a,b']);
    assert.equal((await fetch(attachment.getS3Key())).ok, false);
    for (const secret of [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]) {
      assert.ok(!JSON.stringify(attachment).includes(secret));
    }
  });

  it('a result of toDict can be signed again', async () => {
    const kept = await uploadFileToS3({ file: Buffer.from('bytes'), fileNameOverride: 'reports/a b+ü.txt' });
    assert.equal(kept.suggestedFileName, 'a b+ü.txt');
    const again = Attachment.fromDict(JSON.parse(JSON.stringify(kept)));
    const response = await fetch(await again.getSignedUrl(60));
    assert.deepEqual([await response.text(), response.headers.get('content-type')], ['bytes', 'text/plain']);
  });

  it('what the bucket says is in the error', async () => {
    const options = { file: Buffer.from('x'), configs: { secretAccessKey: 'wrong' } };
    await assert.rejects(uploadFileToS3(options), /has not taken .*: 403/);
  });
});

it('configs name what they lack', async () => {
  delete process.env.AWS_REGION;
  const kept = uploadFileToS3({ file: Buffer.from('x'), configs: { bucket: 'mine', secretAccessKey: '' } });
  await assert.rejects(kept, /The bucket has no region, secretAccessKey\./);
  process.env.AWS_REGION = AWS_REGION;
});

it('a bucket of AWS has its own address', async () => {
  const fields = { fileName: 'a/b.txt', key: 'a/b.txt', suggestedFileName: 'b.txt', bucket: 'mine', region: 'eu-1' };
  assert.equal(new Attachment(fields).getS3Key(), 'https://mine.s3.eu-1.amazonaws.com/a/b.txt');
});
