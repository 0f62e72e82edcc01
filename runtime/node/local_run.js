'use strict';
/**
 * Call one function of a project in the foreground, on its author's own host: what `callboard run` starts.
 *
 * `node local_run.js ORDER RESULT` is the twin of `callboard_runtime/local_run.py`, which says what it is told, and what
 * it tells. An order has three fields more:
 *
 *     compiled    folder with the compiled functions of the project
 *     core        folder of Playwright
 *     hook        whether the project has a hook
 */

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { asMessage, UserCodeError } = require('./failures.js');
const { callLocally } = require('./local_call.js');
const { NOTHING, capture, differ, restore } = require('./login_state.js');
const { provide } = require('./modules.js');
const { OpenCalls } = require('./open_calls.js');
const { Downloads, watch } = require('./page_events.js');
const { setUpContext } = require('./project_code.js');
const { askOnTerminal, withdraw } = require('./terminal.js');

/** Milliseconds that the browser gets to close. What takes longer ends with this process. */
const CLOSE_WITHIN = 5_000;
/** Milliseconds after the time limit until code that does not react to it is ended. */
const GRACE = 5_000;
/** Milliseconds that downloads get to end once the call has. */
const DOWNLOADED_WITHIN = 5_000;
/** Exit code after Ctrl-C. */
const INTERRUPTED = 130;
const OUTPUT = 'output';

/** The order, its browser, and all that is open for it. */
class LocalRun {
  /** @param {any} order */
  constructor(order) {
    this._order = order;
    this._root = process.cwd();
    this._browser = undefined;
    /** What closes the contexts of the call. @type {(() => Promise<unknown>)[]} */
    this._closing = [];
  }

  /** Carry the order out, and return the outcome. */
  async outcome() {
    try {
      await this._launch();
    } catch (error) {
      const told = new UserCodeError(`The browser cannot be used: ${error.message}`, { stack: '' });
      return { error: asMessage(told, this._root) };
    }
    const { kind, parameters, login } = this._order;
    try {
      if (login?.check) {
        const checked = await this._call('check', 'auth-sessions/check', null);
        await this._closeContexts();
        if (checked.result !== 'true') {
          throw new UserCodeError('The login is not good any more.', { name: 'LoginError', stack: '' });
        }
      }
      const outcome = await this._call(kind, this._order.function, parameters);
      if (!this._order.keep_open) await this._closeContexts();
      return outcome;
    } catch (error) {
      if (!this._order.keep_open) await this._closeContexts();
      return { error: asMessage(error, this._root), attributes: {} };
    }
  }

  async _launch() {
    const { chromium } = require(this._order.core);
    this._calls = new OpenCalls(chromium._connection);
    const { arguments: given, browser, cdp_url, headless, hook, sandbox, slow_mo } = this._order;
    if (cdp_url !== null) {
      this._browser = await chromium.connectOverCDP(cdp_url, { slowMo: slow_mo });
      return;
    }
    this._browser = await chromium.launch({
      executablePath: browser,
      args: [...given, ...(hook ? ['--remote-debugging-port=0'] : [])],
      headless,
      slowMo: slow_mo,
      chromiumSandbox: sandbox,
      handleSIGHUP: false,
      handleSIGINT: false,
      handleSIGTERM: false,
    });
  }

  async _call(kind, functionPath, parameters) {
    const { cdp_url, compiled, core, headless, login, proxy, timeout } = this._order;
    const limit = new TimeLimit(timeout, this._order.stack, this._root, this._calls);
    let context;
    const called = {
      ...{ kind, function: functionPath, parameters, login, compiled, core, runId: 'local', proxy: proxy?.server },
      values: storedValues(),
      extendTimeout: () => limit.begin(),
      askPerson: async (question) => {
        if ('page' in question && headless && cdp_url === null) {
          return JSON.stringify({ status: 'withdrawn', reason: 'The browser has no window. Run it with --headful.' });
        }
        return await limit.stopped(() => askOnTerminal(question));
      },
      withdraw,
    };
    const outcome = await limit.around(() =>
      callLocally(called, async () => {
        const opened = await this._open(functionPath, parameters);
        context = opened.context;
        return opened;
      }),
    );
    return { ...outcome, state: login && kind !== 'check' ? await this._state(kind, context) : null };
  }

