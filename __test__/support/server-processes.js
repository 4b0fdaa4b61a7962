'use strict';

// The server's own processes as a user starts them, on free ports and with a database of their own.

const path = require('node:path');
const { start } = require('./programs.js');
const { until } = require('./until.js');

const SERVER = path.join(__dirname, '..', '..', 'server');

/** Starts server/<script>; `lines` fills with what it prints, `line(pattern)` waits for a line and gives its match. */
function startServer(script, { env = {}, args = [] } = {}) {
  const process_ = start(process.execPath, [path.join(SERVER, script), ...args], {
    env: { ...process.env, PORT: '0', ...env },
  });
  const lines = [];
  let end = null;
  process_.lines.on('line', (line) => lines.push(line));
  process_.ended.then((how) => (end = how));
  const line = (pattern, seconds) =>
    until(() => {
      const found = lines.map((text) => text.match(pattern)).find(Boolean);
      if (!found && end)
        throw new Error(`${script} ended with ${end.signal ?? end.code}: ${lines.join('\n')}\n${end.stderr}`);
      return found;
    }, seconds);
  const stop = (signal = 'SIGINT') => {
    process_.child.kill(signal);
    return process_.ended;
  };
  return { child: process_.child, ended: process_.ended, lines, line, stop };
}

/** The API on `file`, listening: its base address and how to stop it. */
async function startApi(file, env = {}) {
  const api = startServer('api.js', { env: { DB_PATH: file, ...env } });
  const [url] = await api.line(/http:\/\/localhost:\d+/);
  return { ...api, url: url.replace('localhost', '127.0.0.1') };
}

module.exports = { SERVER, startServer, startApi };
