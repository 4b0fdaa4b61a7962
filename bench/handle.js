'use strict';

// `npm run bench:handle`: the handles that code written for better-sqlite3 uses, candlestore's `Database` and `store.db`,
// beside better-sqlite3 itself, at the same durability and with the same pages and cache. As in compare.js the sides run
// in turns in one process, each on a file of its own, in another order every round. Nothing is asserted about speed.
// What is measured is in handle-rows.js.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { isDeepStrictEqual, parseArgs } = require('node:util');
const candlestore = require('candlestore');
const { ROWS_MEASURED, fill } = require('./handle-rows.js');
const { machine } = require('./machine.js');
const { inTurn, spread } = require('./rounds.js');
const { settingsOf } = require('./sides.js');
const { rateText, ratioText, times } = require('./tables.js');

const ORIGINAL = path.join(__dirname, 'original', 'node_modules', 'better-sqlite3');
const MEASURE_MS = 250;
const WARM_MS = 50;
const ROUNDS = 7;

/** As the store opens its own file; the log is copied after 20 MB, as the store does by itself. */
const SETTINGS = ['page_size = 8192', 'journal_mode = WAL', 'synchronous = NORMAL', 'cache_size = -16384'];
const LOG_PAGES = 2441;
/** What has to be equal on all sides. */
const DECIDING = ['journal_mode', 'synchronous', 'page_size', 'cache_size'];

function openDatabase(Database, file) {
  const db = new Database(file);
  for (const setting of SETTINGS) db.pragma(setting);
  db.pragma(`wal_autocheckpoint = ${LOG_PAGES}`);
  return { db, close: () => db.close() };
}

function openStoreDb(file) {
  const store = candlestore.openStore(file);
  return { db: store.db, close: () => store.close() };
}

/** The sides by name, in the order shown: the ratios are to the first. Each opens a file of its own. */
function sidesOf(module) {
  const Database = module ? require(path.resolve(module)) : candlestore.Database;
  if (typeof Database !== 'function') throw new Error('candlestore exports no Database here; see --database');
  return {
    'better-sqlite3': (file) => openDatabase(require(ORIGINAL), file),
    [module ? path.basename(module) + ' of --database' : 'Database']: (file) => openDatabase(Database, file),
    'store.db': openStoreDb,
  };
}

const OPTIONS = {
  rounds: { type: 'string', default: String(ROUNDS) },
  only: { type: 'string', multiple: true },
  database: { type: 'string' },
  out: { type: 'string' },
  help: { type: 'boolean', default: false },
};
const HELP = `npm run bench:handle -- [options]
  --rounds ${ROUNDS}          rounds of each row
  --only <part>       rows whose name contains this (may be repeated)
  --database <folder> the module whose class is measured as Database, in place of candlestore's: with
                      ${path.relative(process.cwd(), ORIGINAL)} the ratio shows how much the machine sways
  --out <file>        keeps the results there
The rows:
${Object.keys(ROWS_MEASURED)
  .map((name) => `  ${name}\n`)
  .join('')}`;

function choices({ rounds: asked, only, database, out }) {
  const rounds = Number(asked);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number, not ${asked}`);
  const names = Object.keys(ROWS_MEASURED).filter(
    (name) => only?.some((part) => name.includes(part)) ?? true,
  );
  if (names.length === 0) throw new Error(`no row is named like ${only.join(', ')}`);
  return { rounds, names, sides: sidesOf(database), out };
}

/** Opens and fills a file for each side. */
function openAll(sides, folder, opened) {
  for (const [side, open] of Object.entries(sides)) {
    const file = path.join(folder, `${opened.length}.db`);
    const { db, close } = open(file);
    opened.push({ side, db, close });
    fill(db);
  }
  const settings = Object.fromEntries(opened.map((one) => [one.side, settingsOf(one)]));
  const deciding = Object.values(settings).map((all) => DECIDING.map((name) => all[name]));
  if (!deciding.every((one) => isDeepStrictEqual(one, deciding[0])))
    throw new Error(`the sides have to be alike in ${DECIDING.join(', ')}: ${JSON.stringify(settings)}`);
  return settings;
}

function checkSame(name, { same, writes }, opened) {
  let expected;
  for (const { side, db } of opened) {
    if (writes) db.exec('DELETE FROM target');
    const given = same(db);
    expected ??= given;
    if (!isDeepStrictEqual(given, expected))
      throw new Error(`${name}: ${side} gives something else than ${opened[0].side}`);
  }
}

function repeat(run, atLeast) {
  let units = 0;
  const begin = performance.now();
  do units += run();
  while (performance.now() - begin < atLeast);
  return (units / (performance.now() - begin)) * 1000;
}

/** Units a second; what was written before, and what others have left behind, is cleared away outside the clock. */
function measure({ writes }, { db, run }) {
  if (writes) {
    db.exec('DELETE FROM target');
    db.pragma('wal_checkpoint(TRUNCATE)');
  }
  globalThis.gc?.();
  return repeat(run, MEASURE_MS);
}

function compare(name, rounds, opened) {
  const row = ROWS_MEASURED[name];
  checkSame(name, row, opened);
  const participants = opened.map(({ side, db }) => ({ side, db, run: row.prepare(db), rates: [] }));
  for (const { run } of participants) repeat(run, WARM_MS);
  for (let round = 0; round < rounds; round += 1)
    for (const participant of inTurn(participants, round)) participant.rates.push(measure(row, participant));
  const [first] = participants;
  return {
    name,
    unit: row.unit,
    participants: participants.map(({ side, rates }) => ({
      side,
      rate: spread(rates),
      ratio: spread(rates.map((rate, round) => rate / first.rates[round])),
    })),
  };
}

const line = ({ name, participants: [, ...others] }) =>
  `${name}: ${others.map(({ side, ratio }) => `${side} ${times(ratio.median)} x`).join('; ')}\n`;

function show(rows, rounds) {
  process.stdout.write(
    `\nratio to better-sqlite3, median of ${rounds} rounds (lowest..highest); better-sqlite3 itself in units\n`,
  );
  const table = {};
  for (const { name, unit, participants } of rows) {
    const [first, ...others] = participants;
    table[name] = {
      [first.side]: `${rateText(first.rate)} ${unit}`,
      ...Object.fromEntries(others.map(({ side, ratio }) => [side, ratioText(ratio)])),
    };
  }
  console.table(table);
}

async function run({ names, rounds, sides, out }, folder) {
  const opened = [];
  try {
    const settings = openAll(sides, folder, opened);
    const about = {
      date: new Date().toISOString(),
      machine: machine(),
      versions: {
        node: process.versions.node,
        candlestore: require('candlestore/package.json').version,
        'better-sqlite3': require(path.join(ORIGINAL, 'package.json')).version,
      },
      settings,
      rounds,
    };
    const { cpu, cores } = about.machine;
    process.stdout.write(`${cpu}, ${cores} cores, ${os.release()}, Node ${process.versions.node}\n`);
    console.table(settings);
    const rows = names.map((name) => {
      const result = compare(name, rounds, opened);
      process.stdout.write(line(result));
      return result;
    });
    show(rows, rounds);
    if (out) fs.writeFileSync(out, `${JSON.stringify({ ...about, rows }, null, 2)}\n`);
  } finally {
    for (const { close } of opened) await close();
  }
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const chosen = choices(values);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-handle-'));
  try {
    await run(chosen, folder);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
