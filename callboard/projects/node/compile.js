// Compiles the functions of a project in TypeScript: `node compile.js ORDER`, in a box, as it reads what a project says.
//
// ORDER is a file with JSON: `root`, the project's files; `entries`, by function the file that it is in, below `root`;
// `target`, the folder for what is made; `tools`, the folder with esbuild; `ours`, the folder with Callboard's own
// packages for user code. Nothing of the project is executed here.
//
// Prints JSON: `errors` and `warnings`, each with `text`, `file`, `line` and `column`, which may be null.
'use strict';
const fs = require('fs');
const path = require('path');

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const esbuild = require(require.resolve('esbuild', { paths: [order.tools] }));

/** What the user process has itself, and a package of ours that is compiled into the code that uses it. */
const PROVIDED = /^(playwright|playwright-core|@playwright\/test|@(intuned|callboard)\/runtime)(\/|$)/;
const COMPILED = /^@intuned\/browser(\/|$)/;

const packages = {
  name: 'packages',
  setup(build) {
    build.onResolve({ filter: PROVIDED }, (args) => ({ path: args.path, external: true }));
    build.onResolve({ filter: COMPILED }, (args) => resolveFrom(build, args, order.ours));
    build.onResolve({ filter: /^[^./]/ }, (args) =>
      args.importer.startsWith(order.ours + path.sep) ? resolveFrom(build, args, order.tools) : undefined,
    );
  },
};

/** Resolves an import as if it stood in a file of this folder. Its `node_modules` need not be called so. */
async function resolveFrom(build, args, folder) {
  if (args.pluginData === 'resolved') return undefined;
  const found = await build.resolve(args.path, { resolveDir: folder, kind: args.kind, pluginData: 'resolved' });
  return found.errors.length > 0 ? { errors: found.errors } : { path: found.path, sideEffects: found.sideEffects };
}

async function main() {
  const made = await esbuild.build({
    absWorkingDir: order.root,
    entryPoints: Object.entries(order.entries).map(([out, file]) => ({ in: path.join(order.root, file), out })),
    outdir: order.target,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    charset: 'utf8',
    // Names are kept as they are: the helper that keeps them by force is not there in pages, where functions are sent.
    keepNames: false,
    sourcemap: 'external',
    sourcesContent: false,
    plugins: [packages],
    logLevel: 'silent',
    write: false,
  });
  const maps = new Map();
  for (const file of made.outputFiles) if (file.path.endsWith('.map')) maps.set(file.path, JSON.parse(file.text));
  for (const file of made.outputFiles) {
    if (file.path.endsWith('.map')) continue;
    const map = maps.get(file.path + '.map');
    map.sources = map.sources.map((source) => shortened(path.resolve(path.dirname(file.path), source)));
    const inline = Buffer.from(JSON.stringify(map)).toString('base64');
    fs.mkdirSync(path.dirname(file.path), { recursive: true });
    fs.writeFileSync(file.path, `${file.text}//# sourceMappingURL=data:application/json;base64,${inline}\n`);
  }
  return made;
}

/** The path of a source as people are told it: below the project, or that of a package. */
function shortened(source) {
  for (const folder of [order.root, order.ours, order.tools]) {
    if (source.startsWith(folder + path.sep)) return path.relative(folder, source);
  }
  return source;
}

function told(message) {
  const place = message.location;
  const file = place && shortened(path.resolve(order.root, place.file));
  return { text: message.text, file, line: place && place.line, column: place && place.column };
}

main()
  .catch((error) => {
    if (!Array.isArray(error.errors)) throw error;
    return error;
  })
  .then((made) => {
    process.stdout.write(JSON.stringify({ errors: made.errors.map(told), warnings: made.warnings.map(told) }) + '\n');
  });
