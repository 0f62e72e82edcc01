'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { after, before, describe, test } = require('node:test');

const {
  asMessage,
  framesOf,
  shortened,
  shown,
  StructuralError,
  UserCodeError,
  withAddition,
} = require('../../runtime/node/failures.js');
const { NotRetryable, RetryLater } = require('../../runtime/node/packages/@callboard/runtime');
const { RunError } = require('../../runtime/node/packages/@intuned/runtime');

const ROOT = '/scratch/project';

/** An error with this stack below its message. */
function thrown(error, ...frames) {
  error.stack = [`${error.name}: ${error.message}`, ...frames.map((frame) => `    at ${frame}`)].join('\n');
  return error;
}

function told(error) {
  return asMessage(error, ROOT);
}

describe('the class of an error', () => {
  class OutOfStock extends Error {}
  class PlaywrightError extends Error {}
  // As the classes are called in Playwright's bundle.
  class TargetClosedError2 extends PlaywrightError {}
  class TimeoutError2 extends PlaywrightError {
    name = 'TimeoutError';
  }
  const cases = [
    [new Error('x'), 'Error'],
    [new TypeError('x'), 'TypeError'],
    [new OutOfStock('x'), 'OutOfStock'],
    [Object.assign(new OutOfStock('x'), { name: 'Sold' }), 'Sold'],
    [Object.assign(new OutOfStock('x'), { name: 3 }), 'OutOfStock'],
    [new (class extends Error {})('x'), 'Error'],
    [
      Object.defineProperty(new OutOfStock('x'), 'name', {
        get: () => {
          throw new Error();
        },
      }),
      'OutOfStock',
    ],
    [new PlaywrightError('x'), 'Error'],
    [new TargetClosedError2('x'), 'TargetClosedError'],
    [new TimeoutError2('x'), 'TimeoutError'],
    [AbortSignal.abort().reason, 'AbortError'],
  ];
  for (const [error, name] of cases) {
    test(name, () => {
      assert.equal(told(error).name, name);
      assert.equal(told(error).message, `${name}: ${error.message}`);
    });
  }

  test('an error without a message is told by its class', () =>
    assert.equal(told(new OutOfStock()).message, 'OutOfStock'));
});

describe('what is thrown and no Error is told by its content', () => {
  const cases = [
    ['no luck', 'string', 'A string was thrown instead of an Error: no luck'],
    [{ code: 3, at: [1] }, 'object', 'An object was thrown instead of an Error: { code: 3, at: [ 1 ] }'],
    [undefined, 'undefined', 'undefined was thrown instead of an Error'],
    [null, 'null', 'null was thrown instead of an Error'],
    [7, 'number', 'A number was thrown instead of an Error: 7'],
    [Symbol('x'), 'symbol', 'A symbol was thrown instead of an Error: Symbol(x)'],
  ];
  for (const [value, name, message] of cases) {
    test(message, () => assert.deepEqual(told(value), { kind: 'user', name, message, stack: '' }));
  }
});

test('what does not let itself be looked at is told as that', () => {
  const trap = () => {
    throw new Error('trapped');
  };
  const closed = new Proxy({}, { get: trap, getPrototypeOf: trap });
  assert.deepEqual(told(closed), {
    kind: 'user',
    name: 'object',
    message: 'What was thrown cannot be shown.',
    stack: '',
  });
  const error = thrown(new Error('no'), 'step (file:///a%2Fb.ts:1:1)', `step (${ROOT}/api/list.ts:1:1)`);
  assert.equal(told(error).stack, 'Error: no\n    at step (api/list.ts:1:1)');
});

test('the message of Playwright is kept with its call log, without colours', () => {
  const message = "page.click: Timeout 100ms exceeded.\nCall log:\n\x1b[2m  - waiting for locator('x')\x1b[22m\n";
  assert.equal(
    told(new Error(message)).message,
    "Error: page.click: Timeout 100ms exceeded.\nCall log:\n  - waiting for locator('x')",
  );
});

test('causes are told, each once', () => {
  const refused = new AggregateError([new Error('connect ::1'), new Error('connect 127.0.0.1')], '');
  const failed = new TypeError('fetch failed', { cause: refused });
  refused.cause = failed;
  assert.equal(
    told(failed).message,
    'TypeError: fetch failed\nCause: AggregateError\n' +
      'One of its errors: Error: connect ::1\nOne of its errors: Error: connect 127.0.0.1',
  );
  assert.equal(
    told(new Error('no', { cause: 'a text' })).message,
    'Error: no\nCause: A string was thrown instead of an Error: a text',
  );
});

