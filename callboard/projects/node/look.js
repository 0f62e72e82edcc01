// Looks whether compiled code has a function to call: `node look.js ORDER`, in a box, as this executes the code.
//
// ORDER is a file with JSON: `folder`, and `functions`, which are files in it without their suffix. Prints a line of JSON
// with `of`, the function, before each is loaded, and another one afterwards: its default export is of the `type`, or it
// has thrown an `error`. What the user process provides is replaced by stand-ins that answer to everything.
'use strict';
const fs = require('fs');
const Module = require('module');
const path = require('path');

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const PROVIDED = /^(playwright|playwright-core|@playwright\/test|@(intuned|callboard)\/runtime)(\/|$)/;

const anything = new Proxy(function () {}, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => '' : name === 'then' ? undefined : anything),
  apply: () => anything,
  construct: () => anything,
});
const load = Module._load;
Module._load = function (request, ...rest) {
  return PROVIDED.test(request) ? anything : load.call(this, request, ...rest);
};

function say(value) {
  fs.writeSync(1, JSON.stringify(value) + '\n');
}

process.stdout.write = process.stderr.write = () => true;
process.on('unhandledRejection', () => {});
for (const of of order.functions) {
  say({ of });
  try {
    const loaded = require(path.join(order.folder, `${of}.cjs`));
    say({ of, type: typeof (loaded && 'default' in Object(loaded) ? loaded.default : loaded) });
  } catch (error) {
    say({ of, error: error instanceof Error ? `${error.name}: ${error.message}` : String(error) });
  }
}
process.reallyExit(0);
