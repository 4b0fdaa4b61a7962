'use strict';

// Files for the sides, made outside the clock: a file of each content is filled once, by the side whose schema it has,
// and copied for each use. "new" is a side's own schema; "old" is that of the code replaced, with its second index.
// Who has filled a file has closed it before another opens it or a copy of it.

const fs = require('node:fs');
const path = require('node:path');
const { SIDES } = require('./sides.js');
const { batchesOf, writeAll } = require('./candles.js');

/** What a file may hold before a comparison: batches for it. */
const CONTENTS = {
  empty: () => [],
  plain: () => batchesOf(10_000),
  levels: () => batchesOf(1000, 30),
  million: () => batchesOf(100_000),
};

class Files {
  #folder;
  #made = new Map();
  #copies = 0;

  constructor(folder) {
    this.#folder = folder;
  }

  /** The path of a file in a folder of its own, for one user. */
  async copy(side, schema, content) {
    const folder = path.join(this.#folder, `use-${(this.#copies += 1)}`);
    fs.mkdirSync(folder);
    const file = path.join(folder, 'candles.db');
    // A side makes the empty file of its own schema when it opens it.
    if (content !== 'empty' || schema === 'old')
      fs.copyFileSync(await this.#filled(schema === 'old' ? 'orig' : side, content), file);
    return file;
  }

  drop(file) {
    fs.rmSync(path.dirname(file), { recursive: true });
  }

  async #filled(side, content) {
    const name = `${side}-${content}`;
    if (!this.#made.has(name)) {
      const file = path.join(this.#folder, `${name.replace(' ', '-')}.db`);
      const store = SIDES[side](file);
      writeAll(store, CONTENTS[content]());
      // The last one to close copies the log into the file, so the file alone is everything.
      await store.close();
      this.#made.set(name, file);
    }
    return this.#made.get(name);
  }
}

module.exports = { Files };