describe('whether another Attempt may help', () => {
  test('NotRetryable', () => assert.equal(told(new NotRetryable('no')).kind, 'non-retryable'));
  test('RetryLater', () => {
    const { kind, message, retryAfter } = told(new RetryLater(5));
    assert.deepEqual(
      [kind, message, retryAfter],
      ['retry-later', 'RetryLater: another Attempt may help in 5 seconds', 5],
    );
  });
  test('RunError', () => {
    assert.deepEqual(told(new RunError('no', { error_code: 'X' })), {
      kind: 'user',
      name: 'RunError',
      message: 'RunError: no',
      stack: '',
    });
    assert.equal(told(new RunError('no', { retryable: false })).kind, 'non-retryable');
  });
  test('subclasses of these are told by their own names', () => {
    class SoldOut extends NotRetryable {}
    class Busy extends RetryLater {}
    class Refused extends RunError {}
    assert.deepEqual(
      [new SoldOut('no'), new Busy(1), new Refused('no')].map((error) => told(error).name),
      ['SoldOut', 'Busy', 'Refused'],
    );
  });
  test('a name that is not defined', () => {
    assert.equal(told(new ReferenceError('x is not defined')).kind, 'structural');
    assert.equal(told(new ReferenceError("Cannot access 'x' before initialization")).kind, 'user');
    const inPage = Object.assign(new Error('page.evaluate: x is not defined'), { name: 'ReferenceError' });
    assert.equal(told(inPage).kind, 'user');
  });
  test('a package that is missing', () => {
    assert.throws(
      () => require('no-such-package/x'),
      (error) => {
        const { kind, message } = told(error);
        assert.equal(kind, 'structural');
        assert.equal(
          message,
          "Error: Cannot find module 'no-such-package/x'\nIt is neither a file of the project nor in a package that " +
            'it declares. Declare its package in package.json.',
        );
        return true;
      },
    );
    assert.throws(
      () => require('./no-such-file'),
      (error) => told(error).message === "Error: Cannot find module './no-such-file'",
    );
  });
  test('what is ours keeps its words', () => {
    const ours = new StructuralError('api/list is not in the project.', { name: 'APINotFoundError' });
    assert.deepEqual(told(ours), {
      kind: 'structural',
      name: 'APINotFoundError',
      message: 'api/list is not in the project.',
      stack: '',
    });
  });
});

