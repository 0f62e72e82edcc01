'use strict';
/**
 * The process of user code in a project of TypeScript: `node user_process.js CONTROL BROWSER SETUP`.
 *
 * It is the twin of `callboard/machines/runner/user_process.py`, which says what it tells the supervisor, and is told.
 * CONTROL and BROWSER are descriptors of sockets to the supervisor and to the relay. SETUP is JSON:
 *
 *     client     file of Playwright's client
 *     core       folder of the whole playwright-core that it was cut out of
 *     modules    folder of the packages that are not in the bundles of the version; or null
 *     guarded    whether addresses that lead into the machine itself are refused
 *     debugPort  port at which this process opens its debugger on a signal; or null
 *
 * It is connected ahead, then waits for its Attempt, calls user code, tells how that ended, and waits to be killed:
 * whatever user code has left here ends with it.
 */

const net = require('node:net');
const path = require('node:path');

const { Channel } = require('./channel.js');
const { asMessage, framesOf, shown, UserCodeError } = require('./failures.js');
const { captureConsole, say } = require('./log.js');
const { provide } = require('./modules.js');
const { call, load, setUpContext } = require('./project_code.js');
const { Attached } = require('./relay_client.js');
const { resultAsJson, toJson } = require('./results.js');
const { enter } = require('./state.js');
const { openOutput } = require('./stdio.js');

/** Milliseconds that a canceled automation gets before it is killed (docs/contract.md, section 10, rule 8). */
const LAST_WORDS = 100;
/** Frames that a stack may have. */
const MOST_FRAMES = 50;
const STOPPED = 'The Attempt was stopped.';

/** @typedef {import('./channel.js').Message} Message */
/** @typedef {{client: string, core: string, modules: string | null, guarded: boolean, debugPort: number | null}} Setup */

/** One call of user code, from the message `call` to its end. */
class Automation {
  /**
   * @param {Channel} channel
   * @param {Attached} attached
   * @param {Message} message The message `call`.
   * @param {Setup} setup
   */
  constructor(channel, attached, message, setup) {
    this._channel = channel;
    this._attached = attached;
    this._call = message;
    this._root = path.join(message.folder, 'project');
    this._isOver = false;
    attached.keepFilesIn(message.folder);
    if (setup.guarded) attached.guard();
    this._state = enter({
      runInfo: message.runInfo,
      kind: message.kind,
      parameters: JSON.parse(message.parameters),
      ask: (operation, given) => this._ask(operation, given),
      extendTimeout: () => channel.post('extend'),
      playwright: attached.playwright,
      core: setup.core,
      guarded: setup.guarded,
      stack: () => this._stack(),
    });
    this._enterFolder();
    process.setSourceMapsEnabled(true);
    provide(setup.modules);
    openOutput();
    captureConsole(say, this._root);
  }

  /** Return where this process stands: the debugger calls it where it has stopped (`runner/inspector.py`). */
  _stack() {
    const here = {};
    Error.captureStackTrace(here);
    return shown(framesOf(here.stack), this._root);
  }

  /** Work in the Attempt's folder, with the project's variables. */
  _enterFolder() {
    const { folder, variables, runInfo } = this._call;
    Object.assign(process.env, variables, { TMPDIR: path.join(folder, 'tmp'), HOME: path.join(folder, 'home') });
    // Where SDKs of OpenTelemetry look, also in further processes.
    if (runInfo.traceparent) process.env.TRACEPARENT = runInfo.traceparent;
    process.chdir(this._root);
  }

  /** Call user code and tell how that ended. */
  callFunction() {
    /** @type {any} */ (process).exit = (code) => {
      throw new UserCodeError(`The automation called process.exit(${code ?? ''}).`, { name: 'ProcessExit' });
    };
    process.on('unhandledRejection', (reason) => {
      const { message, stack } = asMessage(reason, this._root);
      say('warning', 'user', `A rejected promise was not handled: ${stack || message}`);
    });
    process.on('uncaughtException', (error) => this._end({ error: asMessage(error, this._root) }));
    this._channel.onmessage = (message) => message.type === 'stop' && this._stop();
    this._running = this._invoke().then(
      (fields) => this._end(fields),
      (error) => this._end({ error: asMessage(error, this._root) }),
    );
  }

  /**
   * Tell how user code has ended, once.
   * @param {object} fields
   */
  _end(fields) {
    if (this._isOver) return;
    this._isOver = true;
    const done = { imported: [], attributes: this._state.attributes };
    try {
      this._channel.post('done', { ...done, ...fields });
    } catch (error) {
      // User code can reach the attributes past `setAttribute`, and leave there what has no JSON form.
      this._channel.post('done', { ...done, attributes: {}, error: asMessage(error, this._root) });
    }
  }

  /** Tell where the automation waits, and have what it waits for fail. */
  _stop() {
    if (this._isOver) return;
    this._isOver = true;
    this._channel.post('stopping', { stack: this._attached.calls.waitingAt(this._root) });
    this._attached.giveUp(STOPPED);
    const over = new Promise((resolve) => setTimeout(resolve, LAST_WORDS));
    Promise.race([this._running, over]).then(() => this._channel.post('stopped', { evidence: null }));
  }

  /** @returns {Promise<object>} Fields of a `done` message. What user code throws passes through. */
  async _invoke() {
    const { kind, parameters } = this._state;
    const exported = load(this._call.function, kind, this._root);
    const opened = await this._open(parameters);
    if (opened.error) return { error: opened.error };
    if (opened.traced) this._attached.sendStacks();
    const [context, page] = await this._attached.page(this._call.context, this._call.page);
    const value = await call(exported, kind, parameters, page, context, this._state.answers);
    const result = resultAsJson(kind, value, this._root);
    const payloads = kind === 'api' && this._state.payloads.length ? this._state.payloads : null;
    const what = { what: 'What extendPayload was given', path: 'extendedPayloads' };
    return { result, extendedPayloads: payloads && toJson(payloads, what) };
  }

  /**
   * Run the hook, have the supervisor restore the login and begin the trace, and return its answer.
   * @param {any} parameters
   * @returns {Promise<Message>}
   */
  async _open(parameters) {
    const { hooked } = this._call;
    if (hooked) {
      const given = { cdpUrl: hooked.cdpUrl, apiName: this._call.function, apiParameters: parameters };
      await setUpContext(this._root, given);
    }
    return await this._channel.ask('open', { trace: true, unused: true });
  }

  /**
   * Return the worker's answer to a request of user code.
   * @param {string} operation
   * @param {object} [given]
   */
  async _ask(operation, given = {}) {
    const answer = await this._channel.ask('request', { operation, arguments: given });
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value;
  }
}

/**
 * @param {number} control Descriptor of the socket to the supervisor.
 * @param {number} browser That of the socket to the relay.
 * @param {Setup} setup
 */
async function main(control, browser, setup) {
  Error.stackTraceLimit = MOST_FRAMES;
  const [supervisor, relay] = [control, browser].map((fd) => new net.Socket({ fd, readable: true, writable: true }));
  const channel = new Channel(supervisor, () => process.reallyExit(1));
  const attached = await Attached.over(relay, require(setup.client));
  channel.onmessage = (message) => {
    if (message.type !== 'call') process.reallyExit(1);
    channel.post('called');
    new Automation(channel, attached, message, setup).callFunction();
  };
  channel.post('ready', { debugPort: setup.debugPort });
}

if (require.main === module) {
  const [control, browser, setup] = process.argv.splice(2);
  delete process.env.NODE_COMPILE_CACHE; // it is for this process alone
  main(Number(control), Number(browser), JSON.parse(setup));
}
