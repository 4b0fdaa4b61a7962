'use strict';

// GET /api/candles of 1,000 candles under 50 connections, without compression and with gzip: this project's server
// (server/api.js) beside the same route on the code replaced, on better-sqlite3 used well, and with nothing behind it
// (bench/http/server.js). The servers are processes started in turns, so that one at a time has the machine; the load
// comes from another process. Before the first round all have to give the same bytes.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { runAlone } = require('./contention/processes.js');
const { inTurn, spread } = require('./rounds.js');
const { SYMBOLS, START, STEP } = require('./candles.js');

const CONNECTIONS = 50;
const WARM_SECONDS = 1;
const LIMIT = 1000;
const LOADS = {
  'HTTP 1,000, no compression': { headers: {}, bar: 8 },
  'HTTP 1,000, gzip': { headers: { 'accept-encoding': 'gzip' }, bar: 20 },
};
/** A bar is at most this share of what the route answers with nothing behind it. */
const OF_CONSTANT = 0.9;
const OWN_SERVER = path.join(__dirname, '..', 'server', 'api.js');
const OTHER_SERVER = path.join(__dirname, 'http', 'server.js');

const pathOf = (symbol, more = '') => {
  const [exchange, pair] = symbol.split(':');
  return `/api/candles?exchange=${exchange}&symbol=${pair}&tf=15&limit=${LIMIT}${more}`;
};
const PATHS = SYMBOLS.map((symbol) => pathOf(symbol));

/** Starts a server, gives its address to `work`, and ends it. */
async function serving({ side, file, bodies }, work) {
  const child =
    side === 'candlestore'
      ? fork(OWN_SERVER, {
          execArgv: [],
          stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
          env: { ...process.env, DB_PATH: file, PORT: '0', HOST: '127.0.0.1' },
        })
      : fork(OTHER_SERVER, [JSON.stringify({ side, file, bodies })], { execArgv: [] });
  const ended = once(child, 'exit');
  try {
    const [{ url }] = await Promise.race([
      once(child, 'message'),
      ended.then(([code]) => {
        throw new Error(`the server of ${side} ended with ${code} before it listened`);
      }),
    ]);
    return await work(url.replace('localhost', '127.0.0.1'));
  } finally {
    child.kill();
    await ended;
  }
}

async function bodyOf(url) {
  const answer = await fetch(url, { headers: { 'accept-encoding': 'identity' } });
  if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}`);
  return answer.text();
}

/** What a server answers, by symbol, and further answers that have to be the same. */
async function bodiesOf(url) {
  const bodies = {};
  for (const symbol of SYMBOLS) bodies[symbol] = await bodyOf(url + pathOf(symbol));
  const older = await bodyOf(url + pathOf(SYMBOLS[0], `&before=${START + 5000 * STEP}`));
  const oldest = await bodyOf(url + pathOf(SYMBOLS[1], `&before=${START + 500 * STEP}`));
  return { bodies, further: [older, oldest] };
}

/** Checks that all answer alike, and leaves the answers in a file for the server with nothing behind it. */
async function checkBodies(participants, folder) {
  let expected;
  for (const participant of participants) {
    const given = await serving(participant, bodiesOf);
    expected ??= given;
    if (JSON.stringify(given) !== JSON.stringify(expected))
      throw new Error(`${participant.side} on a file of the ${participant.schema} schema answers otherwise`);
  }
  const file = path.join(folder, 'bodies.json');
  fs.writeFileSync(file, JSON.stringify(expected.bodies));
  return file;
}

async function measure(participant, loads, seconds) {
  await serving(participant, async (url) => {
    for (const name of loads) {
      const load = { url, paths: PATHS, connections: CONNECTIONS, headers: LOADS[name].headers };
      await runAlone('../http/load.js', { ...load, seconds: WARM_SECONDS });
      participant.runs[name].push(await runAlone('../http/load.js', { ...load, seconds }));
    }
  });
}

function resultOf(name, participants, rounds, seconds) {
  const rates = (participant) => participant.runs[name].map(({ perSecond }) => perSecond);
  const [orig] = participants;
  const figures = participants.map((participant) => ({
    side: participant.side,
    schema: participant.schema,
    rate: spread(rates(participant)),
    ratio: spread(rates(participant).map((rate, round) => rate / rates(orig)[round])),
    p99Ms: spread(participant.runs[name].map(({ p99Ms }) => p99Ms)),
    mbPerSecond: spread(participant.runs[name].map(({ bytesPerSecond }) => bytesPerSecond / 1e6)),
  }));
  const constant = figures.find(({ side }) => side === 'constant');
  const bar = Math.min(LOADS[name].bar, OF_CONSTANT * constant.ratio.median);
  return {
    name,
    unit: 'requests/s',
    bar: { new: bar, old: bar },
    rounds,
    seconds,
    connections: CONNECTIONS,
    participants: figures,
    floor: null,
  };
}

/** Results like those of rounds.js, with p99 and bytes, for the loads of these names. */
async function compareHttp(loads, { rounds, seconds, schemas, files, folder }) {
  const participants = [{ side: 'orig', schema: 'new' }];
  for (const schema of schemas)
    participants.push({ side: 'used well', schema }, { side: 'candlestore', schema });
  try {
    for (const participant of participants)
      participant.file = await files.copy(participant.side, participant.schema, 'plain');
    const bodies = await checkBodies(participants, folder);
    const all = [...participants, { side: 'constant', schema: 'none', bodies }];
    for (const participant of all) participant.runs = Object.fromEntries(loads.map((name) => [name, []]));
    for (let round = 0; round < rounds; round += 1)
      for (const participant of inTurn(all, round)) await measure(participant, loads, seconds);
    return loads.map((name) => resultOf(name, all, rounds, seconds));
  } finally {
    for (const { file } of participants) if (file) files.drop(file);
  }
}

module.exports = { compareHttp, LOADS };
