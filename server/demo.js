'use strict';

// The demonstration (npm start): a recorded exchange on loopback, the collector and the API as processes of their own,
// started again when one dies, and the addresses to open. No network is needed.
// With --live (npm run start:live) the same with the real exchanges instead of the recorded one.
//
//   DB_PATH      the database; otherwise server/data/demo.db (with --live: what db.js uses)
//   PORT         of the API, 3000
//   DEMO_SPEED   how many times faster than ours the recorded clocks run; 180: fifteen minutes pass in five seconds

const path = require('node:path');
const { spawn } = require('node:child_process');
const { createInterface } = require('node:readline');
const { onStop } = require('./stop');

const CANNOT_START = 3;
const KILL_AFTER_MS = 1350;
const FIRST_REST_MS = 500;
const LONGEST_REST_MS = 15_000;
const STEADY_MS = 30_000;

const live = process.argv.includes('--live');
if (!live && !process.env.DB_PATH) process.env.DB_PATH = path.join(__dirname, 'data', 'demo.db');

let stopping = false;

/** A process that is started again, with growing rests, until the demonstration stops. */
class Kept {
  #name;
  #script;
  #env;
  #onMessage;
  #onHopeless;
  #child = null;
  #restMs = FIRST_REST_MS;
  #timer = null;

  constructor(name, script, { env = {}, onMessage = () => {}, onHopeless }) {
    this.#name = name;
    this.#script = script;
    this.#env = env;
    this.#onMessage = onMessage;
    this.#onHopeless = onHopeless;
    this.#start();
  }

  #start() {
    const started = performance.now();
    const child = spawn(process.execPath, [path.join(__dirname, this.#script)], {
      env: { ...process.env, ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    for (const [stream, out] of [
      [child.stdout, console.log],
      [child.stderr, console.error],
    ]) {
      createInterface({ input: stream }).on('line', (line) => out(`${this.#name.padEnd(9)} | ${line}`));
    }
    child.on('message', this.#onMessage);
    child.on('error', (error) =>
      console.error(`${this.#name.padEnd(9)} | cannot be started: ${error.message}`),
    );
    child.on('close', (code, signal) => {
      this.#child = null;
      if (stopping) return;
      if (code === CANNOT_START) {
        this.#onHopeless();
        return;
      }
      if (performance.now() - started > STEADY_MS) this.#restMs = FIRST_REST_MS;
      const how = signal ? `was ended by ${signal}` : `ended with exit code ${code}`;
      console.error(`${this.#name.padEnd(9)} | ${how}; starting it again in ${this.#restMs / 1000} s`);
      this.#timer = setTimeout(() => this.#start(), this.#restMs);
      this.#restMs = Math.min(this.#restMs * 2, LONGEST_REST_MS);
    });
  }

  /** Asks it to stop, and makes it if it does not. */
  stop() {
    clearTimeout(this.#timer);
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const kill = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
      child.once('exit', () => {
        clearTimeout(kill);
        resolve();
      });
      child.kill('SIGINT');
    });
  }
}

/** Where each exchange's clock goes on: behind the newest candle that an earlier run stored. */
function whereWeWere() {
  const { loadConfig } = require('./config');
  const db = require('./db');
  const begins = {};
  for (const { name, symbols } of loadConfig().exchanges) {
    const newest = symbols.map((symbol) => db.getLastCandleTime('candles_15', `${name}:${symbol}`) ?? 0);
    begins[name] = Math.max(0, ...newest);
  }
  db.db.close();
  return begins;
}

/** The recorded exchange, and what the collector has to know to use it. */
async function recordedExchange() {
  const { startExchange } = require('./exchange');
  const speed = Number(process.env.DEMO_SPEED || 180);
  if (!(speed > 0 && speed <= 100_000)) {
    throw new Error(
      `DEMO_SPEED is ${JSON.stringify(process.env.DEMO_SPEED)}; it must be a number above 0, up to 100000.`,
    );
  }
  const exchange = await startExchange({ speed, begins: whereWeWere() });
  const clocks = Object.entries(exchange.clocks).filter(([name]) => name !== 'BITGET');
  for (const [name, clock] of clocks) {
    console.log(
      `exchange  | ${name} is replayed from ${new Date(clock.now()).toISOString().slice(0, 16)} on, ${speed} times as fast`,
    );
  }
  console.log(`exchange  | Recorded candles at ${exchange.url}; BITGET is fed with what BYBIT recorded`);
  const watch = setInterval(() => {
    if (!clocks.every(([, clock]) => clock.ended)) return;
    console.log(
      `exchange  | The recording is over, nothing new will come. To see it again, delete ${process.env.DB_PATH}`,
    );
    clearInterval(watch);
  }, 1000);
  watch.unref();
  return {
    exchange,
    env: {
      BINANCE_URL: exchange.url,
      BYBIT_URL: exchange.url,
      BITGET_URL: exchange.url,
      // A minute of market time passes in a third of a second; the real pace would miss most of it.
      SYNC_INTERVAL_MS: process.env.SYNC_INTERVAL_MS || '1000',
      COURTESY_DELAY_MS: process.env.COURTESY_DELAY_MS || '2',
      RETRY_REST_MS: process.env.RETRY_REST_MS || '1000',
    },
  };
}

/** Whether any of the real exchanges answers; says in a sentence which do not. */
async function realExchanges() {
  const { loadConfig } = require('./config');
  const { HttpClient } = require('./http');
  const config = loadConfig();
  const unreachable = [];
  await Promise.all(
    config.exchanges.map(async ({ name, url }) => {
      const { timePath, parseTime } = require(`./exchanges/${name.toLowerCase()}`);
      const client = new HttpClient({
        url,
        timeoutMs: config.requestTimeoutMs,
        retry: { ...config.retry, attempts: Math.min(2, config.retry.attempts) },
      });
      await client.get(timePath, parseTime).catch((error) => unreachable.push(`${name} (${error.message})`));
    }),
  );
  if (unreachable.length === config.exchanges.length) {
    throw new Error(
      `None of the exchanges can be reached: ${unreachable.join(', ')}; check the network, or use npm start, which needs none.`,
    );
  }
  if (unreachable.length > 0) {
    console.error(
      `Not reachable now: ${unreachable.join(', ')}; the collector goes on without and keeps trying.`,
    );
  }
}

async function main() {
  const kept = [];
  let exchange = null;
  const stop = onStop(async () => {
    stopping = true;
    await Promise.all(kept.map((process) => process.stop()));
    await exchange?.close();
  }, KILL_AFTER_MS + 100);

  let env = {};
  if (live) await realExchanges();
  else ({ exchange, env } = await recordedExchange());
  if (stopping) return;

  const onHopeless = () => {
    process.exitCode = 1;
    stop();
  };
  const onMessage = ({ type, url }) => {
    if (type !== 'listening') return;
    console.log(`\n  Chart    ${url}/`);
    console.log(`  Candles  ${url}/api/candles?symbol=btcusdt&tf=15&limit=1000`);
    console.log(`  Health   ${url}/api/health\n`);
  };
  kept.push(new Kept('collector', 'collector.js', { env, onHopeless }));
  kept.push(new Kept('api', 'api.js', { onMessage, onHopeless }));
}

main().catch((error) => {
  if (stopping) return;
  console.error(error.message);
  process.exit(1);
});
