'use strict';
/**
 * Playwright over the relay (`callboard/machines/runner/relay.py`): one JSON object for each message, and a NUL byte.
 *
 * The client is Playwright's own, cut out of the driver's bundle by `callboard/machines/node_client.py`. All uses of its
 * private members are in this file and in `open_calls.js`; `tests/integration/machines/test_node_client.py` holds them
 * to the installed one.
 */

const { AsyncLocalStorage } = require('node:async_hooks');
const fs = require('node:fs');
const path = require('node:path');

const { refusal } = require('./addresses.js');
const { OpenCalls } = require('./open_calls.js');

/** Commands of the browser's own protocol that open the address in their parameter `url`. */
const OPENING_COMMANDS = new Set(['Page.navigate', 'Target.createTarget']);
/**
 * Methods that send or receive files, by their objects, and what of their arguments names these.
 * @type {Record<string, Record<string, (given: any[]) => any>>}
 */
const WITH_FILES = {
  Artifact: { saveAs: ([file]) => file },
  ElementHandle: { setInputFiles: ([files]) => files },
  Frame: { setInputFiles: ([, files]) => files, _drop: ([, dropped]) => dropped?.files },
};

/** A connection to the supervisor's browser. */
class Attached {
  /**
   * @param {any} connection Playwright's `Connection`.
   * @param {any} playwright Playwright's API over it.
   */
  constructor(connection, playwright) {
    this._connection = connection;
    this.playwright = playwright;
    this.browser = playwright._preLaunchedBrowser();
    this._endWithClose();
    this._sendWholePaths();
    this.calls = new OpenCalls(connection);
  }

  /**
   * Attach to the browser at the other end of a connected socket, which this takes over.
   * @param {import('node:net').Socket} socket
   * @param {{Connection: any, setBoxedStackPrefixes: (prefixes: string[]) => void}} client
   * @returns {Promise<Attached>}
   */
  static async over(socket, client) {
    client.setBoxedStackPrefixes([__dirname]); // our own frames are in no stack that people see
    const connection = new client.Connection();
    sendFilesFromOutside(connection);
    connection.onmessage = (/** @type {object} */ message) => socket.write(`${JSON.stringify(message)}\0`);
    /** @type {Buffer[]} */
    let parts = [];
    socket.on('data', (data) => {
      let start = 0;
      for (let end = data.indexOf(0); end >= 0; end = data.indexOf(0, start)) {
        parts.push(data.subarray(start, end));
        connection.dispatch(JSON.parse(Buffer.concat(parts).toString()));
        parts = [];
        start = end + 1;
      }
      if (start < data.length) parts.push(data.subarray(start));
    });
    socket.on('error', () => connection.close());
    socket.on('close', () => connection.close());
    return new Attached(connection, await connection.initializePlaywright());
  }

  /** Have `Browser.close` close all contexts and end this connection; the browser is not this client's to end. */
  _endWithClose() {
    const { browser } = this;
    browser._shouldCloseConnectionOnClose = true;
    const close = browser.close;
    browser.close = async (/** @type {any} */ options) => {
      await Promise.all(browser.contexts().map((/** @type {any} */ context) => context.close(options)));
      await close.call(browser, options);
    };
    this._connection.on('close', () => {
      for (const context of browser.contexts()) {
        for (const page of context.pages()) page._onClose();
        context._onClose();
      }
      setTimeout(() => browser._didClose(), 0);
    });
  }

  /** Give the driver, which has another working folder, whole paths. */
  _sendWholePaths() {
    const send = this._connection.sendMessageToServer;
    /** @this {any} */
    this._connection.sendMessageToServer = async function (object, method, params, options) {
      return await send.call(this, object, method, withWholePaths(method, params), options);
    };
  }

  /** Send the stack of each call from now on. The relay has it added to the traces. */
  sendStacks() {
    this._connection.setIsTracing(true);
  }

  /** Refuse addresses that lead into the machine itself. */
  guard() {
    guard(this._connection);
  }

