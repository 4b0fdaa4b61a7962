'use strict';

// The same random programs on a Database and on the db of a store: every step must give the same. What a store does
// otherwise on purpose (its own tables, BEGIN takes the write lock, rowids of its schema) is not asked for.

const { inspect } = require('node:util');
const { onlyOn } = require('./differences.js');
const { openStore } = require('./provider.js');
const { randomOf } = require('./storm-random.js');
const { newFile, open } = require('./support.js');

const PROGRAMS = 40;
const STEPS = 60;
const SCHEMA = `CREATE TABLE t (a, b); CREATE TABLE u (a UNIQUE, b TEXT); CREATE VIEW v AS SELECT * FROM t;
  INSERT INTO t VALUES (1, 2), (NULL, 'x'), (2.5, x'00'); INSERT INTO u VALUES (1, 1)`;

const TABLES = ['t', 'u', 'v', 'temp.t'];
const COUNTS = [0, 1, 16, 17, 1024, 1025, 2500];
const CELLS = [
  'x',
  "CASE WHEN x % 7 = 0 THEN 'q' || x ELSE x END",
  "CASE WHEN x < 1020 THEN x WHEN x < 1030 THEN NULL ELSE x'00ff' END",
  'CASE WHEN x % 2 THEN 9007199254740993 ELSE x * 0.5 END',
  "substr('" + 'q'.repeat(65) + "', 1, 60 + x / 300)",
  "'é' || char(0) || x",
  "CAST(x'ff41' AS TEXT)",
];
const VALUES = [
  null,
  1,
  -0,
  1.5,
  2n ** 62n,
  '',
  'é😀',
  'a'.repeat(65),
  Buffer.alloc(0),
  Buffer.from('z'),
  7,
  8,
];

const series = (random) =>
  `WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ${random.pick(COUNTS)})
   SELECT x, ${random.pick(CELLS)} AS y FROM c`;

const kinds = {
  reads: (random) =>
    random.pick([
      `SELECT * FROM ${random.pick(TABLES)}`,
      `SELECT rowid, * FROM ${random.pick(TABLES)} WHERE a IS NOT ?`,
      `SELECT t.*, u.a, 1 + 1 FROM t JOIN u LIMIT 5`,
      series(random),
    ]),
  writes: (random) =>
    random.pick([
      `INSERT INTO ${random.pick(TABLES)} (a) VALUES (?) RETURNING *`,
      `INSERT OR ${random.pick(['ROLLBACK', 'FAIL', 'REPLACE', 'IGNORE'])} INTO u VALUES (?, ?)`,
      `INSERT INTO t ${series(random)}`,
      `UPDATE ${random.pick(TABLES)} SET a = ?`,
      `DELETE FROM ${random.pick(TABLES)} WHERE a IS ?`,
    ]),
  schema: (random) =>
    random.pick([
      'CREATE TEMP TABLE t (a, b, c)',
      'DROP TABLE IF EXISTS temp.t',
      `ALTER TABLE u ADD COLUMN n${random.below(4)}`,
      'CREATE TEMP TRIGGER IF NOT EXISTS r AFTER INSERT ON t BEGIN UPDATE u SET b = new.a; END',
      "ATTACH ':memory:' AS x",
      `PRAGMA case_sensitive_like = ${random.below(2)}`,
    ]),
  control: (random) =>
    random.pick([
      'BEGIN',
      'COMMIT',
      'ROLLBACK',
      'SAVEPOINT a',
      'SAVEPOINT /* b */ b',
      'RELEASE a',
      'ROLLBACK/**/TO a',
    ]),
};

/** One step as a function of a database and its statements, drawn once for both sides. */
function draw(random, count) {
  const sql = kinds[random.pick(['reads', 'reads', 'writes', 'schema', 'control'])](random);
  const place = random.below(count);
  const values = Array.from({ length: 2 }, () => random.pick(VALUES));
  const given = (statement) => values.slice(0, statement.source.split('?').length - 1);
  const method = random.pick(['run', 'get', 'all']);
  const mode = random.pick(['pluck', 'raw', 'expand', 'safeIntegers']);
  const [isOn, most] = [random.chance(0.6), random.pick(COUNTS)];
  if (count === 0 || random.chance(0.25)) {
    return ['prepare', sql, (db, statements) => prepared(db.prepare(sql), statements)];
  }
  return random.pick([
    ['exec', sql, (db) => void db.exec(sql)],
    [method, place, (_, statements) => told(method, statements[place][method](...given(statements[place])))],
    [mode, place, (_, statements) => void statements[place][mode](isOn)],
    ['iterate', place, (_, statements) => some(statements[place].iterate(...given(statements[place])), most)],
    ['transaction', sql, (db) => void db.transaction(() => db.exec(sql)).immediate()],
  ]);
}

/** What a new statement says of itself. One that is older may know an older schema until it runs. */
function prepared(statement, statements) {
  statements.push(statement);
  return [statement.readonly, statement.reader && statement.columns()];
}

/** The last rowid is that of the schema where nothing was inserted yet. */
const told = (method, result) => (method === 'run' ? result.changes : result);

function some(iterator, most) {
  const rows = [];
  for (const row of iterator) {
    if (rows.push(row) >= most) break;
  }
  return rows;
}

function outcome(step, db, statements) {
  const count = statements.length;
  let result;
  try {
    result = step(db, statements);
  } catch (error) {
    result = `${error.name}: ${error.message}`;
  }
  const shown = inspect(result, { depth: 4, maxArrayLength: null });
  return { shown, inTransaction: db.inTransaction, prepared: statements.length - count };
}

let store;
afterEach(() => store?.close());

onlyOn('candlestore', 'storeDb')(
  'the db of a store gives what a Database gives, whatever is asked',
  async () => {
    for (let seed = 1; seed <= PROGRAMS; seed += 1) {
      const random = randomOf(seed);
      const alone = open(newFile());
      store = openStore(newFile());
      const sides = [alone, store.db].map((db) => ({ db, statements: [] }));
      for (const { db } of sides) db.exec(SCHEMA);
      const program = [];
      for (let at = 0; at < STEPS; at += 1) {
        const [name, about, step] = draw(random, sides[0].statements.length);
        program.push(`${name} ${about}`);
        const [expected, got] = sides.map(({ db, statements }) => outcome(step, db, statements));
        expect({ seed, program, ...got }).toEqual({ seed, program, ...expected });
      }
      await store.close();
    }
  },
);
