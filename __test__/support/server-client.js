'use strict';

// A WebSocket client that keeps what it is sent.

const { WebSocket } = require('ws');
const { until } = require('./until.js');

const clients = new Set();

/** Connects; `messages` fills, `first(condition)` waits for a message. */
async function connect(url) {
  const socket = new WebSocket(url.replace(/^http/, 'ws'));
  clients.add(socket);
  const messages = [];
  socket.on('message', (text) => messages.push(JSON.parse(text)));
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  const ofType = (type) => messages.filter((message) => message.type === type);
  return {
    socket,
    messages,
    ofType,
    send: (message) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)),
    first: (condition, seconds) => until(() => messages.find(condition), seconds),
    async subscribe(series) {
      const before = ofType('history').length;
      socket.send(JSON.stringify({ type: 'subscribe', ...series }));
      await until(() => ofType('history').length > before);
      return ofType('history').at(-1);
    },
    close: () => socket.terminate(),
  };
}

afterAll(() => {
  for (const socket of clients) socket.terminate();
});

module.exports = { connect };
