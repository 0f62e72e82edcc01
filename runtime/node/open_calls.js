'use strict';
/** Which calls of Playwright are not answered yet: they tell where user code waits. */

const { shown } = require('./failures.js');

/** @typedef {{file: string, line: number, column: number, function?: string}} Frame */

/** The open calls of a client of Playwright. */
class OpenCalls {
  /** @param {any} connection Playwright's `Connection`, whose calls are noted from now on. */
  constructor(connection) {
    /** @type {Set<{title: string, frames: Frame[]}>} */
    const open = new Set();
    this._open = open;
    const send = connection.sendMessageToServer;
    /** @this {any} */
    connection.sendMessageToServer = async function (object, method, params, options) {
      const call = { title: options?.apiName || `${object._type}.${method}`, frames: options?.frames ?? [] };
      open.add(call);
      try {
        return await send.call(this, object, method, params, options);
      } finally {
        open.delete(call);
      }
    };
  }

  /**
   * Return where user code waits: the open calls, each with its frames in the project.
   * @param {string} root The project's folder.
   */
  waitingAt(root) {
    let text = '';
    for (const { title, frames } of this._open) {
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
