'use strict';

// `npm run bench:queue`: what the write queue does for callers in one process.
//   backfill   live writes of three candles each 100 ms beside a backfill that never pauses: how long they take, and
//              how long the event loop is held up, with and without footprints
//   callers    100 callers of one candle each, beside the original's single writes, with synchronous NORMAL and FULL
//   lone       one synchronous write of one candle, beside the original's

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { runAlone } = require('./contention/processes.js');
const { median, summary, whole, ms, threeOf } = require('./contention/figures.js');

const LIVE = { count: 300_000, everyMs: 100, liveRows: 3 };
const CALLERS = 100;
const LONE_WRITES = 2000;
const FSYNCS = 200;
const PARTS = ['backfill', 'callers', 'lone'];

const OPTIONS = {
  seconds: { type: 'string', default: '60' },
  rounds: { type: 'string', default: '5' },
  levels: { type: 'string', default: '0,30' },
  window: { type: 'string', default: '32' },
  only: { type: 'string', multiple: true },
  'no-gaps': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};
const HELP = `npm run bench:queue -- [options]
  --seconds 60     how long the backfill goes on
  --levels 0,30    price levels of the footprints, a run for each
  --window 32      batches of 1,000 that the backfill keeps in the queue
  --rounds 5       rounds of a second each of callers, and of lone writes
  --only <part>    ${PARTS.join(', ')} (may be repeated)
  --no-gaps        leaves out the second measure of the event loop, which keeps a core busy
  --json
`;

/** What it costs to bring 4 KiB to the disk of this folder, in milliseconds. */
function fsyncTimes(folder) {
  const file = fs.openSync(path.join(folder, 'fsync'), 'w');
  const page = Buffer.alloc(4096, 1);
  const taken = Array.from({ length: FSYNCS }, (_, number) => {
    const start = performance.now();
    fs.writeSync(file, page, 0, page.length, number * page.length);
    fs.fsyncSync(file);
    return performance.now() - start;
  });
  fs.closeSync(file);
  return summary(taken);
}

async function backfill(folder, levels, values) {
  const file = path.join(folder, `live-${levels}.db`);
  const seconds = Number(values.seconds);
  const { latencies, stored, ...run } = await runAlone('live.js', {
    ...LIVE,
    file,
    seconds,
    levels,
    window: Number(values.window),
    gaps: !values['no-gaps'],
  });
  const checked = await runAlone('check.js', { file, stored });
  for (const end of ['', '-wal', '-shm']) fs.rmSync(file + end, { force: true });
  return { ...run, live: summary(latencies), checked };
}

function showBackfill(runs) {
  const lines = {
    'live writes': ({ live }) => live.count,
    'from call to settled: p50, p99, max': ({ live }) => threeOf(live),
    'the slowest: queued, commit': ({ slowest: [{ queuedMs, commitMs }] }) =>
      `${ms(queuedMs)}, ${ms(commitMs)}`,
    'event loop held up, longest': ({ loop }) => ms(loop.longestMs),
    'longest gap between its turns': ({ loop }) => ms(loop.longestGapMs),
    'of it: waiting for a core, collecting': ({ loop: { longGaps } }) =>
      longGaps.length > 0
        ? `${ms(longGaps[0].waitedForCoreMs)}, ${ms(longGaps[0].collectingMs)}`
        : 'under 5 ms',
    'longest gap less its wait for a core': ({ loop }) =>
      loop.longestOnCoreMs === 0 ? 'under 5 ms' : ms(loop.longestOnCoreMs),
    'gaps over 10 ms': ({ loop }) => loop.gapsOver10Ms,
    'longest garbage collection': ({ loop }) => ms(loop.longestCollectionMs),
    'the same loop idle: longest, gap': ({ idle }) => `${ms(idle.longestMs)}, ${ms(idle.longestGapMs)}`,
    'backfill rows/s': ({ rate }) => whole(rate),
    groups: ({ groups }) => whole(groups),
    errors: ({ errors, firstError }) => `${errors}${firstError ? ` (${firstError})` : ''}`,
    'peak memory': ({ peakMiB }) => `${whole(peakMiB)} MiB`,
    'rows checked': ({ checked }) => whole(checked.rows),
    'wrong or missing': ({ checked }) => `${checked.different}${checked.first ? ` (${checked.first})` : ''}`,
  };
  const rows = {};
  for (const [line, text] of Object.entries(lines))
    rows[line] = Object.fromEntries(runs.map((run) => [`${run.levels} levels`, text(run)]));
  console.table(rows);
}

