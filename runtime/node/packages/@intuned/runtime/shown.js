'use strict';
const { inspect } = require('node:util');

/** Return a value for a message of an error, on one line and not too long. */
function shown(value) {
  return inspect(value, { breakLength: Infinity, depth: 2, maxStringLength: 100 }).slice(0, 100);
}

module.exports = { shown };
