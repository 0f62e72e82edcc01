'use strict';
/** Which calls of Playwright, and waits for its events, have not ended yet: they tell where user code waits. */

const { shown } = require('./failures.js');

/** @typedef {{file: string, line: number, column: number, function?: string}} Frame */

/** The open calls and waits of a client of Playwright. */
class OpenCalls {
  /** @param {any} connection Playwright's `Connection`, whose calls are noted from now on. */
  constructor(connection) {
    /** @type {Map<any, {title: string, frames: Frame[]}>} */
    const open = new Map();
    this._open = open;
    const send = connection.sendMessageToServer;
    /** @this {any} */
    connection.sendMessageToServer = async function (object, method, params, options) {
      const call = { title: options?.apiName || `${object._type}.${method}`, frames: options?.frames ?? [] };
      if (method === '__waitInfo__') {
        // Of a wait for an event, the client only tells the driver.
        if (params.phase === 'before') open.set(params.waitId, call);
        if (params.phase === 'after') open.delete(params.waitId);
        return await send.call(this, object, method, params, options);
      }
      open.set(call, call);
      try {
        return await send.call(this, object, method, params, options);
      } finally {
        open.delete(call);
      }
    };
  }

  /**
   * Return where user code waits: what has not ended yet, each with its frames up to those below `root`.
   * @param {string} root The project's folder.
   */
  waitingAt(root) {
    let text = '';
    for (const { title, frames } of this._open.values()) {
      const stack = shown(
        frames.map((frame) => ({ ...frame, name: frame.function })),
        root,
      );
      if (stack) text += `It waits for ${title}:\n${stack}`;
    }
    return text;
  }
}

module.exports = { OpenCalls };
