'use strict';

const path = require('node:path');
const { start } = require('./programs.js');

const MODULES = {
  old: path.join(__dirname, '..', '..', 'bench', 'original', 'db.js'),
  candlestore: path.join(__dirname, '..', '..', 'server', 'db.js'),
};

/** Opens `file` with the db.js of `side` in a process of its own. Every function of it is called through `call`. */
async function openElsewhere(side, file) {
  const { child, lines, ended } = start(
    process.execPath,
    [path.join(__dirname, 'db-process.js'), MODULES[side]],
    {
      env: { ...process.env, DB_PATH: file },
    },
  );
  const waiting = [];
  lines.on('line', (line) => {
    const { result, error } = JSON.parse(line);
    const { resolve, reject } = waiting.shift();
    if (error) reject(Object.assign(new Error(error.message), error));
    else resolve(result);
  });
  let dead = null;
  ended.then(({ code, signal, stderr }) => {
    dead = new Error(`${side} db.js ended with ${signal ?? code}: ${stderr}`);
    for (const { reject } of waiting) reject(dead);
  });
  // That it is gone is told by its end, with what it said.
  child.stdin.on('error', () => {});
  const next = () =>
    new Promise((resolve, reject) => (dead ? reject(dead) : waiting.push({ resolve, reject })));
  const send = (message) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    return next();
  };
  await next();
  return {
    child,
    call: (call, ...args) => send({ call, args }),
    pragma: (pragma) => send({ pragma }),
    async close() {
      child.stdin.end();
      const { code, stderr } = await ended;
      if (code !== 0) throw new Error(`${side} db.js ended with ${code}: ${stderr}`);
    },
  };
}

module.exports = { openElsewhere };
