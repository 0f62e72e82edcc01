'use strict';

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { after, afterEach, before, beforeEach, describe, it } = require('node:test');
const { PACKAGE, bundled, launch, serve } = require('./lab.js');

const ours = bundled();
const { clickUntilExhausted, extractMarkdown, filterEmptyValues, processDate, sanitizeHtml, scrollToLoadContent } =
  ours;
const { validateDataUsingSchema, ValidationError } = ours;

let browser, site, page;
const PAGES = {
  '/more': `<ul></ul><button onclick="fetch('/item').then(async (r) => {
    const list = document.querySelector('ul');
    list.insertAdjacentHTML('beforeend', await r.text());
    if (list.children.length === 3) this.disabled = true;
  })">more</button>`,
  '/item': '<li>item</li>',
  '/idle': '<ul></ul><button>more</button>',
  '/scroll': `<div style="height: 3000px"></div><script>
    let loads = 0;
    addEventListener('scroll', async () => {
      if (scrollY + innerHeight < document.body.scrollHeight - 50 || loads === 2) return;
      loads += 1;
      await fetch('/item');
      document.body.insertAdjacentHTML('beforeend', '<p style="height: 1000px">more</p>');
    });
  </script>`,
  '/inner': `<main style="height: 200px; overflow: auto"><p style="height: 1000px"></p></main><script>
    const main = document.querySelector('main');
    main.addEventListener('scroll', () => {
      if (main.children.length < 3) main.insertAdjacentHTML('beforeend', '<p style="height: 1000px">more</p>');
    });
  </script>`,
  '/text': `<title>Shop</title><style>b { color: red }</style><script>1</script><h1>All <b>products</b></h1>
    <p>See <a href="/more">more</a>.</p><ul><li>one<li>two</ul>
    <table><tr><th>size<th>price<tr><td>S<td>1</table><pre><code>a
  b</code></pre>`,
};

before(async () => {
  [browser, site] = await Promise.all([launch(), serve(PAGES)]);
});
after(() => Promise.all([browser.close(), site.close()]));
beforeEach(async () => {
  page = await browser.newPage();
});
afterEach(() => page.context().close());

describe('clickUntilExhausted', () => {
  const clicks = async (where, options) => {
    await page.goto(`${site.url}${where}`);
    let count = 0;
    await clickUntilExhausted({
      page,
      buttonLocator: page.locator('button'),
      heartbeat: async () => (count += 1),
      clickDelay: 5,
      ...options,
    });
    return count;
  };

  it('ends when the button is disabled', async () => {
    assert.equal(await clicks('/more'), 3);
    assert.equal(await page.locator('li').count(), 3);
  });

  it('ends when the container has not grown', async () => {
    assert.equal(await clicks('/idle', { containerLocator: page.locator('ul') }), 1);
    assert.equal(await clicks('/more', { containerLocator: page.locator('ul'), noChangeThreshold: 1 }), 1);
  });

  it('ends after as many clicks as it is told, and at once without a button', async () => {
    assert.equal(await clicks('/idle', { maxClicks: 2 }), 2);
    assert.equal(await clicks('/text'), 0);
  });
});

describe('scrollToLoadContent', () => {
  it('scrolls a page until it no longer grows', async () => {
    await page.goto(`${site.url}/scroll`);
    let count = 0;
    await scrollToLoadContent({ source: page, onScrollProgress: async () => (count += 1) });
    assert.deepEqual([await page.getByText('more').count(), count], [2, 3]);
  });

  it('scrolls the element of a locator, no more often than it is told', async () => {
    await page.goto(`${site.url}/inner`);
    await scrollToLoadContent({ source: page.locator('main'), maxScrolls: 1 });
    assert.equal(await page.getByText('more').count(), 1);
  });
});

describe('extractMarkdown', () => {
  it('makes markdown of a page', async () => {
    await page.goto(`${site.url}/text`);
    const markdown = await extractMarkdown({ source: page });
    const [title, text, list, table, code] = markdown.split('\n\n');
    assert.deepEqual([title, text], ['# All **products**', 'See [more](/more).']);
    assert.match(list, /^-\s+one\n-\s+two$/);
    assert.match(table, /^\| size \| price \|\n\| -+ \| -+ \|\n\| S +\| 1 +\|$/);
    assert.equal(code, '```\na\n  b\n```');
  });

  it('makes markdown of an element with itself', async () => {
    await page.goto(`${site.url}/text`);
    assert.equal(await extractMarkdown({ source: page.locator('h1') }), '# All **products**');
  });
});

