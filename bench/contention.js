'use strict';

// `npm run bench:contention`: what candlestore is for. Four processes write one file without pause while two read it;
// candlestore beside better-sqlite3 in turns, each on a file of its own, of the new schema and of the old one.
// Afterwards another process compares every stored value with what was committed.
//   --holder       the same beside a Python process that holds the write lock for 3 of every 3.5 seconds
//   --neighbours   a better-sqlite3 and a Python writer beside a backfill of candlestore's at full speed

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { runTogether, runAlone } = require('./contention/processes.js');
const {
  contentionFigures,
  overRounds,
  lockWaits,
  median,
  summary,
  whole,
  ms,
  threeOf,
} = require('./contention/figures.js');

const WRITERS = 4;
const READERS = 2;
const READS_PER_SECOND = 100;
const HOLD = { holdSeconds: 3, restSeconds: 0.5 };
const NEIGHBOUR = { everyMs: 50, timeoutMs: 5000 };
const BACKFILL = { count: 300_000, window: 32 };

/** Who contends: the old code, the old code with its statements prepared once, and candlestore in its two ways. */
const CASES = {
  orig: { side: 'orig', through: 'transaction' },
  cached: { side: 'cached', through: 'transaction' },
  'candlestore transaction': { side: 'candlestore', through: 'transaction' },
  'candlestore enqueue': { side: 'candlestore', through: 'enqueue' },
};
const SCHEMAS = ['new', 'old'];

const OPTIONS = {
  seconds: { type: 'string' },
  rounds: { type: 'string', default: '1' },
  only: { type: 'string', multiple: true },
  schema: { type: 'string' },
  holder: { type: 'boolean', default: false },
  neighbours: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};
const HELP = `npm run bench:contention -- [options]
  --seconds 10     how long each run takes (60 with --neighbours)
  --rounds 1       runs of each case, in turns; shown are medians, of errors and longest times the worst
  --only <part>    cases whose name contains this (may be repeated): ${Object.keys(CASES).join(', ')}
  --schema <one>   new or old; both unless given
  --holder         beside a Python process that holds the write lock for 3 of every 3.5 seconds
  --neighbours     a better-sqlite3 and a Python writer beside a backfill of candlestore's
  --json
`;

