'use strict';
/**
 * Messages to and from the supervisor over a socket: four bytes of length, big-endian, then one JSON object.
 *
 * This is the other end of `callboard/machines/runner/channel.py`. A request has a number, and so has the message of
 * the type `answer` that answers it.
 */

const LENGTH = 4;

/** @typedef {{type: string, [field: string]: any}} Message */

/** One end of the connection. */
class Channel {
  /**
   * @param {import('node:net').Socket} socket A connected socket, which this takes over.
   * @param {() => void} ended Is called once the other side is gone.
   */
  constructor(socket, ended) {
    this._socket = socket;
    /** @type {Buffer} */
    this._pending = Buffer.alloc(0);
    this._numbers = 0;
    /** @type {Map<number, (answer: Message) => void>} */
    this._open = new Map();
    /** Is called with each message that answers nothing. @type {(message: Message) => void} */
    this.onmessage = () => {};
    this._socket.on('data', (data) => this._take(data));
    this._socket.on('error', ended);
    this._socket.on('close', ended);
  }

  /**
   * Queue a message; it is written as soon as the socket accepts it.
   * @param {string} type
   * @param {object} [fields]
   */
  post(type, fields) {
    const body = Buffer.from(JSON.stringify({ type, ...fields }));
    const message = Buffer.allocUnsafe(LENGTH + body.length);
    message.writeUInt32BE(body.length);
    body.copy(message, LENGTH);
    this._socket.write(message);
  }

  /**
   * Send a request, and return the message that answers it.
   * @param {string} type
   * @param {object} [fields]
   * @returns {Promise<Message>}
   */
  ask(type, fields) {
    const number = ++this._numbers;
    return new Promise((resolve) => {
      this._open.set(number, resolve);
      this.post(type, { number, ...fields });
    });
  }

  /** @param {Buffer} data */
  _take(data) {
    this._pending = this._pending.length ? Buffer.concat([this._pending, data]) : data;
    while (this._pending.length >= LENGTH) {
      const end = LENGTH + this._pending.readUInt32BE(0);
      if (this._pending.length < end) return;
      const message = JSON.parse(this._pending.toString('utf8', LENGTH, end));
      this._pending = this._pending.subarray(end);
      const answered = message.type === 'answer' ? this._open.get(message.number) : undefined;
      if (answered) {
        this._open.delete(message.number);
        answered(message);
      } else {
        this.onmessage(message);
      }
    }
  }
}

module.exports = { Channel };
