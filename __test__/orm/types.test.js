'use strict';

// That candlestore's types fit those of the ORMs. Drizzle's and Knex's take any Database.

const path = require('node:path');
const { run } = require('../support/programs.js');

test("Database and the store's handles have the type that Kysely asks for", async () => {
  const compiler = path.join(__dirname, '..', '..', 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--module', 'nodenext'];
  expect(
    await run(process.execPath, [compiler, ...options, path.join(__dirname, 'types', 'kysely.cts')]),
  ).toMatchObject({ code: 0, stdout: '' });
});