  /**
   * Have files outside of this folder sent over the connection: the driver does not see them.
   * @param {string} folder
   */
  keepFilesIn(folder) {
    this._connection.folder = `${fs.realpathSync(folder)}/`;
  }

  /**
   * Return a context and a page of it, which the browser has already, by their ids.
   * @param {string} contextId
   * @param {string} pageId
   * @returns {Promise<[any, any]>}
   */
  async page(contextId, pageId) {
    for (const isKnown of [false, true]) {
      for (const context of this.browser.contexts()) {
        for (const page of context.pages()) {
          if (context._guid === contextId && page._guid === pageId) return [context, page];
        }
      }
      if (!isKnown) {
        // Messages come in order: with an answer, all that the browser had before is here.
        await this.browser._channel.defaultUserAgentForTest({}, { signal: undefined, timeout: 0 });
      }
    }
    throw new Error('The page was closed before the automation was given it.');
  }

  /**
   * End all calls, those that wait and those to come, as if the page were closed. The browser is not told: what is still
   * to be seen of the page stays there.
   * @param {string} reason
   */
  giveUp(reason) {
    this._connection.close(reason);
  }
}

/**
 * Have files that are not in `connection.folder` sent over the connection, from and to all objects that there will be.
 * @param {any} connection Playwright's `Connection`, which has no object yet.
 */
function sendFilesFromOutside(connection) {
  /** @type {AsyncLocalStorage<boolean>} */
  const outside = new AsyncLocalStorage();
  connection.folder = '/';
  connection.isRemote = () => outside.getStore() ?? false;
  for (const [type, methods] of Object.entries(WITH_FILES)) {
    const make = connection._objectFactories.get(type);
    connection._objectFactories.set(type, (/** @type {any[]} */ ...made) => {
      const object = make(...made);
      for (const [method, named] of Object.entries(methods)) {
        const call = object[method];
        object[method] = (/** @type {any[]} */ ...given) => {
          const files = [named(given)].flat().filter((file) => typeof file === 'string');
          const isOutside = files.some((file) => !realPath(file).startsWith(connection.folder));
          return outside.run(isOutside, () => call.apply(object, given));
        };
      }
      return object;
    });
  }
}

/**
 * Have addresses that lead into the machine itself refused before a client of Playwright opens them.
 * @param {any} connection Playwright's `Connection`.
 */
function guard(connection) {
  const send = connection.sendMessageToServer;
  /** @this {any} */
  connection.sendMessageToServer = async function (object, method, params, options) {
    const opening = method === 'send' && OPENING_COMMANDS.has(params.method) ? params.params?.url : undefined;
    const base = object._type === 'Frame' ? object._page?.context()._options.baseURL : undefined;
    const reason = refusal(object._type === 'Frame' && method === 'goto' ? params.url : opening, base);
    if (reason) throw new Error(reason);
    return await send.call(this, object, method, params, options);
  };
}

/**
 * Return the parameters of a call with whole paths for what the driver writes, which has another working folder.
 * @param {string} method
 * @param {any} params
 */
function withWholePaths(method, params) {
  if (method === 'saveAs') return { ...params, path: path.resolve(params.path) };
  if (method !== 'harStart') return params;
  const { harPath, resourcesDir } = params.options;
  const options = {
    ...params.options,
    ...(harPath === undefined ? {} : { harPath: path.resolve(harPath) }),
    ...(resourcesDir === undefined ? {} : { resourcesDir: path.resolve(resourcesDir) }),
  };
  return { ...params, options };
}

/** @param {string} file A path that may not exist yet; then the folder that it is to be in counts. */
function realPath(file) {
  const resolved = path.resolve(file);
  try {
    return fs.realpathSync(resolved);
  } catch {
    return resolved === '/' ? resolved : path.join(realPath(path.dirname(resolved)), path.basename(resolved));
  }
}

module.exports = { Attached, guard };
