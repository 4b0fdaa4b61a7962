'use strict';

// Writers on the server's database that are not the server: another candlestore process, and Python.

const path = require('node:path');
const { start } = require('./programs.js');

function writer(command, args, env) {
  const { child, lines, ended } = start(command, args, { env: { ...process.env, ...env } });
  let written = 0;
  const waiting = [];
  lines.on('line', () => {
    written += 1;
    while (waiting.length > 0 && waiting[0].count <= written) waiting.shift().resolve();
  });
  ended.then(({ code, signal, stderr }) => {
    for (const { reject } of waiting) reject(new Error(`the writer ended with ${signal ?? code}: ${stderr}`));
  });
  let sent = 0;
  return {
    /** Resolves when every one of the candles is committed, each by itself. */
    write(table, symbol, candles) {
      for (const candle of candles) child.stdin.write(`${JSON.stringify({ table, symbol, candle })}\n`);
      sent += candles.length;
      return new Promise((resolve, reject) => waiting.push({ count: sent, resolve, reject }));
    },
    async end() {
      child.stdin.end();
      const { code, stderr } = await ended;
      if (code !== 0) throw new Error(`the writer ended with ${code}: ${stderr}`);
    },
  };
}

const anotherProcess = (file) =>
  writer(process.execPath, [path.join(__dirname, 'server-writer.js')], { DB_PATH: file });
const python = (file) => writer('python3', [path.join(__dirname, 'server-writer.py'), file], {});

module.exports = { anotherProcess, python };
