'use strict';

// The most memory that a process holds which writes 100,000 candles and reads 1,000 of them a hundred times: a child
// for each side and round, and one that only makes the candles, of which the others' figures hold as much.
//   node bench/memory.js '{"side": "candlestore", "file": "candles.db"}'    the child

const fs = require('node:fs');
const { runAlone } = require('./contention/processes.js');
const { config, report, main } = require('./contention/worker.js');
const { inTurn, spread } = require('./rounds.js');
const { TABLE, SYMBOLS, batchesOf, writeAll } = require('./candles.js');

const ROWS_PER_SYMBOL = 10_000;
const READS = 100;
const NAME = 'peak memory, write 100,000 and read 1,000 a hundred times';

async function measure(participant, files) {
  const { side, schema } = participant;
  const file = await files.copy(side, schema, 'empty');
  try {
    const { peakMiB } = await runAlone('../memory.js', { side, file });
    return peakMiB;
  } finally {
    files.drop(file);
  }
}

async function compareMemory(rounds, schemas, files) {
  const participants = [
    { side: 'none', schema: 'new' },
    { side: 'orig', schema: 'new' },
    ...schemas.flatMap((schema) => ['used well', 'candlestore'].map((side) => ({ side, schema }))),
  ].map((participant) => ({ ...participant, peaks: [] }));
  for (let round = 0; round < rounds; round += 1)
    for (const participant of inTurn(participants, round))
      participant.peaks.push(await measure(participant, files));
  return {
    name: NAME,
    rounds,
    participants: participants.map(({ side, schema, peaks }) => ({ side, schema, peakMiB: spread(peaks) })),
  };
}

/** On Linux maxRSS begins with what the process that forked held; the status of the process does not. */
function peakMiB() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS / 1024;
  return Number(/VmHWM:\s+(\d+) kB/.exec(fs.readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;
}

async function child() {
  const { side, file } = config();
  if (side === 'none') {
    writeAll({ upsertCandles() {} }, batchesOf(ROWS_PER_SYMBOL));
  } else {
    const { SIDES } = require('./sides.js');
    const store = SIDES[side](file);
    writeAll(store, batchesOf(ROWS_PER_SYMBOL));
    for (let read = 0; read < READS; read += 1)
      store.getCandles(TABLE, SYMBOLS[read % SYMBOLS.length], 1000, null, true);
    await store.close();
  }
  report({ peakMiB: peakMiB() });
}

if (require.main === module) main(child);

module.exports = { compareMemory, NAME };