describe('a stack', () => {
  test('ends with the outermost frame of the project, and tells no path of the host', () => {
    const error = thrown(
      new Error('no'),
      'parse (/store/modules/node_modules/zod/index.js:9:1)',
      'Connection.send (/worker/client.js:5:6)',
      'async Promise.all (index 0)',
      'Array.map (<anonymous>)',
      `step (${ROOT}/api/list.ts:12:5)`,
      'process.processTicksAndRejections (node:internal/process/task_queues:105:5)',
      'withNetworkSettledWait (file:///tools/packages/@intuned/browser/index.js:3:4)',
      `async handler (${ROOT}/api/list.ts:40:3)`,
      'async Automation._invoke (/opt/runtime/node/user_process.js:1:2)',
      'async /opt/runtime/node/user_process.js:1:2',
    );
    assert.equal(
      told(error).stack,
      'Error: no\n' +
        '    at parse (node_modules/zod/index.js:9:1)\n' +
        '    at step (api/list.ts:12:5)\n' +
        '    at withNetworkSettledWait (@intuned/browser/index.js:3:4)\n' +
        '    at async handler (api/list.ts:40:3)',
    );
  });

  test('has no frames of Playwright, and none that only its message has', () => {
    const error = thrown(
      new Error('page.evaluate: Error: no\n    at inner (/scratch/project/api/evil.ts:1:1)\nCall log:'),
      'click (/x/node_modules/playwright-core/lib/page.js:1:1)',
      `${ROOT}/api/list.ts:3:1`,
    );
    assert.equal(
      told(error).stack,
      'Error: page.evaluate: Error: no\n    at inner (api/evil.ts:1:1)\nCall log:\n    at api/list.ts:3:1',
    );
    assert.deepEqual(
      framesOf(error.stack).map(({ line }) => line),
      [1, 3],
    );
  });

  test('is empty where no frame is in the project', () => {
    assert.equal(told(thrown(new Error('no'), '/x/node_modules/zod/index.js:9:1')).stack, '');
    assert.equal(told(Object.assign(new Error('no'), { stack: undefined })).stack, '');
    assert.equal(told(Object.assign(new Error('no'), { stack: {} })).stack, '');
  });

  test('tells those of causes behind it', () => {
    const cause = thrown(new TypeError('why'), `inner (${ROOT}/utils/a.ts:1:2)`);
    const error = thrown(new Error('no', { cause }), `step (${ROOT}/api/list.ts:12:5)`);
    const stack = 'Error: no\n    at step (api/list.ts:12:5)\nCause: TypeError: why\n    at inner (utils/a.ts:1:2)';
    assert.equal(told(error).stack, stack);
  });

  test('of what we throw in its midst has where it was', () => {
    const exit = thrown(
      new UserCodeError('The automation called process.exit(3).', { name: 'ProcessExit' }),
      `step (${ROOT}/api/list.ts:1:2)`,
    );
    assert.deepEqual(told(exit), {
      kind: 'user',
      name: 'ProcessExit',
      message: 'The automation called process.exit(3).',
      stack: 'The automation called process.exit(3).\n    at step (api/list.ts:1:2)',
    });
  });

  test('has bounds, and so has a message', () => {
    const frames = Array.from({ length: 2000 }, (_, line) => `step (${ROOT}/api/list.ts:${line + 1}:1)`);
    const { name, message, stack } = told(
      thrown(Object.assign(new Error('x'.repeat(1e6)), { name: 'N'.repeat(1e6) }), ...frames),
    );
    assert.equal(name.length, 200);
    assert.equal(message.length, 4000);
    assert.ok(stack.length <= 16_000);
    assert.match(stack, /\n {4}at step \(api\/list\.ts:1:1\)\n/);
    assert.equal(withAddition({ message }, 'and more').message.length, 4000);
  });
});

describe('places in a bundle', () => {
  let root;
  before(() => {
    root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'failures-')));
    fs.mkdirSync(path.join(root, '.callboard', 'api'), { recursive: true });
    // Each line of the bundle is of the line of the source that is ten further down.
    const map = { version: 3, sources: ['../../api/list.ts'], names: [], mappings: 'AAUA;AACA;AACA' };
    const code =
      'function step() { throw new Error("no"); }\nmodule.exports = () => step();\nmodule.exports.step = step;\n';
    const inline = Buffer.from(JSON.stringify(map)).toString('base64');
    fs.writeFileSync(
      path.join(root, '.callboard', 'api', 'list.cjs'),
      `${code}//# sourceMappingURL=data:application/json;base64,${inline}\n`,
    );
    process.setSourceMapsEnabled(true);
  });
  after(() => {
    process.setSourceMapsEnabled(false);
    fs.rmSync(root, { recursive: true });
  });

  test('are told by its source map', () => {
    const bundle = path.join(root, '.callboard', 'api', 'list.cjs');
    assert.throws(require(bundle), (error) => {
      assert.match(
        asMessage(error, root).stack,
        /^Error: no\n {4}at step \(api\/list\.ts:11:\d+\)\n {4}at .*api\/list\.ts:12:\d+\)?$/,
      );
      return true;
    });
    // As whoever looks into a process that blocks has them.
    assert.equal(shown([{ name: 'step', file: bundle, line: 2, column: 1 }], root), '    at step (api/list.ts:12:1)\n');
  });
});

test('what is logged has short frames, and keeps all else', () => {
  const text = [
    'Failed: Error: no',
    `    at step (${ROOT}/api/list.ts:12:5)`,
    '    at parse (/x/node_modules/zod/index.js:9:1)',
    '    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)',
    '    at async Automation._invoke (/opt/runtime/node/user_process.js:1:2) {',
    "  code: 'X'",
    '}',
    '    at home',
    `${ROOT}/api/list.ts`,
  ].join('\n');
  const short = [
    'Failed: Error: no',
    '    at step (api/list.ts:12:5)',
    '    at parse (node_modules/zod/index.js:9:1) {',
    "  code: 'X'",
    '}',
    '    at home',
    `${ROOT}/api/list.ts`,
  ].join('\n');
  assert.equal(shortened(text, ROOT), short);
});
