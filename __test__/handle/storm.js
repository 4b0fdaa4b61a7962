'use strict';

// The storm: threads that are terminated and processes that exit at random moments, in the midst of statements,
// iterators, transactions, backups and serialize(). After each the file must be whole and hold whole transactions only,
// every commit that had returned must be there, and the process must have ended as it was told to.
//   PROVIDER=store.db node __test__/handle/storm.js [--rounds 500] [--seed 1]
// PROVIDER is Database (unless given), store.db, better-sqlite3, or a path (storm-provider.js); CHILD_NODE another Node for
// the processes that are cut off.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { SCHEMA, commitFaultsOf, faultsOf } = require('./storm-ledger.js');
const { ORIGINAL } = require('./storm-provider.js');
const { randomOf } = require('./storm-random.js');
const { NAMES } = require('./storm-work.js');

/** Threads terminated in one process, so many at a time. */
const KILLS = 16;
const PLACES = 4;
/** Processes that exit on one file, so many at a time. */
const EXITS = 16;
const TOGETHER = 2;
const HANGS_MS = 60_000;
/** Codes with which nothing but the storm ends a process. */
const CODES = { first: 60, count: 40 };

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '500' }, seed: { type: 'string' } },
});
const asked = process.env.PROVIDER ?? 'Database';
/** The processes run in a folder of their own. */
const provider = fs.existsSync(asked) ? path.resolve(asked) : asked;
const rounds = Number(values.rounds);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const random = randomOf(seed);
const faults = [];
const tallies = [];

const report = (where, fault) => {
  faults.push(fault);
  process.stderr.write(`${where}: ${fault}\n`);
};

/** With better-sqlite3, which is not what is tried; no other process has the file open. */
function onFile(file, work) {
  const db = new (require(ORIGINAL))(file);
  try {
    return work(db);
  } finally {
    db.close();
  }
}

function newFile(folder, name) {
  const file = path.join(folder, `${name}.db`);
  onFile(file, (db) => {
    db.pragma('journal_mode = WAL');
    db.exec(SCHEMA);
  });
  return file;
}

function check(name, file, counted) {
  onFile(file, (db) => {
    const found = [...faultsOf(db), ...counted.flatMap((one) => commitFaultsOf(db, one.name, one.commits))];
    for (const fault of found) report(name, fault);
  });
}

/** Runs a program of the storm to its end, which has to be that of its own process.exit(). Gives what it printed. */
function run(program, about, folder) {
  const code = CODES.first + random.below(CODES.count);
  const text = JSON.stringify({ ...about, provider, seed: random.below(2 ** 31), code });
  const child = spawn(process.env.CHILD_NODE ?? process.execPath, [path.join(__dirname, program), text], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: HANGS_MS,
    killSignal: 'SIGKILL',
  });
  const texts = { stdout: '', stderr: '' };
  for (const name of Object.keys(texts))
    child[name].setEncoding('utf8').on('data', (chunk) => (texts[name] += chunk));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (ended, signal) => {
      const { stdout, stderr } = texts;
      if (ended !== code || signal !== null || stderr !== '')
        report(
          about.name,
          `ended with ${signal ?? ended} instead of ${code}; it said ${stderr || 'nothing'}`,
        );
      resolve(stdout === '' ? [] : [JSON.parse(stdout)].flat());
    });
  });
}

function keep(kind, told) {
  for (const tally of told) {
    for (const fault of tally.faults) report(tally.name, fault);
    if (!tally.inside) continue;
    tallies.push({ kind, ...tally });
    // Only the last of a thread that is being terminated can be (storm-work.js).
    if (tally.unsure > (kind === 'terminate' ? 1 : 0))
      report(tally.name, `${tally.unsure} commits after which nothing could be read`);
  }
  return told.filter(({ commits }) => commits !== undefined);
}

async function terminations(folder) {
  for (let left = rounds, host = 1; left > 0; left -= KILLS, host += 1) {
    const name = `host${host}`;
    const file = newFile(folder, name);
    const kills = Math.min(KILLS, left);
    check(
      name,
      file,
      keep('terminate', await run('storm-host.js', { name, file, kills, places: PLACES }, folder)),
    );
  }
}

async function exits(folder) {
  let file;
  for (let begun = 0; begun < rounds; begun += TOGETHER) {
    if (begun % EXITS === 0) file = newFile(folder, `exits${begun}`);
    const names = Array.from({ length: Math.min(TOGETHER, rounds - begun) }, (_, n) => `exit${begun + n}`);
    const told = await Promise.all(names.map((name) => run('storm-child.js', { name, file }, folder)));
    check(names.join(' and '), file, keep('exit', told.flat()));
  }
}

/** How often each action was begun, and cut short by what. */
function show() {
  const cut = (kind, name) => tallies.filter((one) => one.kind === kind && one.inside === name).length;
  const table = {};
  for (const name of [...NAMES, 'between actions'])
    table[name] = {
      begun: tallies.reduce((sum, { begun }) => sum + (begun[name] ?? 0), 0),
      'cut by terminate()': cut('terminate', name),
      'cut by exit()': cut('exit', name),
    };
  console.table(table);
  const sum = (field) => tallies.reduce((total, one) => total + one[field], 0);
  const never = NAMES.filter((name) => table[name].begun === 0);
  process.stdout.write(
    `${tallies.length} cut off, ${sum('busy')} times busy, ${sum('unsure')} commits unsure, ${faults.length} faults` +
      `${never.length > 0 ? `; never begun: ${never.join(', ')}` : ''}\n`,
  );
}

async function main() {
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--rounds must be a whole number, not ${values.rounds}`);
  process.stdout.write(`${asked}, ${rounds} rounds each, seed ${seed}\n`);
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'candlestore-storm-'));
  try {
    await terminations(folder);
    await exits(folder);
    const cores = fs.readdirSync(folder).filter((name) => /^core/.test(name));
    for (const core of cores) report('at the end', `there is a ${core}`);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  show();
  if (tallies.length < 2 * rounds)
    report('at the end', `only ${tallies.length} of ${2 * rounds} were cut off`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
});
