'use strict';

const assert = require('node:assert/strict');
const { after, afterEach, before, beforeEach, describe, it, mock } = require('node:test');
const { bundled, launch, serve } = require('./lab.js');

const { goToUrl, resolveUrl, waitForDomSettled, waitForNetworkSettled, withNetworkSettledWait } = bundled();

let browser, site, page, answerSlow, broken;
const PAGES = {
  '/': "<title>Home</title><a id=link href='../next?q=a b'>next</a><h1>no link</h1>",
  '/based': "<base href='https://other.test/shop/'><a href='item'>item</a>",
  '/late':
    "<div id=result></div><script>fetch('/slow').then(async r => { result.textContent = await r.text() })</script>",
  '/slow': (_request, response) => {
    answerSlow = () => response.end('loaded');
    setTimeout(answerSlow, 300);
  },
  '/never': () => {},
  '/broken': (request, response) => (broken-- > 0 ? request.socket.destroy() : response.end('mended')),
  '/file': (_request, response) => response.writeHead(200, { 'content-type': 'application/octet-stream' }).end('x'),
  '/busy': '<p id=clock></p><script>setInterval(() => { clock.textContent = performance.now() }, 50)</script>',
  '/stream': "<script>new EventSource('/events')</script>",
  '/events': (_request, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).write('\n'),
};

before(async () => {
  [browser, site] = await Promise.all([launch(), serve(PAGES)]);
});
after(() => Promise.all([browser.close(), site.close()]));
beforeEach(async () => {
  page = await browser.newPage();
  site.requests.length = 0;
});
afterEach(() => Promise.all([page.context().close(), mock.restoreAll()]));

/** Collect what the code logs at one level. */
const logged = (level) => {
  const lines = [];
  mock.method(console, level, (line) => lines.push(line));
  return lines;
};

describe('goToUrl', () => {
  it('returns when what the page has fetched is there', async () => {
    assert.equal(await goToUrl({ page, url: `${site.url}/late` }), undefined);
    assert.equal(await page.textContent('#result'), 'loaded');
  });

  it('tries again after a failure', async () => {
    broken = 1;
    await goToUrl({ page, url: `${site.url}/broken`, retries: 2 });
    assert.equal(await page.textContent('body'), 'mended');
  });

  it('logs the last failure and goes on', async () => {
    const errors = logged('error');
    await goToUrl({ page, url: `${site.url}/never`, timeoutInMs: 100, retries: 1 });
    assert.match(errors.join(), /never could not be opened \(try 1\); the code goes on\..*Timeout 100ms exceeded/);
  });

  it('throws the last failure if it is asked to', async () => {
    const opened = goToUrl({ page, url: `${site.url}/never`, timeoutInMs: 100, retries: 1, throwOnTimeout: true });
    await assert.rejects(opened, { name: 'TimeoutError' });
  });

  it('throws at once when the page is closed', async () => {
    const opened = goToUrl({ page, url: `${site.url}/never` });
    setTimeout(() => page.close(), 100);
    await assert.rejects(opened, /closed/);
  });

  it('does not try a file again, and names downloadFile', async () => {
    const errors = logged('error');
    await goToUrl({ page, url: `${site.url}/file` });
    assert.match(errors.join(), /use downloadFile\(\)/);
    assert.deepEqual(site.requests, ['GET /file']);
  });

  it('warns that no model looks at the page', async () => {
    const warnings = logged('warn');
    await goToUrl({ page, url: site.url, waitForLoadingStateUsingAi: true });
    assert.match(warnings.join(), /waitForLoadingStateUsingAi needs a model/);
    assert.equal(await page.title(), 'Home');
  });

  it('does not wait for a stream of events', async () => {
    const warnings = logged('warn');
    await goToUrl({ page, url: `${site.url}/stream`, timeoutInMs: 2_000 });
    assert.deepEqual(warnings, []);
  });

  it('refuses a missing address', async () => {
    await assert.rejects(goToUrl({ page, url: null }), /needs a url, and has got null/);
  });
});

