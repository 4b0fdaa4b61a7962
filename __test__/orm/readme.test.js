'use strict';

// What the README tells users of Knex to write, run as they would.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { scratch } = require('../support/scratch.js');

const root = path.join(__dirname, '..', '..');
const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8');
const [example] = readme.match(/(?<=^```javascript\n)[^]*?(?=^```$)/m);

test('the client for Knex in the README opens a database, and it answers', () => {
  const folder = scratch();
  fs.mkdirSync(path.join(folder, 'node_modules'));
  fs.symlinkSync(root, path.join(folder, 'node_modules', 'candlestore'));
  fs.symlinkSync(path.join(__dirname, 'node_modules', 'knex'), path.join(folder, 'node_modules', 'knex'));
  const file = path.join(folder, 'example.js');
  const ask =
    "db.raw('SELECT 6 * 7 AS answer').then(([{ answer }]) => { console.log(answer); return db.destroy(); });";
  fs.writeFileSync(file, example + ask);
  const printed = execFileSync(process.execPath, [file], { cwd: folder, encoding: 'utf8' });
  expect(printed).toBe('42\n');
  expect(fs.existsSync(path.join(folder, 'app.db'))).toBe(true);
});
