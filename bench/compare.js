'use strict';

// `npm run bench`: candlestore beside the code it replaces, and beside better-sqlite3 used well, at the same durability.
// The sides run in turns, each on files of its own; every round measures all of them, and their order changes from round
// to round, so that whatever else the machine does meets all. Shown are medians, and the spread from the lowest round
// to the highest. Nothing is asserted about speed; "bar" is the least ratio that is hoped for.
// Here is what is run and told; what is compared is in comparisons.js, http.js and memory.js, how in rounds.js.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { COMPARISONS } = require('./comparisons.js');
const { compare } = require('./rounds.js');
const { compareHttp, LOADS } = require('./http.js');
const { compareMemory, NAME: MEMORY } = require('./memory.js');
const { Files } = require('./files.js');
const { Floor } = require('./floor.js');
const { ForeignWriter } = require('./foreign-writer.js');
const { machine } = require('./machine.js');
const { SIDES, settingsOf } = require('./sides.js');
const { show, showMemory, line } = require('./tables.js');

const SCHEMAS = ['new', 'old'];
const RESULTS = path.join(__dirname, 'results.json');
/** Fewer are good for a look, not for results to keep. */
const ROUNDS = 7;
const OPTIONS = {
  rounds: { type: 'string', default: String(ROUNDS) },
  seconds: { type: 'string', default: '3' },
  only: { type: 'string', multiple: true },
  schema: { type: 'string' },
  'no-http': { type: 'boolean', default: false },
  out: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
};
const NAMES = [...Object.keys(COMPARISONS), ...Object.keys(LOADS), MEMORY];
const HELP = `npm run bench -- [options]
  --rounds ${ROUNDS}       rounds of each comparison
  --seconds 3      how long a server is loaded in a round
  --only <part>    comparisons whose name contains this (may be repeated)
  --schema <one>   candlestore and better-sqlite3 used well on files of the new or the old schema; both unless given
  --no-http        leaves out the servers
  --out <file>     keeps the results there; a whole run of ${ROUNDS} rounds or more keeps them in bench/results.json
  --json           prints the results instead of tables
The comparisons:
${NAMES.map((name) => `  ${name}\n`).join('')}`;

function choices(values) {
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number, not ${values.rounds}`);
  const seconds = Number(values.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds must be a number above 0, not ${values.seconds}`);
  if (values.schema && !SCHEMAS.includes(values.schema))
    throw new Error(`--schema takes new or old, not ${values.schema}`);
  const names = NAMES.filter(
    (name) =>
      (values.only?.some((part) => name.includes(part)) ?? true) && !(values['no-http'] && name in LOADS),
  );
  if (names.length === 0) throw new Error(`no comparison is named like ${values.only.join(', ')}`);
  const whole = names.length === NAMES.length && !values.schema && rounds >= ROUNDS;
  return {
    rounds,
    seconds,
    names,
    schemas: values.schema ? [values.schema] : SCHEMAS,
    out: values.out ?? (whole ? RESULTS : null),
  };
}

/** Settings of each side, told by its own connection to a file of each schema. */
async function settings(files, schemas) {
  const found = {};
  for (const [side, open] of Object.entries(SIDES))
    for (const schema of side === 'orig' ? ['new'] : schemas) {
      const file = await files.copy(side, schema, 'empty');
      const store = open(file);
      // Only the writing connection tells how it writes.
      store.upsertCandle('candles_15', 'BINANCE:BTCUSDT', {
        time: Date.UTC(2024, 0, 1),
        open: 1,
        high: 1,
        low: 1,
        close: 1,
        volume: 1,
      });
      found[side === 'orig' ? side : `${side}, ${schema} file`] = settingsOf(store);
      await store.close();
      files.drop(file);
    }
  return found;
}

const versions = (found) => ({
  node: process.versions.node,
  candlestore: require('candlestore/package.json').version,
  'better-sqlite3': require('./original/node_modules/better-sqlite3/package.json').version,
  sqlite: Object.fromEntries(Object.entries(found).map(([side, { sqlite }]) => [side, sqlite])),
  autocannon: require('autocannon/package.json').version,
});

/** Runs the comparisons of these names; `told` hears each result. */
async function run({ names, rounds, seconds, schemas }, folder, files, told) {
  const means = { files, foreign: new ForeignWriter(), floor: new Floor() };
  const results = [];
  const keep = (result) => {
    results.push(result);
    told(result);
  };
  if (names.some((name) => COMPARISONS[name]?.floor)) means.floor.build();
  try {
    for (const name of names.filter((one) => one in COMPARISONS))
      keep(await compare(name, COMPARISONS[name], rounds, schemas, means));
  } finally {
    means.foreign.stop();
  }
  const loads = names.filter((name) => name in LOADS);
  if (loads.length > 0) (await compareHttp(loads, { rounds, seconds, schemas, files, folder })).forEach(keep);
  const memory = names.includes(MEMORY) ? await compareMemory(rounds, schemas, files) : null;
  return { results, memory };
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const chosen = choices(values);
  const { rounds, schemas, out } = chosen;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-bench-'));
  try {
    const files = new Files(folder);
    const found = await settings(files, schemas);
    const about = {
      date: new Date().toISOString(),
      machine: machine(),
      versions: versions(found),
      settings: found,
      rounds,
    };
    if (!values.json) {
      const { cpu, cores, memoryGiB, kernel } = about.machine;
      process.stdout.write(
        `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${kernel}, Node ${process.versions.node}\n`,
      );
      console.table(found);
    }
    const { results, memory } = await run(chosen, folder, files, (result) => {
      if (!values.json) process.stdout.write(line(result));
    });
    const all = { ...about, comparisons: results, memory };
    if (values.json) process.stdout.write(`${JSON.stringify(all, null, 2)}\n`);
    else {
      show(all, schemas);
      if (memory) showMemory(memory);
    }
    if (out) fs.writeFileSync(out, `${JSON.stringify(all, null, 2)}\n`);
    if (!values.json)
      process.stdout.write(
        out
          ? `kept in ${path.relative('', out)}\n`
          : 'not kept: a part of a run, or few rounds; --out names a file for it\n',
      );
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
