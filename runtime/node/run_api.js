'use strict';
/**
 * `runApi`, which calls an API of a project in its tests: `@callboard/runtime/test`, as `callboard venv` installs it.
 *
 * It is the twin of `callboard_runtime/pytest_plugin.py`. The working folder is the project's.
 */

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { callLocally } = require('./local_call.js');
const { capture, restore } = require('./login_state.js');
const { provide } = require('./modules.js');

const CREATE = 'auth-sessions/create';
const SUFFIXES = ['.ts', '.mts', '.js', '.mjs'];
const BROWSERS = [
  'chromium-headless-shell',
  'chrome-headless-shell',
  'chromium',
  'chromium-browser',
  'google-chrome',
  'google-chrome-stable',
];
let isProvided = false;

/**
 * Return `runApi` for an installation of Callboard.
 * @param {{core: string, compiler: string, tools: string, ours: string}} installed Folder of Playwright; the script that
 *   compiles, the folder with esbuild that it uses, and that of our own packages.
 */
function runApiOf(installed) {
  /**
   * @param {string} name
   * @param {any} [parameters]
   * @param {{answers?: Record<string, string | ((page: any) => unknown)>, authSession?: string | import('./local_call.js').Login,
   *   prepare?: (page: any, context: any) => unknown}} [options]
   */
  return async function runApi(name, parameters, { answers = {}, authSession, prepare } = {}) {
    const { chromium } = require(installed.core);
    const login = typeof authSession === 'string' ? readLogin(authSession) : (authSession ?? null);
    const [kind, functionPath] = name === CREATE ? ['create', name] : ['api', `api/${name}`];
    const compiled = fs.mkdtempSync(path.join(os.tmpdir(), 'callboard-test-'));
    let browser;
    try {
      compile(functionPath, compiled, installed);
      if (!isProvided) provide(process.cwd());
      process.setSourceMapsEnabled(true);
      isProvided = true;
      browser = await chromium.launch({ executablePath: otherBrowser(chromium) });
      const context = await browser.newContext();
      const page = await context.newPage();
      if (login) await restore(context, page, login.state);
      await prepare?.(page, context);
      const values = new Map();
      const called = {
        ...{ kind, function: functionPath, parameters, login, compiled, core: installed.core, runId: 'test' },
        values,
        askPerson: async ({ name = 'handOver', page: handed }) => {
          const given = Object.hasOwn(answers, name) ? answers[name] : undefined;
          if (handed !== undefined && typeof given === 'function') {
            await given(context.pages().find(({ _guid }) => _guid === handed));
            return JSON.stringify({ status: 'completed', values: {} });
          }
          if (handed === undefined && typeof given === 'string') {
            return JSON.stringify({ status: 'completed', values: { [name]: given } });
          }
          throw new Error(`${handed === undefined ? 'requestInput' : 'handOver'} has no answer ${name} in this test`);
        },
      };
      const outcome = await callLocally(called, async () => ({ context, page }));
      return {
        result: JSON.parse(outcome.result),
        extendedPayloads: JSON.parse(outcome.extendedPayloads ?? '[]'),
        attributes: outcome.attributes,
        authSession: kind === 'create' ? await madeLogin(context, parameters) : undefined,
      };
    } finally {
      await browser?.close();
      fs.rmSync(compiled, { recursive: true, force: true });
    }
  };
}

/** Compile a function of the project into a folder, as a deploy does. */
function compile(functionPath, folder, { compiler, tools, ours }) {
  const file = SUFFIXES.map((suffix) => `${functionPath}${suffix}`).find((each) => fs.existsSync(each));
  if (file === undefined) throw new Error(`There is no ${functionPath}.ts in ${process.cwd()}.`);
  const order = path.join(folder, 'compile.json');
  const target = path.join(folder, '.callboard');
  const entries = { [functionPath]: file };
  const [root, modules] = [process.cwd(), fs.realpathSync('node_modules')];
  fs.writeFileSync(order, JSON.stringify({ root, entries, target, tools, ours, modules, local: true }));
  const done = spawnSync(process.execPath, [compiler, order], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${file} could not be compiled: ${done.stderr}`);
  const { errors } = JSON.parse(done.stdout);
  if (errors.length) throw new Error(errors.map(({ file, line, text }) => `${file}:${line}: ${text}`).join('\n'));
}

/** Return the login that a create has left in its context, with what it was made from. */
async function madeLogin(context, parameters) {
  const { state, unkept } = await capture(context, null, true);
  if (unkept !== null) console.warn(unkept);
  return { id: 'test', parameters: parameters ?? {}, state };
}

/** Read a login that `callboard run authsession create` has made. */
function readLogin(id) {
  const read = (name) => JSON.parse(fs.readFileSync(path.join('auth-sessions-instances', id, name), 'utf8'));
  return { id, parameters: read('metadata.json').parameters, state: read('auth-session.json') };
}

/** The browser of CALLBOARD_CHROMIUM, else one of the system where Playwright has none of its own. */
function otherBrowser(chromium) {
  if (process.env.CALLBOARD_CHROMIUM) return process.env.CALLBOARD_CHROMIUM;
  if (fs.existsSync(chromium.executablePath())) return undefined;
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return BROWSERS.flatMap((name) => folders.map((folder) => path.join(folder, name))).find((file) => fs.existsSync(file));
}

module.exports = { runApiOf };
