'use strict';

// The API process: HTTP routes and the live feed on one port (PORT, 3000; HOST, all addresses), reading what db.js opens.
// Stops on SIGINT and SIGTERM within 1.2 s. Exit code 3: it cannot start, and trying again will not help.

const http = require('node:http');
const db = require('./db');
const { createApp } = require('./routes');
const { LiveFeed } = require('./live');
const { onStop } = require('./stop');

const CANNOT_START = 3;

function portFrom(text) {
  const port = text === undefined || text === '' ? 3000 : Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  console.error(
    `PORT is ${JSON.stringify(text)}; it must be a whole number from 0 to 65535 (0: any free one).`,
  );
  return process.exit(CANNOT_START);
}

function whyNot(error, port) {
  if (error.code === 'EADDRINUSE') {
    return `Port ${port} is in use by another program. Stop that one, or set PORT to a free port: PORT=3001 npm run start:api`;
  }
  if (error.code === 'EACCES')
    return `Port ${port} may not be used without further rights. Set PORT to one above 1023.`;
  return `The API cannot listen on port ${port}: ${error.message}`;
}

const port = portFrom(process.env.PORT);
const server = http.createServer(createApp(db));
const feed = new LiveFeed(server, db);

server.on('error', (error) => {
  console.error(whyNot(error, port));
  process.exit(CANNOT_START);
});
server.listen({ port, host: process.env.HOST || undefined }, () => {
  const url = `http://localhost:${server.address().port}`;
  console.log(`Serving ${db.db.name} at ${url}`);
  process.send?.({ type: 'listening', url });
});

onStop(async () => {
  const closed = new Promise((resolve) => server.close(resolve));
  feed.close();
  server.closeIdleConnections();
  // Answers that are being sent may end; nothing waits longer than that.
  setTimeout(() => server.closeAllConnections(), 300).unref();
  await closed;
  db.db.close();
});
