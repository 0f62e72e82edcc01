'use strict';
/** What user code imports from Callboard beside `@intuned/runtime` (docs/contract.md, section 3.4). */

module.exports = {
  ...require('./authenticator.js'),
  ...require('./errors.js'),
  ...require('./handoffs.js'),
};
