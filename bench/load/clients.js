'use strict';

// The clients of a load run, as a process of their own: so many keep-alive connections, each asking, waiting for the
// whole answer, pausing (or not) and asking again. They tell when all are warm, measure from the first message they get
// and stop at the second.
//   clients.js <port> <connections> <pause ms> <limit>

const http = require('node:http');
const { setTimeout: pause } = require('node:timers/promises');
const { seriesOf } = require('./series.js');
const { summary } = require('./latency.js');

const [port, connections, pauseMs, limit] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
const series = seriesOf();
const WARM_ANSWERS = 10;
let measured = { candles: [], health: [] };
let cold = connections;
const errors = [];
let stopping = false;

function ask(path) {
  return new Promise((resolve, reject) => {
    const request = http.get({ port, host: '127.0.0.1', path, agent }, (response) => {
      let bytes = 0;
      response.on('data', (chunk) => (bytes += chunk.length));
      response.once('error', reject);
      response.once('end', () =>
        response.statusCode === 200 ? resolve(bytes) : reject(new Error(`${path}: ${response.statusCode}`)),
      );
    });
    request.once('error', reject);
  });
}

async function connection(number) {
  for (let turn = number; !stopping; turn += 1) {
    if (turn === number + WARM_ANSWERS && --cold === 0) process.send('warm');
    const { exchange, pair, minutes } = series[turn % series.length];
    const route = turn % 2 === 0 ? 'candles' : 'health';
    const path =
      route === 'health'
        ? '/api/health'
        : `/api/candles?exchange=${exchange}&symbol=${pair}&tf=${minutes}&limit=${limit}`;
    const start = performance.now();
    try {
      await ask(path);
      measured[route].push(performance.now() - start);
    } catch (error) {
      errors.push(error.message);
    }
    // Of random length: with one length for all, the connections that were answered together ask together, in waves.
    await pause(pauseMs * 2 * Math.random());
  }
}

const running = Promise.all(Array.from({ length: connections }, (_, number) => connection(number)));

process.once('message', () => {
  measured = { candles: [], health: [] };
  process.once('message', stop);
});

async function stop() {
  stopping = true;
  await running;
  agent.destroy();
  process.send({
    candles: summary(measured.candles),
    health: summary(measured.health),
    errors: errors.length,
    firstError: errors[0] ?? null,
  });
  process.disconnect();
}
