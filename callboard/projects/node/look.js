// Looks whether compiled code has a function to call: `node look.js ORDER`, in a box, as this executes the code.
//
// ORDER is a file with JSON: `folder`; `functions`, which are files in it without their suffix; `modules`, the folder that
// has `node_modules` for them, or null; `reader`, the module that reads schemas of parameters; and `tools`, the folder with
// what that needs. Prints a line of JSON with `of`, the function, before each is loaded, and another one afterwards: its
// default export is of the `type`, or it has thrown an `error`. That of an API has, as `parameters`, a line as
// `callboard_runtime.input_schemas` prints it. What the user process provides is replaced by stand-ins that answer to
// everything.
'use strict';
const fs = require('fs');
const Module = require('module');
const path = require('path');

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const { parametersSchema } = require(order.reader);
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
const beside = order.modules && Module.createRequire(path.join(order.modules, 'compiled.cjs'));
const resolve = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  const isPackage = beside && !/^[./]|^node:/.test(request) && parent?.filename?.startsWith(order.folder + path.sep);
  return isPackage ? beside.resolve(request) : resolve.call(this, request, parent, ...rest);
};

// Not descriptor 1 itself: once `process.stdout` is there, what does not fit into the pipe would be lost.
const output = fs.openSync('/proc/self/fd/1', 'w');

function say(value) {
  fs.writeSync(output, JSON.stringify(value) + '\n');
}

/** Return what an API takes and returns, as a line of `callboard_runtime.input_schemas`. */
function schemasOf(exported) {
  const parameters = told('schema', 'problem', () => parametersSchema(exported, order.tools));
  return JSON.stringify({ ...parameters, ...told('result', 'resultProblem', () => exported?.resultSchema) });
}

/** Return a schema under its name, or why there is none. */
function told(name, problem, find) {
  try {
    return { [name]: JSON.parse(JSON.stringify(find() ?? null)) };
  } catch (error) {
    return { [problem]: error instanceof Error ? error.message : String(error) };
  }
}

process.stdout.write = process.stderr.write = () => true;
process.on('unhandledRejection', () => {});
for (const of of order.functions) {
  say({ of });
  try {
    const loaded = require(path.join(order.folder, `${of}.cjs`));
    const type = typeof (loaded && 'default' in Object(loaded) ? loaded.default : loaded);
    say({ of, type, parameters: of.startsWith('api/') ? schemasOf(loaded) : null });
  } catch (error) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    say({ of, error: text.slice(0, 1000).toWellFormed() });
  }
}
process.reallyExit(0);
