'use strict';

// A folder of its own for each test file, removed when its tests are done.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

let folder = null;
let count = 0;

/** A new empty folder. */
function scratch() {
  folder ??= fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-test-'));
  const made = path.join(folder, String((count += 1)));
  fs.mkdirSync(made);
  return made;
}

afterAll(() => {
  if (folder !== null) fs.rmSync(folder, { recursive: true, force: true });
});

module.exports = { scratch };
