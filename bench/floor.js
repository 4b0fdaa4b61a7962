'use strict';

// How fast the same rows can be read by Rust alone (examples/read_floor.rs): what is left of a read when JavaScript has
// no part in it. Where it cannot be built, nothing is told.

const { execFile, spawnSync } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { TABLE, SYMBOLS } = require('./candles.js');

const ROOT = path.join(__dirname, '..');
const ROUNDS = 200;
const NAME = process.platform === 'win32' ? 'read_floor.exe' : 'read_floor';

class Floor {
  #program = null;

  /** Builds the example, where there is a cargo that can. */
  build() {
    const built = spawnSync(
      'cargo',
      ['build', '--locked', '--release', '--no-default-features', '--example', 'read_floor'],
      { cwd: ROOT, stdio: 'ignore' },
    );
    if (built.status === 0)
      this.#program = path.join(
        process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'),
        'release',
        'examples',
        NAME,
      );
  }

  get built() {
    return this.#program !== null;
  }

  /** How often a second the newest so many rows of this file can be read. */
  async rate(file, limit) {
    const { stdout } = await promisify(execFile)(this.#program, [
      file,
      TABLE,
      SYMBOLS[0],
      String(limit),
      String(ROUNDS),
    ]);
    return 1e6 / JSON.parse(stdout).medianUs;
  }
}

module.exports = { Floor };
