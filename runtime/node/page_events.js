'use strict';
/**
 * What happens in the browser while a function runs on its author's host: it is told, and what pages download is kept.
 *
 * On a Machine, the supervisor does this (`callboard_runtime/page_events.py` and `downloads.py`).
 */

const fs = require('node:fs');
const path = require('node:path');

const LEVELS = { debug: 'debug', trace: 'debug', warning: 'warning', error: 'error', assert: 'error' };
/** Failure that mostly means that a page was left before it was loaded completely. */
const ABORTED = 'net::ERR_ABORTED';

/** @typedef {(level: string, source: string, message: string) => void} Say */

/**
 * Tell what happens in a context and its pages.
 * @param {any} context
 * @param {Say} say
 * @param {Downloads | null} downloads What keeps the files that pages download; null to keep none.
 */
function watch(context, say, downloads) {
  context.on('console', (message) => {
    const level = LEVELS[message.type()] ?? 'info';
    const { url, lineNumber } = message.location();
    const place = url && (level === 'warning' || level === 'error') ? ` (${url}:${lineNumber + 1})` : '';
    say(level, 'console', `${message.text()}${place}`);
  });
  context.on('weberror', (error) => say('error', 'page', error.error().stack ?? String(error.error())));
  context.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? 'no reason was given';
    const level = reason === ABORTED ? 'debug' : 'warning';
    say(level, 'network', `${request.method()} ${request.url()} failed: ${reason}`);
  });
  const watchPage = (page) => {
    page.on('framenavigated', (frame) => {
      if (frame === page.mainFrame() && frame.url() !== 'about:blank') {
        say('info', 'callboard', `The page is at ${frame.url()}`);
      }
    });
    page.on('crash', () => say('error', 'page', `The page at ${page.url()} has crashed.`));
    page.on('download', (download) => downloads?.keep(download));
  };
  context.on('page', watchPage);
  context.pages().forEach(watchPage);
}

/** Keeps what pages download in a folder, under the names that sites suggest. */
class Downloads {
  /** @param {string} folder It is made for the first one. @param {Say} say */
  constructor(folder, say) {
    this._folder = folder;
    this._say = say;
    /** @type {Promise<void>[]} */
    this._kept = [];
  }

  /** Keep a download as soon as it has ended. @param {any} download */
  keep(download) {
    const kept = this._keep(download).catch((error) => {
      this._say('warning', 'callboard', `Not kept: ${download.suggestedFilename()} (${error.message})`);
    });
    this._kept.push(kept);
  }

  async _keep(download) {
    const made = await download.path();
    fs.mkdirSync(this._folder, { recursive: true });
    const { name, ext } = path.parse(download.suggestedFilename().replace(/[/\\\p{Cc}]/gu, '_'));
    for (let number = 1; ; number++) {
      try {
        const target = `${name || 'download'}${number === 1 ? '' : `-${number}`}${ext}`;
        fs.copyFileSync(made, path.join(this._folder, target), fs.constants.COPYFILE_EXCL);
        return;
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      }
    }
  }

  /** Wait until all are kept, at most so many milliseconds. @param {number} within */
  async wait(within) {
    await Promise.race([Promise.all(this._kept), new Promise((resolve) => setTimeout(resolve, within).unref())]);
  }
}

module.exports = { Downloads, watch };
