'use strict';

// scripts/install.js as npm runs it, in copies of the project: where a binary fits it does nothing, and where nothing
// can be built it says why. None of these tests compiles.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { scratch } = require('./support/scratch.js');
const { run } = require('./support/programs.js');

const root = path.join(__dirname, '..');
const binary = fs.readdirSync(path.join(root, 'lib')).find((name) => name.endsWith('.node'));

/** A copy of what the script looks at, where npm would have put it, or as it is in a clone. */
function copy({ withBinary = true, clone = false } = {}) {
  const folder = path.join(scratch(), clone ? 'clone' : 'node_modules', 'candlestore');
  fs.mkdirSync(path.join(folder, 'lib'), { recursive: true });
  fs.mkdirSync(path.join(folder, 'scripts'));
  const files = [
    'package.json',
    'Cargo.toml',
    'Cargo.lock',
    'build.rs',
    'src',
    'scripts/install.js',
    '.cargo',
  ];
  for (const name of files) fs.cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  fs.copyFileSync(path.join(root, 'lib', 'binding.js'), path.join(folder, 'lib', 'binding.js'));
  if (withBinary) fs.copyFileSync(path.join(root, 'lib', binary), path.join(folder, 'lib', binary));
  return folder;
}

/** Runs the script with nothing on the PATH but what `programs` holds. */
function install(folder, { programs = {}, env = {} } = {}) {
  const bin = path.join(folder, 'path');
  fs.mkdirSync(bin);
  for (const [name, text] of Object.entries(programs))
    fs.writeFileSync(path.join(bin, name), text, { mode: 0o755 });
  return run(process.execPath, [path.join(folder, 'scripts', 'install.js')], {
    cwd: folder,
    env: { PATH: bin, HOME: os.homedir(), ...env },
  });
}

const says = (text) => `#!/bin/sh\necho '${text}'\n`;
const MODERN = { cargo: says('cargo 1.999.0'), rustc: says('rustc 1.999.0 (0 2030-01-01)') };

function expectOneSentence({ code, stdout, stderr }) {
  expect(code).toBe(1);
  expect(stdout).toBe('');
  expect(stderr).toMatch(/^[^\n]+\n$/);
  return stderr;
}

test('a binary that fits leaves nothing to do, even without a compiler', async () => {
  const { code, stdout, stderr } = await install(copy());
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '', stderr: '' });
});

test('without cargo it says in one sentence what is missing, how to get it and what to run', async () => {
  const said = expectOneSentence(await install(copy({ withBinary: false })));
  expect(said).toContain('cargo is missing');
  expect(said).toContain('https://rustup.rs');
  expect(said).toContain('npm rebuild candlestore');
});

test('too old a compiler is named with its version and the one that is needed', async () => {
  const [, wanted] = fs
    .readFileSync(path.join(root, 'Cargo.toml'), 'utf8')
    .match(/rust-version = "([\d.]+)"/);
  const programs = { cargo: says('cargo 1.60.0'), rustc: says('rustc 1.60.0 (7737e0b5c 2022-04-04)') };
  const said = expectOneSentence(await install(copy({ withBinary: false }), { programs }));
  expect(said).toContain(`Rust ${wanted} or newer`);
  expect(said).toContain('rustc is 1.60');
  expect(said).toContain('rustup update');
});

test('a missing C compiler is named', async () => {
  const said = expectOneSentence(await install(copy({ withBinary: false }), { programs: MODERN }));
  expect(said).toContain('the C compiler cc is missing');
});

test('a failing build is an error', async () => {
  const programs = { ...MODERN, cc: says('cc 12'), cargo: '#!/bin/sh\n[ "$1" = --version ]\n' };
  const said = expectOneSentence(await install(copy({ withBinary: false }), { programs }));
  expect(said).toContain('cargo build --release --locked');
});

test('too old a Node is named', async () => {
  const folder = copy();
  const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  manifest.engines.node = '>=999';
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify(manifest));
  const said = expectOneSentence(await install(folder));
  expect(said).toContain('needs Node 999 or newer');
  expect(said).toContain(`this is Node ${process.versions.node}`);
});

function touchSource(folder) {
  const later = new Date(Date.now() + 60_000);
  fs.utimesSync(path.join(folder, 'src', 'lib.rs'), later, later);
  return folder;
}

test('in a clone, a binary that is older than a source does not fit', async () => {
  const said = expectOneSentence(await install(touchSource(copy({ clone: true }))));
  expect(said).toContain('cargo is missing');
  expect(said).toContain('`npm install`');
});

test('in an installed package, where dates tell only the order of unpacking, it does', async () => {
  const { code, stderr } = await install(touchSource(copy()));
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});

test('a binary of another version does not fit', async () => {
  const folder = copy();
  const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ ...manifest, version: '99.0.0' }));
  expect(expectOneSentence(await install(folder))).toContain('cargo is missing');
});

test('a binary that cannot be loaded does not fit', async () => {
  const folder = copy();
  fs.writeFileSync(path.join(folder, 'lib', binary), 'made for another machine');
  expect(expectOneSentence(await install(folder))).toContain('cargo is missing');
});

test('CANDLESTORE_NATIVE_PATH leaves nothing to build', async () => {
  const { code, stderr } = await install(copy({ withBinary: false }), {
    env: { CANDLESTORE_NATIVE_PATH: path.join(root, 'lib', binary) },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
});