  /** The state of the login after a create, or where an API has changed it; else null. */
  async _state(kind, context) {
    const before = this._order.login.state;
    const { state, unkept } = await capture(context, before, this._order.indexed_db);
    if (unkept !== null) say('warning', 'callboard', unkept);
    return kind === 'create' || differ(before ?? NOTHING, state) ? state : null;
  }

  /** Open the context and page of a call, with the login restored. */
  async _open(functionPath, parameters) {
    const { cdp_url, compiled, downloads, hook, login, proxy, trace, viewport } = this._order;
    if (hook) {
      const given = { cdpUrl: cdp_url ?? debuggingAddress(), apiName: functionPath, apiParameters: parameters };
      await setUpContext(compiled, given);
    }
    let context = cdp_url === null ? undefined : this._browser.contexts()[0]; // a person's own, with its logins
    if (context === undefined) {
      const [width, height] = viewport;
      const userAgent = await this._userAgent();
      context = await this._browser.newContext({ viewport: { width, height }, userAgent, proxy: proxy ?? undefined });
      this._closing.push(() => context.close());
    }
    const page = await context.newPage();
    if (cdp_url !== null) this._closing.push(() => page.close());
    if (login?.state) await restore(context, page, login.state);
    const kept = downloads ? new Downloads(path.join(OUTPUT, 'downloads'), say) : null;
    watch(context, say, kept);
    this._closing.push(async () => kept?.wait(DOWNLOADED_WITHIN));
    if (trace !== null) {
      await context.tracing.start({ title: functionPath, screenshots: true, snapshots: true, sources: true });
      this._closing.push(() => context.tracing.stop({ path: trace }));
    }
    return { context, page };
  }

  /** The user agent of the browser as if it had windows: sites refuse one that calls itself headless. */
  async _userAgent() {
    const session = await this._browser.newBrowserCDPSession();
    const { userAgent } = await session.send('Browser.getVersion');
    return userAgent.replace('HeadlessChrome', 'Chrome');
  }

  async _closeContexts() {
    for (const close of this._closing.splice(0).reverse()) {
      await close().catch((error) => say('warning', 'callboard', error.message));
    }
  }

  /** Wait until the browser has no page any more. */
  async untilClosed() {
    say('info', 'callboard', 'The browser stays open. Close its window, or press Ctrl-C, to end.');
    await new Promise((resolve) => {
      this._browser.on('disconnected', resolve);
      const look = () => this._browser.contexts().some((context) => context.pages().length) || resolve(undefined);
      for (const context of this._browser.contexts()) {
        context.on('page', (page) => page.on('close', look));
        for (const page of context.pages()) page.on('close', look);
      }
    });
  }

  /** Close the browser in bounded time. */
  async close() {
    const late = new Promise((resolve) => setTimeout(resolve, CLOSE_WITHIN).unref());
    await Promise.race([this._browser?.close(), late]).catch(() => {});
  }
}

/** Bounds the time of a call, from its beginning or the last `extendTimeout`. */
class TimeLimit {
  /**
   * @param {number | null} seconds Null for no limit.
   * @param {number} stack Descriptor to write to where code stands that has to be ended.
   * @param {string} root The project's folder.
   * @param {OpenCalls} calls
   */
  constructor(seconds, stack, root, calls) {
    this._seconds = seconds;
    this._told = { stack, root };
    this._calls = calls;
    this._over = Promise.withResolvers();
    /** How many have the clock stand still. */
    this._stoppers = 0;
  }