async function callers(folder, values) {
  const results = { fsync: fsyncTimes(folder), runs: [] };
  for (const series of [1, CALLERS])
    for (const synchronous of ['normal', 'full']) {
      const rates = await runAlone('singles.js', {
        part: 'callers',
        folder,
        synchronous,
        rounds: Number(values.rounds),
        seconds: 1,
        callers: CALLERS,
        series,
      });
      results.runs.push({ series, synchronous, ...rates });
    }
  return results;
}

const times = (value) => value.toFixed(value < 10 ? 2 : 1);
const spread = (values) => `${times(Math.min(...values))}..${times(Math.max(...values))}`;

function showCallers({ fsync, runs }) {
  process.stdout.write(
    `\nfsync of 4 KiB here: p50 ${whole(fsync.p50 * 1000)} us, p99 ${whole(fsync.p99 * 1000)} us\n`,
  );
  for (const { series, synchronous, orig, candlestore } of runs) {
    const ratios = candlestore.map((rate, round) => rate / orig[round]);
    process.stdout.write(
      `${CALLERS} callers on ${series} series, synchronous ${synchronous}: ` +
        `${times(median(ratios))} x (${spread(ratios)}), ` +
        `candles/s: orig one by one ${whole(median(orig))}, candlestore ${whole(median(candlestore))}\n`,
    );
  }
}

async function lone(folder, values) {
  const found = await runAlone('singles.js', {
    part: 'lone',
    folder,
    rounds: Number(values.rounds),
    writes: LONE_WRITES,
  });
  const mean = (taken) => taken.reduce((total, one) => total + one, 0) / taken.length;
  const figures = (rounds) => ({
    p50: median(rounds.map((taken) => summary(taken).p50)),
    p99: median(rounds.map((taken) => summary(taken).p99)),
    mean: median(rounds.map(mean)),
  });
  return Object.fromEntries(
    Object.entries(found).map(([name, { orig, candlestore }]) => [
      name,
      {
        orig: figures(orig),
        candlestore: figures(candlestore),
        ratio: median(orig.map((taken, round) => summary(taken).p50 / summary(candlestore[round]).p50)),
      },
    ]),
  );
}

function showLone(found) {
  process.stdout.write('\none synchronous write, microseconds: p50, p99, mean\n');
  const three = ({ p50, p99, mean }) => [p50, p99, mean].map((value) => value.toFixed(1)).join(', ');
  console.table(
    Object.fromEntries(
      Object.entries(found).map(([name, { orig, candlestore, ratio }]) => [
        name,
        { orig: three(orig), candlestore: three(candlestore), 'times faster (p50)': times(ratio) },
      ]),
    ),
  );
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  for (const name of ['seconds', 'rounds', 'window'])
    if (!(Number(values[name]) > 0))
      throw new Error(`--${name} must be a number above 0, not ${values[name]}`);
  const levels = values.levels.split(',').map(Number);
  if (!levels.every((level) => Number.isInteger(level) && level >= 0))
    throw new Error(`--levels takes whole numbers with commas between them, not ${values.levels}`);
  const unknown = values.only?.find((part) => !PARTS.includes(part));
  if (unknown) throw new Error(`--only takes ${PARTS.join(', ')}, not ${unknown}`);
  const wanted = (part) => values.only?.includes(part) ?? true;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-queue-'));
  const results = {};
  const say = (show, result) => !values.json && show(result);
  try {
    if (!values.json)
      process.stdout.write(
        `${os.cpus()[0].model}, ${os.cpus().length} cores, Node ${process.versions.node}\n`,
      );
    if (wanted('backfill')) {
      results.backfill = [];
      for (const level of levels)
        results.backfill.push({ levels: level, ...(await backfill(folder, level, values)) });
      say(showBackfill, results.backfill);
    }
    if (wanted('callers')) say(showCallers, (results.callers = await callers(folder, values)));
    if (wanted('lone')) say(showLone, (results.lone = await lone(folder, values)));
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  if (values.json) process.stdout.write(`${JSON.stringify({ options: values, results }, null, 2)}\n`);
  if (results.backfill?.some(({ errors, checked }) => errors > 0 || checked.different > 0))
    process.exitCode = 1;
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
