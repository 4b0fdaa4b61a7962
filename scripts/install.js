'use strict';

// npm's install script: makes sure that a native binary that fits this machine is there.
// It builds only where it must, with cargo in release mode, or says in one sentence what is missing.
// It downloads nothing itself, and it needs nothing but Node: dependencies may not be installed when it runs.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const lib = path.join(root, 'lib');
const loader = path.join(lib, 'binding.js');
const installed = path.basename(path.dirname(root)) === 'node_modules';
// In a clone this script belongs to `npm install` itself.
const again = installed ? 'npm rebuild candlestore' : 'npm install';
const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));

/** A reason the user can do something about: one sentence, no stack. */
class Missing extends Error {}

function main() {
  requireNode();
  if (process.env.CANDLESTORE_NATIVE_PATH) return;
  if (misfit() === null) return;
  requireRust();
  requireCompiler();
  if (fs.existsSync(path.join(root, 'node_modules', '@napi-rs', 'cli'))) buildWithNapi();
  else buildWithCargo();
  const reason = misfit();
  if (reason !== null) throw new Missing(`candlestore was built, but ${reason}`);
}

function requireNode() {
  const wanted = manifest.engines.node.match(/\d+/)[0];
  if (Number(process.versions.node.split('.')[0]) >= Number(wanted)) return;
  throw new Missing(
    `candlestore needs Node ${wanted} or newer and this is Node ${process.versions.node}: ` +
      `install a newer one from https://nodejs.org and run \`${again}\``,
  );
}

/** Why the binary that is there cannot be used, or null if it can. */
function misfit() {
  const binary = path.join(lib, binaryName());
  if (!fs.existsSync(binary)) return `${binary} is not there`;
  if (!fs.existsSync(loader)) return `${loader} is not there`;
  const newer = installed ? undefined : newerSource(binary);
  if (newer) return `${newer} is newer than ${binary}`;
  // In a process of its own: a binary for another libc or CPU can end the process that loads it.
  const probe = spawnSync(
    process.execPath,
    ['-e', 'process.stdout.write(require(process.argv[1]).version())', loader],
    { encoding: 'utf8' },
  );
  if (probe.status !== 0) return `${binary} does not load: ${lastLine(probe.stderr) || probe.signal}`;
  if (probe.stdout !== manifest.version)
    return `${binary} is version ${probe.stdout}, not ${manifest.version}`;
  return null;
}

/**
 * A file that the binary is made of and that was changed after it was made. Asked only in a clone: in an installed
 * package the dates are those of unpacking, in any order.
 */
function newerSource(binary) {
  const built = fs.statSync(binary).mtimeMs;
  const files = ['Cargo.toml', 'Cargo.lock', 'build.rs', '.cargo/config.toml'].map((name) =>
    path.join(root, name),
  );
  const src = path.join(root, 'src');
  if (fs.existsSync(src)) {
    for (const entry of fs.readdirSync(src, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) files.push(path.join(entry.parentPath ?? entry.path, entry.name));
  }
  return files.find((file) => fs.existsSync(file) && fs.statSync(file).mtimeMs > built);
}

/** The name that the loader made by `napi build` looks for on this machine. */
function binaryName() {
  const abi = { linux: isMusl() ? '-musl' : '-gnu', win32: '-msvc' }[process.platform] ?? '';
  return `${manifest.napi.binaryName}.${process.platform}-${process.arch}${abi}.node`;
}

function isMusl() {
  return process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime;
}

function requireRust() {
  const toml = fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8');
  const wanted = toml.match(/^rust-version\s*=\s*"([\d.]+)"/m)[1];
  const get = `get it from https://rustup.rs and run \`${again}\``;
  const why = `candlestore has no ready binary for this machine (${binaryName()}) and must be built with Rust ${wanted} or newer`;
  if (spawnSync('cargo', ['--version']).status !== 0)
    throw new Missing(`${why}, but cargo is missing: ${get}`);
  const rustc = spawnSync(process.env.RUSTC || 'rustc', ['--version'], { encoding: 'utf8' });
  const found = rustc.status === 0 && rustc.stdout.match(/^rustc (\d+)\.(\d+)/);
  if (!found) throw new Missing(`${why}, but rustc is missing: ${get}`);
  const [major, minor] = wanted.split('.').map(Number);
  const fits = Number(found[1]) > major || (Number(found[1]) === major && Number(found[2]) >= minor);
  if (!fits)
    throw new Missing(`${why}, but rustc is ${found[1]}.${found[2]}: run \`rustup update\`, or ${get}`);
}

/** SQLite is C and Rust links with the C compiler. On Windows cargo finds Visual Studio by itself and says so. */
function requireCompiler() {
  if (process.platform === 'win32') return;
  const cc = process.env.CC || 'cc';
  if (spawnSync(cc.split(' ')[0], ['--version']).status === 0) return;
  throw new Missing(
    `candlestore has no ready binary for this machine (${binaryName()}) and must be built, but the C compiler ` +
      `${cc} is missing: install one (Debian, Ubuntu: apt install build-essential; Alpine: apk add build-base; ` +
      `macOS: xcode-select --install) and run \`${again}\``,
  );
}

/** In a clone: the napi command line makes the binary and the loader. */
function buildWithNapi() {
  const windows = process.platform === 'win32';
  const build = spawnSync(windows ? 'npm.cmd' : 'npm', ['run', 'build'], {
    cwd: root,
    stdio: 'inherit',
    shell: windows,
  });
  if (build.status !== 0) throw new Missing('`npm run build` failed: its output is above');
}

/** In an installed package: the loader came with it, so cargo is enough. */
function buildWithCargo() {
  if (!fs.existsSync(loader))
    throw new Missing(
      `${loader} is made by the napi command line, which is not installed: run \`npm install\` without leaving out devDependencies`,
    );
  const env = { ...process.env };
  // Rust links musl statically unless told, and a static library cannot be loaded by Node.
  if (isMusl()) env.RUSTFLAGS = `${env.RUSTFLAGS ?? ''} -C target-feature=-crt-static`.trim();
  const build = spawnSync(
    'cargo',
    ['build', '--release', '--locked', '--lib', '--message-format=json-render-diagnostics'],
    { cwd: root, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 256 * 1024 * 1024 },
  );
  if (build.status !== 0) throw new Missing('`cargo build --release --locked` failed: its output is above');
  const built = build.stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter((message) => message.reason === 'compiler-artifact' && message.target.kind.includes('cdylib'))
    .flatMap((message) => message.filenames)
    .find((file) => /\.(so|dylib|dll)$/.test(file));
  // By way of a second name: a process that has the old binary open keeps the old one.
  const binary = path.join(lib, binaryName());
  fs.copyFileSync(built, `${binary}.new`);
  fs.renameSync(`${binary}.new`, binary);
  // Hundreds of megabytes that nobody would look for inside node_modules.
  if (!process.env.CARGO_TARGET_DIR) fs.rmSync(path.join(root, 'target'), { recursive: true, force: true });
}

function lastLine(text) {
  const error = text.split('\n').find((line) => /Error: /.test(line));
  return (error ?? text.trim().split('\n').pop()).trim();
}

try {
  main();
} catch (error) {
  if (!(error instanceof Missing)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