describe('sanitizeHtml', () => {
  it('removes what nobody reads', () => {
    const html = `<div><script>1</script><style>b {}</style><svg><g/></svg><!-- c --><p> <span></span> </p><br>
      <p title="t">a   b</p> <i>ü &amp; c</i><img src="a"></div>`;
    assert.equal(sanitizeHtml({ html }), '<div> <p title="t">a b</p> <i>ü &amp; c</i><img src="a"></div>');
  });

  it('leaves what it is told', () => {
    const kept = { removeScripts: false, removeStyles: false, removeSvgs: false, removeComments: false };
    const html = '<div>\n<script>1</script><style>b {}</style><svg><g/></svg><!-- c --><p></p></div>';
    assert.equal(sanitizeHtml({ html, ...kept, removeEmptyTags: false, minifyWhitespace: false }), html);
    assert.equal(sanitizeHtml({ html: '<p></p><b></b>', preserveEmptyTags: ['p'] }), '<p></p>');
  });

  it('removes long attributes, except those that it is told', () => {
    const html = '<p title="12345" class="12345" id="1234">x</p>';
    assert.equal(sanitizeHtml({ html, maxAttributeLength: 4 }), '<p class="12345" id="1234">x</p>');
    const options = { html, maxAttributeLength: 4, preserveAttributes: ['title'] };
    assert.equal(sanitizeHtml(options), '<p title="12345" id="1234">x</p>');
    assert.equal(sanitizeHtml({ html, maxAttributeLength: 4, removeLongAttributes: false }), html);
  });

  it('takes parts of tables, whole documents, and plain text', () => {
    for (const html of ['<tr><td>1</td></tr>', '<!DOCTYPE html><html><body><p>x</p></body></html>', 'plain']) {
      assert.equal(sanitizeHtml({ html }), html);
    }
  });
});

it('filterEmptyValues leaves out what is empty, or becomes so', () => {
  const date = new Date(0);
  const data = { a: '  ', b: 0, c: false, d: [], e: {}, f: [{}], g: [[null]], h: undefined, date, s: ' x ' };
  assert.deepEqual(filterEmptyValues({ data }), { b: 0, c: false, date, s: ' x ' });
  assert.deepEqual(filterEmptyValues({ data: [1, '', null, [2, '']] }), [1, [2]]);
  assert.deepEqual(filterEmptyValues({ data: { users: [{ name: '' }, { name: 'Jo' }] } }), { users: [{ name: 'Jo' }] });
  assert.deepEqual([filterEmptyValues({ data: [null] }), filterEmptyValues({ data: '' })], [[], '']);
});

it('processDate gives the day at midnight in UTC', () => {
  const days = {
    '22/11/2024': '2024-11-22',
    '8/16/2019': '2019-08-16',
    '01/02/2024': '2024-01-02',
    '12/09/2024 9:00 AM': '2024-12-09',
    '22/11/2024 21:19:05': '2024-11-22',
    '12/19/2024 - 2:00 PM': '2024-12-19',
    '10/23/2024 12:06 PM CST': '2024-10-23',
    '01/17/2025 3:00:00 PM CT': '2025-01-17',
    '5 Dec 2024 8:00 AM PST': '2024-12-05',
    'November 14, 2024': '2024-11-14',
    'January 31, 2025, 5:00 pm': '2025-01-31',
    '2024-11-05T23:30:00-08:00': '2024-11-05',
  };
  for (const [date, day] of Object.entries(days)) {
    assert.equal(processDate({ date })?.toISOString(), `${day}T00:00:00.000Z`, date);
  }
  for (const date of ['13/13/2024', '31/02/2024', 'yesterday', '12:30', '']) {
    assert.equal(processDate({ date }), null, date);
  }
});

describe('validateDataUsingSchema', () => {
  const attachment = { fileName: 'a.pdf', key: 'a.pdf', suggestedFileName: 'A.pdf', endpoint: null };

  it('takes what is right, with attachments', () => {
    const schema = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'object',
      required: ['file', 'name'],
      properties: { file: { type: 'attachment' }, more: { type: ['attachment', 'null'] }, name: { type: 'string' } },
    };
    assert.equal(validateDataUsingSchema({ data: { file: attachment, more: null, name: 'x' }, schema }), undefined);
    const file = new ours.Attachment(attachment);
    validateDataUsingSchema({ data: { file, more: attachment, name: 'x' }, schema });
  });

  it('names each place that is wrong', () => {
    const schema = {
      type: 'array',
      items: { properties: { file: { type: 'attachment' }, price: { type: 'number' }, at: { format: 'date' } } },
    };
    const data = [{ price: 'x', at: 'soon' }, { file: {} }];
    assert.throws(
      () => validateDataUsingSchema({ data, schema }),
      (error) => {
        assert.ok(error instanceof ValidationError);
        assert.equal(error.data, data);
        for (const line of [/\/0\/price: must be number/, /\/0\/at: must match/, /\/1\/file: .*'key'/]) {
          assert.match(error.message, line);
        }
        return true;
      },
    );
  });
});

it('each name has a type', () => {
  for (const entry of ['index', 'ai']) {
    const types = readFileSync(path.join(PACKAGE, `${entry}.d.ts`), 'utf8');
    const described = [...types.matchAll(/^export (?:function|class) (\w+)/gm)].map(([, name]) => name);
    const code = readFileSync(path.join(PACKAGE, `${entry}.mjs`), 'utf8');
    const exported = [...code.matchAll(/^export (?:async function (\w+)|\{ (.+) \})/gm)].flatMap(([, name, names]) =>
      name ? [name] : names.split(', '),
    );
    assert.deepEqual([...new Set(described)].sort(), exported.sort());
  }
});
