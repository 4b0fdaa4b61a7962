'use strict';

// Tests that better-sqlite3 13 passes, too: what its Database does (__test__/handle), and what query builders and ORMs do on it
// (__test__/orm). They run on better-sqlite3 under the Node 22 that it needs, on candlestore, and on candlestore under
// that Node 22. What they need is installed in their folders when it is first needed, so that installing the package itself
// stays light; nothing is compiled. `node scripts/reference.js [handle] [orm] [-- jest arguments]`.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const root = path.join(__dirname, '..');
const windows = process.platform === 'win32';
const folderOf = (name) => path.join(root, '__test__', name);
const node22 = path.join(folderOf('handle'), 'node_modules', 'node', 'bin', windows ? 'node.exe' : 'node');

/** What npm is to do besides, by folder: the package `node` fetches its program by a script, and nothing else needs one. */
const FOLDERS = { handle: [], orm: ['--ignore-scripts'] };

function install(name) {
  const folder = folderOf(name);
  const read = (...file) => JSON.parse(fs.readFileSync(path.join(folder, ...file), 'utf8'));
  const isThere = ([wanted, version]) => {
    const manifest = path.join(folder, 'node_modules', wanted, 'package.json');
    return fs.existsSync(manifest) && read('node_modules', wanted, 'package.json').version === version;
  };
  const isWhole = () =>
    Object.entries(read('package.json').dependencies).every(isThere) &&
    (name !== 'handle' || fs.existsSync(node22));
  if (isWhole()) return;
  process.stdout.write(`Installing what __test__/${name} compares with (once, it is downloaded)\n`);
  spawnSync(windows ? 'npm.cmd' : 'npm', ['ci', '--no-audit', '--no-fund', ...FOLDERS[name]], {
    cwd: folder,
    stdio: 'inherit',
    shell: windows,
  });
  if (!isWhole()) throw new Error(`__test__/${name} could not be installed: the network is needed once`);
}

/** Whether the tests of a folder pass. */
function passes(name, node, provider, args) {
  const jest = path.join(root, 'node_modules', 'jest', 'bin', 'jest.js');
  process.stderr.write(
    `\n${name}: ${provider} under ${node === node22 ? 'Node 22' : `Node ${process.version}`}\n`,
  );
  const run = [jest, '-c', path.join(folderOf(name), 'jest.config.js'), ...args];
  return (
    spawnSync(node, run, { cwd: root, stdio: 'inherit', env: { ...process.env, PROVIDER: provider } })
      .status === 0
  );
}

const at = process.argv.indexOf('--');
const names = process.argv.slice(2, at < 0 ? undefined : at);
const args = at < 0 ? [] : process.argv.slice(at + 1);
const wanted = names.length > 0 ? names : Object.keys(FOLDERS);
// The Node 22 of one folder is the other's, too.
for (const name of new Set(['handle', ...wanted])) install(name);
const outcomes = wanted.flatMap((name) => [
  passes(name, node22, 'better-sqlite3', args),
  passes(name, process.execPath, 'candlestore', args),
  passes(name, node22, 'candlestore', args),
]);
process.exitCode = outcomes.every(Boolean) ? 0 : 1;
