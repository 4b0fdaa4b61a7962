'use strict';

// Load on the API from this machine: 50 connections for 10 seconds, candles and health in turn.
// Prints requests, errors, p50 and p99 of each route, and how often the API's store had to wait for a lock.
// Exit code 1 on any error. Loopback addresses only: this is no tool for other people's servers.
//
//   npm run loadtest -- --connections 50 --seconds 10 --limit 500 --url http://127.0.0.1:3000

const http = require('node:http');
const { parseArgs } = require('node:util');

const MOST_CONNECTIONS = 500;
const MOST_SECONDS = 600;
const REQUEST_TIMEOUT_MS = 10_000;

function options() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: `http://127.0.0.1:${process.env.PORT || 3000}` },
      connections: { type: 'string', default: '50' },
      seconds: { type: 'string', default: '10' },
      limit: { type: 'string', default: '500' },
    },
  });
  const url = new URL(values.url);
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (host !== 'localhost' && host !== '::1' && !/^127(\.\d{1,3}){3}$/.test(host)) {
    throw new Error(`${values.url} is not on this machine; only localhost, 127.0.0.1 and [::1] are tested.`);
  }
  const whole = (name, most) => {
    const number = Number(values[name]);
    if (Number.isInteger(number) && number >= 1 && number <= most) return number;
    throw new Error(
      `--${name} is ${JSON.stringify(values[name])}; it must be a whole number from 1 to ${most}.`,
    );
  };
  return {
    // Node tries ::1 first for localhost; the numbers should not hold a detour.
    origin: url.origin.replace('//localhost', '//127.0.0.1'),
    connections: whole('connections', MOST_CONNECTIONS),
    seconds: whole('seconds', MOST_SECONDS),
    limit: whole('limit', 5000),
  };
}

/** One GET: the status, the body, and the milliseconds from sending to the last byte. */
function get(agent, url) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const request = http.get(url, { agent, timeout: REQUEST_TIMEOUT_MS }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({
          status: response.statusCode,
          body: Buffer.concat(chunks),
          ms: performance.now() - started,
        }),
      );
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS} ms`)));
    request.on('error', reject);
  });
}

class Route {
  times = [];
  errors = 0;
  firstError = null;

  constructor(name) {
    this.name = name;
  }

  async ask(agent, url) {
    try {
      const { status, body, ms } = await get(agent, url);
      if (status !== 200) throw new Error(`${status}: ${body.toString('utf8', 0, 200)}`);
      this.times.push(ms);
    } catch (error) {
      this.errors += 1;
      this.firstError ??= error.message || error.code;
    }
  }

  report() {
    const sorted = this.times.sort((a, b) => a - b);
    const at = (share) =>
      sorted.length > 0 ? `${sorted[Math.ceil(sorted.length * share) - 1].toFixed(1)} ms` : 'none';
    console.log(
      `${this.name.padEnd(13)} ${sorted.length} answers, ${this.errors} errors, p50 ${at(0.5)}, p99 ${at(0.99)}, worst ${at(1)}`,
    );
    if (this.firstError) console.log(`${''.padEnd(13)} first error: ${this.firstError}`);
  }
}

async function ask(agent, url) {
  try {
    const { status, body } = await get(agent, url);
    if (status === 200) return JSON.parse(body);
    throw new Error(`status ${status}`);
  } catch (error) {
    throw new Error(
      `${url} does not answer (${error.message || error.code}); start it with npm start or npm run start:api.`,
      {
        cause: error,
      },
    );
  }
}

async function main() {
  const { origin, connections, seconds, limit } = options();
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const before = await ask(agent, `${origin}/api/health`);
  const { symbols } = await ask(agent, `${origin}/api/symbols`);
  const targets = symbols.flatMap(({ exchange, symbol, timeframes }) =>
    timeframes.map(
      (tf) => `${origin}/api/candles?exchange=${exchange}&symbol=${symbol}&tf=${tf}&limit=${limit}`,
    ),
  );
  if (targets.length === 0) {
    console.log('The database holds no candles yet: asking for BINANCE BTCUSDT, which will be empty.');
    targets.push(`${origin}/api/candles?symbol=BTCUSDT&tf=15&limit=${limit}`);
  }

  console.log(`${connections} connections to ${origin} for ${seconds} s, ${limit} candles a request`);
  const candles = new Route('/api/candles');
  const health = new Route('/api/health');
  const end = performance.now() + seconds * 1000;
  const connection = async (first) => {
    for (let turn = first; performance.now() < end; turn++) {
      if (turn % 2 === 0) await candles.ask(agent, targets[(turn / 2) % targets.length]);
      else await health.ask(agent, `${origin}/api/health`);
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, index) => connection(index)));

  candles.report();
  health.report();
  const after = await ask(agent, `${origin}/api/health`);
  console.log(`lockWaitCount ${before.lockWaitCount} before, ${after.lockWaitCount} after`);
  agent.destroy();
  if (candles.errors + health.errors > 0) process.exitCode = 1;
}

main().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