/** Runs something with the path of a new file, which is removed afterwards. */
async function withFile(schema, work) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-contention-'));
  try {
    const file = path.join(folder, 'candles.db');
    await runAlone('make-file.js', { file, schema });
    return await work(file);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** One run of one case. */
function contend({ side, through }, schema, seconds, holder) {
  return withFile(schema, async (file) => {
    const names = Array.from({ length: WRITERS }, (_, number) => `W${number}`);
    const { reports, besides } = await runTogether(
      [
        ...names.map((name) => ['writer.js', { side, through, file, name, seconds }]),
        ...Array.from({ length: READERS }, () => [
          'reader.js',
          { side, file, names, seconds, perSecond: READS_PER_SECOND },
        ]),
      ],
      holder ? [['holder.py', { file, ...HOLD }]] : [],
    );
    const writers = reports.slice(0, WRITERS);
    const stored = writers.flatMap((writer) => writer.stored);
    return {
      ...contentionFigures(writers, reports.slice(WRITERS), seconds),
      holder: besides[0] ?? null,
      checked: await runAlone('check.js', { file, stored }),
    };
  });
}

const LINES = {
  'rows/s': (run) => whole(run.rowsPerSecond),
  'database is locked': (run) => run.locked,
  'other errors': ({ otherErrors, firstError }) => `${otherErrors}${firstError ? ` (${firstError})` : ''}`,
  'success of attempts': (run) => `${(run.success * 100).toFixed(3)} %`,
  '3 rows: p50, p99, worst': (run) => threeOf(run.live),
  '3 rows: p99 of the worst-off writer': (run) => ms(run.liveOfWorst),
  '1,000 rows: p50, p99, worst': (run) => threeOf(run.history),
  'reads: number': (run) => whole(run.read.count),
  'reads: p50, p99, worst': (run) => threeOf(run.read),
  'fairness (Jain) of rows': (run) => run.fairness.toFixed(4),
  coalesced: (run) => run.coalesced,
  'lock waits: count': ({ lockWaits: waits }) => (waits ? whole(waits.count) : 'not told'),
  'lock waits: mean, max': ({ lockWaits: waits }) =>
    waits ? `${ms(waits.meanMs)}, ${ms(waits.maxMs)}` : 'not told',
  'groups, retries per group': ({ lockWaits: waits }) =>
    waits ? `${whole(waits.groups)}, ${waits.retriesPerGroup?.toFixed(4) ?? 'not told'}` : 'not told',
  'processor seconds': (run) => run.cpuSeconds.toFixed(1),
  'the holder: times, waited': ({ holder }) =>
    holder
      ? `${holder.held}, ${holder.waitedSeconds.toFixed(2)} s${holder.errors ? `, ${holder.errors} errors` : ''}`
      : null,
  'rows checked': ({ checked }) => whole(checked.rows),
  'wrong or missing': ({ checked }) => `${checked.different}${checked.first ? ` (${checked.first})` : ''}`,
  'integrity check': ({ checked }) => checked.integrity,
};

function show(schema, results) {
  process.stdout.write(`\n${schema} schema\n`);
  const table = {};
  for (const [line, text] of Object.entries(LINES)) {
    const cells = Object.entries(results).map(([name, run]) => [name, text(run)]);
    if (cells.some(([, cell]) => cell !== null)) table[line] = Object.fromEntries(cells);
  }
  console.table(table);
  for (const base of ['orig', 'cached'])
    for (const name of Object.keys(results))
      if (results[base] && name.startsWith('candlestore'))
        showRatios(name, results[name], base, results[base]);
}

function showRatios(name, run, base, other) {
  const ratio = (a, b) => (a / b).toFixed(2);
  process.stdout.write(
    `${name} / ${base}: rows/s ${ratio(run.rowsPerSecond, other.rowsPerSecond)}, ` +
      `3 rows p99 ${ratio(run.live.p99, other.live.p99)}, worst ${ratio(run.live.longest, other.live.longest)}, ` +
      `1,000 rows p99 ${ratio(run.history.p99, other.history.p99)}, read p99 ${ratio(run.read.p99, other.read.p99)}\n`,
  );
}

async function contention(values, seconds, rounds) {
  const cases = Object.keys(CASES).filter((name) => values.only?.some((part) => name.includes(part)) ?? true);
  if (cases.length === 0) throw new Error(`no case is named like ${values.only.join(', ')}`);
  const results = {};
  for (const schema of values.schema ? [values.schema] : SCHEMAS) {
    const runs = Object.fromEntries(cases.map((name) => [name, []]));
    for (let round = 0; round < rounds; round += 1)
      for (const name of cases) {
        process.stderr.write(`${schema} schema, ${name}, round ${round + 1} of ${rounds} ...\n`);
        runs[name].push(await contend(CASES[name], schema, seconds, values.holder));
      }
    results[schema] = Object.fromEntries(cases.map((name) => [name, overRounds(runs[name])]));
    if (!values.json) show(schema, results[schema]);
  }
  const all = Object.values(results).flatMap(Object.entries);
  return {
    results,
    failed: all.some(
      ([name, { checked, locked, otherErrors, coalesced }]) =>
        checked.different > 0 ||
        checked.integrity !== 'ok' ||
        (name.startsWith('candlestore') && locked + otherErrors + coalesced > 0),
    ),
  };
}

/** A backfill at full speed, with or without foreign writers on the file. */
function besideBackfill(schema, seconds, accompanied) {
  return withFile(schema, async (file) => {
    const small = { file, seconds, ...NEIGHBOUR };
    const { reports } = await runTogether([
      ['backfill.js', { file, seconds, ...BACKFILL }],
      ...(accompanied
        ? [
            ['neighbour.js', { ...small, table: 'pools' }],
            ['neighbour.py', { ...small, table: 'topics' }],
          ]
        : []),
    ]);
    const [backfill, ...neighbours] = reports;
    return {
      rate: backfill.rate,
      batch: summary(backfill.latencies),
      errors: backfill.errors,
      firstError: backfill.firstError,
      lockWaits: lockWaits([backfill.stats]),
      neighbours: neighbours.map(({ latencies, ...told }) => ({ ...told, write: summary(latencies) })),
      checked: await runAlone('check.js', { file, stored: [backfill.stored] }),
    };
  });
}

function showNeighbours(schema, { alone, accompanied }) {
  process.stdout.write(`\n${schema} schema\n`);
  const table = {};
  for (const [round, run] of accompanied.entries())
    for (const { name, write, locked, otherErrors, firstError, written, stored } of run.neighbours)
      table[`${name}, round ${round + 1}`] = {
        'lock errors': locked,
        'other errors': `${otherErrors}${firstError ? ` (${firstError})` : ''}`,
        'written, stored': `${written}, ${stored}`,
        'a write: p50, p99, worst': threeOf(write),
      };
  console.table(table);
  const rate = (runs) => median(runs.map((run) => run.rate));
  const text = (runs) => `${whole(rate(runs))} rows/s (a batch: ${threeOf(runs[0].batch)})`;
  const [a, b] = [rate(alone), rate(accompanied)];
  const waits = accompanied.at(-1).lockWaits;
  const wrong = [...alone, ...accompanied].map(({ errors, checked }) => errors + checked.different);
  process.stdout.write(
    `backfill alone: ${text(alone)}\nbackfill beside them: ${text(accompanied)}\n` +
      `the room for them costs ${((1 - b / a) * 100).toFixed(1)} % of the rows/s\n` +
      `lock waits of the backfill: ${waits.count}, mean ${ms(waits.meanMs)}, max ${ms(waits.maxMs)}; ` +
      `its errors and wrong rows: ${wrong.join(', ')}\n`,
  );
}

async function neighbours(values, seconds, rounds) {
  const results = {};
  let failed = false;
  for (const schema of [values.schema ?? 'new']) {
    const runs = { alone: [], accompanied: [] };
    for (let round = 0; round < rounds; round += 1)
      for (const [name, list] of Object.entries(runs)) {
        process.stderr.write(`${schema} schema, backfill ${name}, round ${round + 1} of ${rounds} ...\n`);
        list.push(await besideBackfill(schema, seconds, name === 'accompanied'));
      }
    results[schema] = runs;
    if (!values.json) showNeighbours(schema, runs);
    failed ||= [...runs.alone, ...runs.accompanied].some(
      ({ errors, checked, neighbours: others }) =>
        errors > 0 ||
        checked.different > 0 ||
        checked.integrity !== 'ok' ||
        others.some((one) => one.locked + one.otherErrors > 0 || one.written !== one.stored),
    );
  }
  return { results, failed };
}

function numberOf(name, text) {
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} must be a number above 0, not ${text}`);
  return value;
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const seconds = numberOf('seconds', values.seconds ?? (values.neighbours ? 60 : 10));
  const rounds = numberOf('rounds', values.rounds);
  if (values.schema && !SCHEMAS.includes(values.schema))
    throw new Error(`--schema takes new or old, not ${values.schema}`);
  if (!values.json)
    process.stdout.write(
      `${os.cpus()[0].model}, ${os.cpus().length} cores, Node ${process.versions.node}; ${seconds} s a run\n`,
    );
  const { results, failed } = await (values.neighbours ? neighbours : contention)(values, seconds, rounds);
  if (values.json)
    process.stdout.write(`${JSON.stringify({ options: values, seconds, rounds, results }, null, 2)}\n`);
  if (failed) process.exitCode = 1;
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
