'use strict';

// A db.js in a process of its own, candlestore's or the old one on better-sqlite3 (never both in one process on one
// file): it answers calls that come as lines of JSON.
//   in  { "call": "getCandles", "args": [...] } or { "pragma": "..." }
//   out { "result": ... } or { "error": { "code", "message" } }

const fs = require('node:fs');
const readline = require('node:readline');

const db = require(process.argv[2]);

function answer({ call, args = [], pragma }) {
  if (pragma) return db.db.pragma(pragma);
  const result = db[call](...args);
  return call.startsWith('upsert') ? null : result;
}

function reply(message) {
  fs.writeSync(1, `${JSON.stringify(message)}\n`);
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  try {
    reply({ result: answer(JSON.parse(line)) ?? null });
  } catch (error) {
    reply({ error: { code: error.code, message: error.message } });
  }
});

// A process that is told nothing more leaves as a real one does, with its connections closed.
process.stdin.once('end', () => {
  db.dbReadOnly.close();
  db.db.close();
});

reply({ result: 'ready' });