describe('withNetworkSettledWait', () => {
  it('waits for requests of the callback, and returns what it returned', async () => {
    await page.goto(site.url);
    const result = await withNetworkSettledWait(
      async (given) => {
        await given.evaluate(() => void fetch('/slow').then(() => (document.title = 'fetched')));
        return 'asked';
      },
      { page },
    );
    assert.equal(result, 'asked');
    assert.equal(await page.title(), 'fetched');
  });

  it('leaves as many requests alone as it is told', async () => {
    await page.goto(site.url);
    const warnings = logged('warn');
    const ask = (given) => given.evaluate(() => void fetch('/never'));
    await withNetworkSettledWait(ask, { page, maxInflightRequests: 1, timeoutInMs: 2_000 });
    assert.deepEqual(warnings, []);
  });

  it('warns when the time is up', async () => {
    await page.goto(site.url);
    const warnings = logged('warn');
    await withNetworkSettledWait((given) => given.evaluate(() => void fetch('/never')), { page, timeoutInMs: 100 });
    assert.match(warnings.join(), /has not settled within 100 ms/);
  });

  it('throws what the callback throws', async () => {
    const failing = withNetworkSettledWait(() => Promise.reject(new Error('mine')), { page });
    await assert.rejects(failing, /mine/);
    assert.equal(page.listenerCount('request'), 0);
  });

  it('ends when the page is closed', async () => {
    await page.goto(site.url);
    await withNetworkSettledWait((given) => given.evaluate(() => void fetch('/never')).then(() => given.close()), {
      page,
    });
  });
});

it('waitForNetworkSettled waits for requests that begin', async () => {
  await page.goto(site.url);
  await page.evaluate(() => void setTimeout(() => fetch('/slow').then(() => (document.title = 'fetched')), 100));
  await waitForNetworkSettled({ page });
  assert.equal(await page.title(), 'fetched');
});

describe('waitForDomSettled', () => {
  it('waits for the last change', async () => {
    await page.goto(site.url);
    await page.evaluate(() => {
      const timer = setInterval(() => (document.title.length < 8 ? (document.title += '!') : clearInterval(timer)), 50);
    });
    assert.equal(await waitForDomSettled({ source: page, settleDurationMs: 200 }), true);
    assert.equal(await page.title(), 'Home!!!!');
  });

  it('returns false, and warns, when the time is up', async () => {
    await page.goto(`${site.url}/busy`);
    const warnings = logged('warn');
    assert.equal(await waitForDomSettled({ source: page, timeoutInMs: 300 }), false);
    assert.match(warnings.join(), /busy has not settled within 300 ms/);
  });

  it('looks at the element of a locator alone', async () => {
    await page.goto(`${site.url}/busy`);
    await page.evaluate(() => document.body.append(document.createElement('aside')));
    assert.equal(await waitForDomSettled({ source: page.locator('aside'), settleDurationMs: 200 }), true);
  });

  it('begins anew in the next document', async () => {
    await page.goto(`${site.url}/busy`);
    const settled = waitForDomSettled({ source: page, settleDurationMs: 200 });
    await page.goto(site.url);
    assert.equal(await settled, true);
  });

  it('throws if the element does not come', async () => {
    await page.goto(site.url);
    const settled = waitForDomSettled({ source: page.locator('article'), timeoutInMs: 100 });
    await assert.rejects(settled, { name: 'TimeoutError' });
  });
});

describe('resolveUrl', () => {
  it('resolves against a base', async () => {
    assert.equal(
      await resolveUrl({ url: '/a b?q=ä', baseUrl: 'https://shop.test/x/y' }),
      'https://shop.test/a%20b?q=%C3%A4',
    );
    assert.equal(
      await resolveUrl({ url: 'https://other.test/z', baseUrl: 'https://shop.test' }),
      'https://other.test/z',
    );
  });

  it('resolves against the page', async () => {
    await page.goto(site.url);
    assert.equal(await resolveUrl({ url: 'lists', page }), `${site.url}/lists`);
  });

  it('resolves the link of an element as the browser does', async () => {
    await page.goto(site.url);
    assert.equal(await resolveUrl({ url: page.locator('#link') }), `${site.url}/next?q=a%20b`);
    await page.goto(`${site.url}/based`);
    assert.equal(await resolveUrl({ url: page.locator('a') }), 'https://other.test/shop/item');
  });

  it('says what is missing or wrong', async () => {
    await page.goto(site.url);
    await assert.rejects(resolveUrl({ url: 'a' }), /needs baseUrl or page/);
    await assert.rejects(resolveUrl({ url: 'a', baseUrl: 'nowhere' }), /"a" cannot be resolved against "nowhere"/);
    await assert.rejects(resolveUrl({ url: page.locator('h1') }), /<h1> has no href/);
  });
});
