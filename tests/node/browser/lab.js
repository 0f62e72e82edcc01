/**
 * What the tests of `@intuned/browser` share: the package as a deploy bundles it, a browser, and a site on loopback.
 *
 * `CALLBOARD_TEST_TOOLS` is the folder of tools that `callboard setup --typescript` makes, `CALLBOARD_TEST_BROWSER` the
 * browser. Playwright is the one beside the Node that executes the tests, which is that of Playwright's driver.
 */

'use strict';

const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { createRequire } = require('node:module');

const PACKAGE = path.resolve(__dirname, '../../../runtime/node/packages/@intuned/browser');
const TOOLS = process.env.CALLBOARD_TEST_TOOLS;

/**
 * Return what `import * from "@intuned/browser"` gives, bundled with the libraries of the folder of tools.
 *
 * @param {string} entry the file of the package
 */
function bundled(entry = 'index.mjs') {
  const esbuild = createRequire(path.join(TOOLS, 'package.json'))('esbuild');
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'callboard-browser-'));
  const outfile = path.join(folder, 'bundle.cjs');
  try {
    esbuild.buildSync({
      entryPoints: [path.join(PACKAGE, entry)],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      external: ['@intuned/runtime'],
      nodePaths: [path.join(TOOLS, 'node_modules')],
    });
    return require(outfile);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

/** Start the browser, for the tests of one file. */
function launch() {
  const { chromium } = require(path.join(path.dirname(process.execPath), 'package'));
  return chromium.launch({ executablePath: process.env.CALLBOARD_TEST_BROWSER, chromiumSandbox: false });
}

/**
 * Serve `answers` on loopback: a page by its path, or a function that answers the request itself.
 *
 * @param {Record<string, string | ((request: http.IncomingMessage, response: http.ServerResponse) => void)>} answers
 */
async function serve(answers) {
  /** @type {string[]} */
  const requests = [];
  const server = http.createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const answer = answers[new URL(request.url, 'http://site').pathname];
    if (typeof answer === 'function') return answer(request, response);
    response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'text/html' }).end(answer);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

module.exports = { PACKAGE, bundled, launch, serve };
