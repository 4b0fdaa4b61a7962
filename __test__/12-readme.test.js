'use strict';

// The examples of the README are run as a user would: in a folder of their own with the package in node_modules.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const root = path.join(__dirname, '..');
const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8');
const examples = [...readme.matchAll(/^```js\n([^]*?)^```$/gm)].map((match) => match[1]);

describe('the README', () => {
  let folder;

  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-readme-'));
    fs.mkdirSync(path.join(folder, 'node_modules'));
    fs.symlinkSync(root, path.join(folder, 'node_modules', 'candlestore'));
  });

  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

  test('has examples', () => {
    expect(examples.length).toBeGreaterThanOrEqual(3);
  });

  test.each(examples.map((text, place) => [place + 1, text]))('example %i runs to its end', (place, text) => {
    const file = path.join(folder, `example-${place}.js`);
    fs.writeFileSync(file, text);
    execFileSync(process.execPath, ['--preserve-symlinks', file], { cwd: folder, timeout: 20_000 });
  });

  test('the first example prints the candle it stored and what the queue did', () => {
    fs.rmSync(path.join(folder, 'candles.db'), { force: true });
    const file = path.join(folder, 'first.js');
    fs.writeFileSync(file, examples[0]);
    const printed = execFileSync(process.execPath, ['--preserve-symlinks', file], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(printed).toContain('close: 42488');
    expect(printed).toContain('1 inserted, 0 updated');
  });
});