  /** @template T @param {() => Promise<T>} run @returns {Promise<T>} */
  async around(run) {
    if (this._seconds === null) return await run();
    this._watchdog = new Worker(path.join(__dirname, 'watchdog.js'), { workerData: this._told });
    this._watchdog.unref();
    this.begin();
    try {
      return await Promise.race([run(), this._over.promise]);
    } finally {
      this._stop();
      this._watchdog = undefined;
    }
  }

  /** Begin the time anew. */
  begin() {
    this._left = this._seconds * 1_000;
    if (!this._stoppers) this._goOn();
  }

  /** Have the clock stand still until a call has ended. There may be several. @template T @param {() => Promise<T>} run */
  async stopped(run) {
    if (!this._stoppers) {
      this._left = this._end - performance.now();
      this._stop();
    }
    this._stoppers += 1;
    try {
      return await run();
    } finally {
      this._stoppers -= 1;
      if (!this._stoppers) this._goOn();
    }
  }

  _stop() {
    clearTimeout(this._timer);
    this._watchdog?.postMessage(null);
  }

  _goOn() {
    if (!this._watchdog) return; // there is no limit, or the call has ended
    this._stop();
    this._end = performance.now() + this._left;
    this._timer = setTimeout(() => {
      const told = { name: 'TimeoutError', stack: this._calls.waitingAt(this._told.root) };
      this._over.reject(new UserCodeError(`It took longer than ${this._seconds} seconds.`, told));
    }, this._left);
    this._watchdog.postMessage(this._left + GRACE);
  }
}

/** The address at which the browser listens, which it writes into its profile. */
function debuggingAddress() {
  const profiles = fs.readdirSync(os.tmpdir()).map((name) => path.join(os.tmpdir(), name, 'DevToolsActivePort'));
  const [port, place] = fs.readFileSync(profiles.find((file) => fs.existsSync(file)), 'utf8').split('\n');
  return `ws://127.0.0.1:${port}${place}`;
}

/** The values of `persistentStore`, in a file. No version of a project holds its folder. */
function storedValues() {
  const file = path.join(OUTPUT, 'persistent-store.json');
  const read = () => (fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : {});
  return {
    get: (key) => read()[key],
    set: (key, value) => {
      const values = { ...read(), [key]: value };
      fs.mkdirSync(OUTPUT, { recursive: true });
      const kept = Object.fromEntries(Object.entries(values).filter(([, text]) => text !== 'null'));
      fs.writeFileSync(`${file}.part`, JSON.stringify(kept));
      fs.renameSync(`${file}.part`, file);
    },
  };
}

function say(level, source, message) {
  fs.writeSync(2, `${level.toUpperCase()} ${source}: ${message}\n`);
}

async function main(order, result) {
  const end = process.reallyExit.bind(process);
  const run = new LocalRun(order);
  const root = process.cwd();
  let isTold = false;
  const tell = (outcome) => {
    if (!isTold) fs.writeSync(result, `${JSON.stringify(outcome)}\n`);
    isTold = true;
  };
  const tellError = (error) => tell({ error: asMessage(error, root), attributes: {} });
  const fail = (error) => {
    tellError(error);
    run.close().then(() => end(0));
  };
  process.on('SIGINT', () => {
    isTold = true; // That the browser is closed is no outcome.
    run.close().then(() => end(INTERRUPTED));
  });
  process.exit = (code) => {
    const error = new UserCodeError(`The automation called process.exit(${code ?? ''}).`, { name: 'ProcessExit' });
    fail(error);
    throw error;
  };
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', (reason) => {
    say('warning', 'user', `A rejected promise was not handled: ${asMessage(reason, root).message}`);
  });
  process.setSourceMapsEnabled(true);
  provide(root);
  await run.outcome().then(tell).catch(tellError); // user code can leave attributes without a JSON form
  if (order.keep_open && run._browser) await run.untilClosed();
  await run.close();
  end(0); // what user code has left must not hold it up
}

const [order, result] = process.argv.splice(2).map(Number);
main(JSON.parse(fs.readFileSync(order, 'utf8')), result);
