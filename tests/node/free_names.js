'use strict';
// Prints, as JSON, the names that a script uses and nobody declares: `node --expose-internals free_names.js SCRIPT`.
// The parser is the one in Node's own debugger and loader.
const acorn = require('internal/deps/acorn/acorn/dist/acorn');
const walk = require('internal/deps/acorn/acorn-walk/dist/walk');
const fs = require('node:fs');

const known = [...Object.getOwnPropertyNames(globalThis), 'require', 'module', 'exports', '__dirname', 'arguments', 'undefined'];
const declared = new Set(known);
const used = new Set();
walk.full(acorn.parse(fs.readFileSync(process.argv[2], 'utf8'), { ecmaVersion: 'latest' }), (node, _, type) => {
  if (type === 'VariablePattern') declared.add(node.name);
  else if (node.type === 'Identifier') used.add(node.name);
  else if (/Function|Class/.test(node.type) && node.id) declared.add(node.id.name);
});
process.stdout.write(JSON.stringify([...used].filter((name) => !declared.has(name))));
