'use strict';

// Installs better-sqlite3 for bench/original, where comparisons and a few tests need it. It has a folder of its own
// because it is a native library of its own: compiling it takes a minute or two, and nobody who only uses candlestore
// should have to.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const folder = path.join(__dirname, '..', 'bench', 'original');
const probe = ['-e', 'new (require("better-sqlite3"))(":memory:").close()'];

if (spawnSync(process.execPath, probe, { cwd: folder }).status !== 0) {
  process.stdout.write(
    'Installing better-sqlite3 in bench/original (once, it may take two minutes to compile)\n',
  );
  const windows = process.platform === 'win32';
  const install = spawnSync(windows ? 'npm.cmd' : 'npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: 'inherit',
    shell: windows,
  });
  if (install.status !== 0) {
    process.stderr.write(
      'better-sqlite3 could not be installed: it needs a C++ compiler, make, Python 3 and the headers of this Node ' +
        '(found by node-gyp, or in the folder that the environment variable npm_config_nodedir names)\n',
    );
  }
  process.exitCode = install.status ?? 1;
}
