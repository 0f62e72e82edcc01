'use strict';
/** What user code imports from the runtime (docs/contract.md, section 3.4), in Callboard's own implementation. */

const { deleteAttribute, setAttribute } = require('./attributes.js');
const {
  extendPayload,
  extendTimeout,
  getAuthSessionParameters,
  getExecutionContext,
  RunError,
} = require('./helpers.js');
const { attemptStore, persistentStore } = require('./stores.js');

module.exports = {
  RunError,
  attemptStore,
  deleteAttribute,
  extendPayload,
  extendTimeout,
  getAuthSessionParameters,
  getExecutionContext,
  persistentStore,
  setAttribute,
  ...require('./platform.js'),
};
