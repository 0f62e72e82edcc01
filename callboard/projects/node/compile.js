// Compiles the functions of a project in TypeScript: `node compile.js ORDER`, in a box, as it reads what a project says.
//
// ORDER is a file with JSON: `root`, the project's files; `entries`, by function the file that it is in, below `root`;
// `target`, the folder for what is made; `tools`, the folder with esbuild; `ours`, the folder with Callboard's own
// packages for user code; `modules`, the `node_modules` with the project's packages, or null; and `local`, whether the
// code stays on this host, where debuggers look for its sources. Nothing of the project is executed here.
//
// Prints JSON: `errors` and `warnings`, each with `text`, `file`, `line` and `column`, which may be null; and `outside`,
// the packages that are not compiled into the functions.
'use strict';
const fs = require('fs');
const path = require('path');

const order = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const esbuild = require(require.resolve('esbuild', { paths: [order.tools] }));

/** What the user process has itself. Other packages of ours are compiled into the code that uses them. */
const PROVIDED = /^(playwright|playwright-core|@playwright\/test|@(intuned|callboard)\/runtime)(\/|$)/;
/** What `@intuned/browser` brings where it comes from a registry, so that projects import it without naming it. */
const BROUGHT = /^zod(\/|$)/;
/** Whether the project has one of its own. That is never mixed with ours, as far as it lacks what is imported. */
const hasOwn = order.modules !== null && fs.existsSync(path.join(order.modules, 'zod'));
/** What code says that looks for files beside itself, or for modules whose names only it knows. */
const LOOKS_BESIDE = /\b(__dirname|__filename|import\.meta\.(url|dirname|filename)|require\.resolve|createRequire)\b|\brequire\((?!\s*["'`])/;
const CODE = /\.[cm]?[jt]sx?$/;
/** What names the folder of the compiled file, and not that of the source. esbuild itself warns of `import.meta`. */
const OWN_PLACE = /\b__(?:dirname|filename)\b/;
/** Most characters of a message: it may have a text of the project of any length. */
const MOST_TOLD = 1000;

/** Packages at the top of `modules` that stay outside, with all that they require. */
const outside = new Set();

const packages = {
  name: 'packages',
  setup(build) {
    build.onResolve({ filter: PROVIDED }, (args) => ({ path: args.path, external: true }));
    build.onResolve({ filter: /^[^./]/ }, async (args) => {
      if (args.pluginData === 'resolved') return undefined;
      if (args.importer.startsWith(order.ours + path.sep)) return resolveInTools(build, args);
      const isBrought = !hasOwn && BROUGHT.test(args.path) && packageOf(args.importer) === undefined;
      if (isBrought) return resolveInTools(build, args);
      if (outside.size === 0) return undefined;
      const found = await build.resolve(args.path, { resolveDir: args.resolveDir, kind: args.kind, pluginData: 'resolved' });
      return outside.has(packageOf(found.path)) ? { path: args.path, external: true } : undefined;
    });
    // Native code cannot be compiled into anything.
    build.onLoad({ filter: /\.node$/ }, () => ({ contents: '', loader: 'empty' }));
  },
};

/** Resolves an import among the tools, which have the libraries that our own packages use. */
async function resolveInTools(build, args) {
  const found = await build.resolve(args.path, { resolveDir: order.tools, kind: args.kind, pluginData: 'resolved' });
  const { path, external, sideEffects, errors } = found;
  return errors.length > 0 ? { errors } : { path, external, sideEffects };
}

/** The package at the top of `modules` that a file belongs to, or that requires the one that it belongs to. */
function packageOf(file) {
  if (order.modules === null || !file.startsWith(order.modules + path.sep)) return undefined;
  const [first, second] = path.relative(order.modules, file).split(path.sep);
  return first.startsWith('@') ? `${first}/${second}` : first;
}

function build() {
  return esbuild.build({
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
    loader: { '.css': 'empty', '.module.css': 'empty' }, // there is no page to apply a stylesheet to
    sourcemap: 'external',
    sourcesContent: false,
    nodePaths: [order.ours, ...(order.modules === null ? [] : [order.modules])],
    plugins: [packages],
    logLevel: 'silent',
    metafile: true,
    write: false,
  });
}

/** Adds to `outside` what must be there, given the files that were compiled. Returns whether there is any. */
function findOutside(inputs) {
  for (const input of inputs) {
    const file = path.resolve(order.root, input);
    const name = packageOf(file);
    if (name === undefined || outside.has(name)) continue;
    const folder = path.join(order.modules, name);
    const isNative = fs.existsSync(path.join(folder, 'binding.gyp')) || file.endsWith('.node');
    if (isNative || (CODE.test(file) && LOOKS_BESIDE.test(fs.readFileSync(file, 'utf8')))) addOutside(name);
  }
  return outside.size > 0;
}

/** Adds a package with all that it requires: nothing is to be loaded twice, once compiled and once from its files. */
function addOutside(name) {
  const file = path.join(order.modules, name, 'package.json');
  if (outside.has(name) || !fs.existsSync(file)) return;
  outside.add(name);
  const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(fs.readFileSync(file, 'utf8'));
  for (const other of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) addOutside(other);
}

async function main() {
  let made = await build();
  if (findOutside(Object.keys(made.metafile.inputs))) made = await build();
  const maps = new Map();
  for (const file of made.outputFiles) if (file.path.endsWith('.map')) maps.set(file.path, JSON.parse(file.text));
  for (const file of made.outputFiles) {
    if (file.path.endsWith('.map')) continue;
    const map = maps.get(file.path + '.map');
    // A version has the file below `.callboard`, beside the sources.
    const beside = path.join('.callboard', path.dirname(path.relative(order.target, file.path)));
    if (!order.local) {
      map.sources = map.sources.map((source) =>
        path.relative(beside, shortened(path.resolve(path.dirname(file.path), source))),
      );
    }
    const inline = Buffer.from(JSON.stringify(map)).toString('base64');
    fs.mkdirSync(path.dirname(file.path), { recursive: true });
    fs.writeFileSync(file.path, `${file.text}//# sourceMappingURL=data:application/json;base64,${inline}\n`);
  }
  return { ...made, warnings: [...made.warnings, ...misplaced(Object.keys(made.metafile.inputs))] };
}

/** The path of a source as people are told it: below the project, or that of a package. */
function shortened(source) {
  const { root, ours, tools, modules } = order;
  if (modules !== null && source.startsWith(modules + path.sep)) return path.relative(path.dirname(modules), source);
  const folder = [root, ours, tools].find((each) => source.startsWith(each + path.sep));
  return folder === undefined ? source : path.relative(folder, source);
}

/** Warnings about code of the project that looks for files beside itself, which it does not find. */
function* misplaced(inputs) {
  for (const input of inputs) {
    const file = path.resolve(order.root, input);
    if (!file.startsWith(order.root + path.sep) || !CODE.test(file)) continue;
    const lines = fs.readFileSync(file, 'utf8').split('\n');
    const line = lines.findIndex((text) => OWN_PLACE.test(text)) + 1;
    const text = 'its folder is another one once it is compiled: read files by their path in the project';
    if (line > 0) yield { text, location: { file: input, line, column: 0 } };
  }
}

function told(message) {
  const place = message.location;
  const file = place && shortened(path.resolve(order.root, place.file));
  const text = message.text.slice(0, MOST_TOLD).toWellFormed();
  return { text, file, line: place && place.line, column: place && place.column };
}

main()
  .catch((error) => {
    if (!Array.isArray(error.errors)) throw error;
    return error;
  })
  .then(({ errors, warnings }) => {
    // What the authors of packages could do better is not for the author of the project.
    const own = warnings.map(told).filter((warning) => !/^(node_modules|@intuned)\//.test(warning.file));
    process.stdout.write(JSON.stringify({ errors: errors.map(told), warnings: own, outside: [...outside] }) + '\n');
  });
