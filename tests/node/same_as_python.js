'use strict';
/** The table of what user code in both languages may do; tests/unit/machines/test_same_as_node.py reads it, too. */

const table = require('./same_as_python.json');

/** Return a value of the table with what JSON cannot say in it: objects with a `$`. */
function real(value, around) {
  if (Array.isArray(value)) return value.map((item) => real(item, value));
  if (typeof value !== 'object' || value === null) return value;
  switch (value.$) {
    case undefined: {
      const made = {};
      for (const [key, item] of Object.entries(value)) made[key] = real(item, made);
      return made;
    }
    case 'cycle':
      return around;
    case 'nested':
      return Array.from({ length: value.levels }).reduce((inner) => (inner === undefined ? [] : [inner]), undefined);
    case 'text':
    case 'letters':
      return 'a'.repeat(value.length);
    case 'emoji':
      return '😀'.repeat(value.length);
    case 'texts':
      return Array(value.length).fill('x');
    default:
      return Number(value.$);
  }
}

module.exports = { real, table };
