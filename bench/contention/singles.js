'use strict';

// Writes of one candle each, candlestore beside the original, in turns in one process, each on new files of its own.
//   { part: 'callers', folder, synchronous: 'normal' | 'full', rounds, seconds, callers, series }
//     so many callers that wait for their own write and send the next, beside the original's one write after the
//     other; both go on in turn on so many series: with one of them a group's rows share a page, with one for each caller
//     every row changes a page of its own
//   { part: 'lone', folder, rounds, writes }
//     a synchronous write, each new or the same candle changed; at once after the last one, or after a rest

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: pause } = require('node:timers/promises');
const { openStore } = require('candlestore');
const { SIDES } = require('../sides.js');
const { Rows, TABLE } = require('./rows.js');
const { config, report, main } = require('./worker.js');

const rows = new Rows('ONE');
const REST_MS = 1;
const WARM_WRITES = 200;

const OPEN = {
  orig(file, synchronous) {
    const store = SIDES.orig(file);
    store.db.pragma(`synchronous = ${synchronous}`);
    return store;
  },
  candlestore: (file, synchronous) => openStore(file, { synchronous }),
};

async function onNewFile(side, synchronous, folder, work) {
  fs.mkdirSync(folder, { recursive: true });
  const store = OPEN[side](path.join(folder, 'candles.db'), synchronous);
  try {
    return await work(store);
  } finally {
    await store.close();
    fs.rmSync(folder, { recursive: true });
  }
}

/** The sides in turns, the order changing from round to round. */
async function inTurns(rounds, measure) {
  const found = { orig: [], candlestore: [] };
  for (let round = 0; round < rounds; round += 1)
    for (const side of round % 2 === 0 ? ['orig', 'candlestore'] : ['candlestore', 'orig'])
      found[side].push(await measure(side, round));
  return found;
}

/** The candles of a run one by one, on so many series in turn: `{ symbol, candles }`. */
function sequence(series) {
  let number = 0;
  return () => {
    const symbol = `SYNTHETIC:CALLER-${number % series}`;
    const candles = rows.take(Math.floor(number / series), 1);
    number += 1;
    return { symbol, candles };
  };
}

/** Writes a second of the original: one after the other, as its callers must. */
function oneAfterTheOther(store, seconds, next) {
  const end = performance.now() + seconds * 1000;
  let written = 0;
  for (; performance.now() < end; written += 1) {
    const { symbol, candles } = next();
    store.upsertCandle(TABLE, symbol, candles[0]);
  }
  return written / seconds;
}

async function manyCallers(store, seconds, callers, next) {
  const end = performance.now() + seconds * 1000;
  let settled = 0;
  const caller = async () => {
    while (performance.now() < end) {
      const { symbol, candles } = next();
      await store.enqueueCandles(TABLE, symbol, candles);
      if (performance.now() < end) settled += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return settled / seconds;
}

async function callers({ folder, synchronous, rounds, seconds, callers: count, series }) {
  return inTurns(rounds, (side, round) =>
    onNewFile(side, synchronous, path.join(folder, `${side}-${round}`), (store) =>
      side === 'orig'
        ? oneAfterTheOther(store, seconds, sequence(series))
        : manyCallers(store, seconds, count, sequence(series)),
    ),
  );
}

/** Microseconds of each write. */
async function loneWrites(store, writes, fresh, rests) {
  const taken = [];
  for (let number = 0; number < writes + WARM_WRITES; number += 1) {
    const [candle] = fresh ? rows.take(number, 1) : rows.take(0, 1, number);
    if (rests) await pause(REST_MS);
    const start = process.hrtime.bigint();
    store.upsertCandle(TABLE, 'SYNTHETIC:ONE', candle);
    if (number >= WARM_WRITES) taken.push(Number(process.hrtime.bigint() - start) / 1e3);
  }
  return taken;
}

async function lone({ folder, rounds, writes }) {
  const found = {};
  for (const fresh of [true, false])
    for (const rests of [false, true])
      found[`${fresh ? 'a new candle' : 'a changed candle'}, ${rests ? 'after a rest' : 'at once'}`] =
        await inTurns(rounds, (side, round) =>
          onNewFile(side, 'normal', path.join(folder, `${side}-${round}`), (store) =>
            loneWrites(store, rests ? Math.ceil(writes / 4) : writes, fresh, rests),
          ),
        );
  return found;
}

main(async () => {
  const given = config();
  report(await { callers, lone }[given.part](given));
});
