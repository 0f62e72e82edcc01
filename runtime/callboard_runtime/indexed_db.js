'use strict';
/**
 * What is done with IndexedDB in pages, for a login that keeps it (docs/contract.md, section 4.5).
 *
 * Both languages use this file. Each function is executed in a page alone, and refers to nothing outside of itself.
 */

/**
 * Write databases as Playwright's `storageState({ indexedDB: true })` tells them.
 *
 * `setStorageState` could do that, too, but it first removes all else that a context holds, and waits for ever for a
 * database that a page has open.
 * @param {string} text JSON text of an origin and its databases.
 */
async function fillDatabases(text) {
  const [origin, databases] = JSON.parse(text);
  if (new URL(origin).origin !== globalThis.origin) throw new Error(`${origin} is no origin`);
  const arrays = {
    ...{ i8: Int8Array, ui8: Uint8Array, ui8c: Uint8ClampedArray, i16: Int16Array, ui16: Uint16Array, i32: Int32Array },
    ...{ ui32: Uint32Array, f32: Float32Array, f64: Float64Array, bi64: BigInt64Array, bui64: BigUint64Array },
  };
  const numbers = { null: null, NaN: NaN, Infinity: Infinity, '-Infinity': -Infinity, '-0': -0 };
  const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer;

  /** Return what Playwright has encoded, as JSON cannot hold it. `known` are the objects that later ones refer to. */
  function decoded(value, known = new Map()) {
    const inner = (part) => decoded(part, known);
    const keep = (made) => {
      known.set(value.id, made);
      return made;
    };
    if (typeof value !== 'object' || value === null) return value;
    if ('ref' in value) return known.get(value.ref);
    if ('v' in value) return numbers[value.v];
    if ('d' in value) return new Date(value.d);
    if ('bi' in value) return BigInt(value.bi);
    if ('r' in value) return new RegExp(value.r.p, value.r.f);
    if ('e' in value) return Object.assign(new Error(value.e.m), { name: value.e.n, stack: value.e.s });
    if ('ta' in value) return new arrays[value.ta.k](bytes(value.ta.b));
    if ('ab' in value) return bytes(value.ab.b);
    if ('a' in value) {
      const list = keep([]);
      for (const item of value.a) list.push(inner(item));
      return list;
    }
    if ('m' in value) {
      const map = keep(new Map());
      for (const { k, v } of value.m) map.set(inner(k), inner(v));
      return map;
    }
    if ('s' in value) {
      const set = keep(new Set());
      for (const item of value.s) set.add(inner(item));
      return set;
    }
    const object = keep({});
    for (const { k, v } of value.o) if (k !== '__proto__') object[k] = inner(v);
    return object;
  }

  /** Return the result of a request, or of a transaction, which has none. */
  function done(request, name) {
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Error(`database ${name}: ${request.error?.message}`));
      request.onsuccess = request.oncomplete = () => resolve(request.result);
      request.onerror = request.onabort = fail;
      request.onblocked = () => reject(new Error(`database ${name}: a page has it open already`));
    });
  }

  for (const { name, version, stores } of databases) {
    await done(indexedDB.deleteDatabase(name), name); // Of another login with the same database, no record may stay.
    const opening = indexedDB.open(name, version);
    opening.onupgradeneeded = () => {
      for (const { name: store, keyPath, keyPathArray, autoIncrement, indexes } of stores) {
        const made = opening.result.createObjectStore(store, { autoIncrement, keyPath: keyPathArray ?? keyPath ?? null });
        for (const each of indexes) {
          made.createIndex(each.name, each.keyPathArray ?? each.keyPath, { unique: each.unique, multiEntry: each.multiEntry });
        }
      }
    };
    const database = await done(opening, name);
    try {
      if (!stores.length) continue;
      const transaction = database.transaction(stores.map((store) => store.name), 'readwrite');
      const written = done(transaction, name);
      for (const { name: store, records } of stores) {
        for (const record of records) {
          const value = 'value' in record ? record.value : decoded(record.valueEncoded);
          const key = 'key' in record ? record.key : decoded(record.keyEncoded);
          transaction.objectStore(store).add(value, key);
        }
      }
      await written;
    } finally {
      database.close();
    }
  }
}

/**
 * Return what Playwright does not keep of the databases: it makes an empty object of each such value, without a word.
 * @param {{most: number, milliseconds: number}} limits Most entries, and the time after which no further value is read.
 * @returns {Promise<{found: [string, string, string][], all: boolean}>} Names of databases and stores, and kinds of
 *   values in them; and whether all has been read.
 */
async function findUnkept({ most, milliseconds }) {
  const end = performance.now() + milliseconds;
  const kept = ['Object', 'Array', 'Date', 'RegExp', 'Map', 'Set', 'Error', 'ArrayBuffer'];
  const found = new Map();
  const done = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  /** Yield the kinds of what a value holds that is not kept. */
  function* unkept(value, seen = new Set()) {
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    const kind = Object.prototype.toString.call(value).slice(8, -1);
    if (kind === 'DataView' || !(kept.includes(kind) || ArrayBuffer.isView(value))) yield kind;
    else if (value instanceof Map) for (const pair of value) yield* unkept(pair, seen);
    else if (value instanceof Set) for (const item of value) yield* unkept(item, seen);
    else if (kind === 'Object' || kind === 'Array') for (const item of Object.values(value)) yield* unkept(item, seen);
  }

  for (const { name } of await indexedDB.databases()) {
    const database = await done(indexedDB.open(name));
    try {
      for (const store of database.objectStoreNames) {
        const reading = database.transaction(store).objectStore(store).openCursor();
        for (let cursor = await done(reading); cursor !== null; cursor = await done(reading)) {
          for (const kind of unkept(cursor.value)) found.set(JSON.stringify([name, store, kind]), [name, store, kind]);
          if (found.size > most || performance.now() > end) return { found: [...found.values()].slice(0, most), all: false };
          cursor.continue();
        }
      }
    } finally {
      database.close();
    }
  }
  return { found: [...found.values()], all: true };
}

module.exports = { fillDatabases, findUnkept };
