'use strict';
/**
 * Have V8 compile what each process of user code loads, and keep that: `node fill_cache.js CLIENT`, with the folder for
 * it in NODE_COMPILE_CACHE.
 */

const module_ = require('node:module');

if (typeof module_.registerHooks !== 'function') {
  process.stderr.write(`It is Node.js ${process.versions.node}\n`);
  process.exit(1);
}
process.on('uncaughtException', (error) => {
  process.stderr.write(`${error}\n`); // Node.js itself would say its version last
  process.exit(1);
});
require('./user_process.js');
const { Connection } = require(process.argv[2]);
new Connection();
module_.flushCompileCache();
