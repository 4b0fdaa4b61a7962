'use strict';

// What bench/handle.js measures: the calls that code written for better-sqlite3 makes, each on tables that are the same
// on every side.
//   prepare(db)  outside the clock; gives the function that is measured, which tells how many units it did
//   same(db)     what every side has to give alike, looked at before anything is measured
//   writes       the row fills the table `target`, which is emptied before each measure

const {
  START,
  STEP,
  SYMBOLS: [SYMBOL],
} = require('./candles.js');

const ROWS = 10_000;
const BATCH = 100;
/** Calls that take about a microsecond are made so many times between two looks at the clock. */
const CALLS = 100;

const CANDLE_COLUMNS =
  'symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count, clusters';
const COLUMNS = 'id INTEGER PRIMARY KEY, name TEXT, note TEXT, price REAL, size REAL, gone';
const MIXED = 'id, name, note, price, size, gone';

const WORDS = ['spread', 'maker', 'wide', 'volume', 'näher', 'pool', 'fee', 'late'];

/** Row n of the mixed tables: a short text and one of 0 to 300 characters, of which some are not ASCII. */
const mixedRow = (n) => ({
  id: n,
  name: `POOL-${n.toString(36).toUpperCase()}`,
  note: Array.from({ length: (n * 7) % 43 }, (_, at) => WORDS[(n + at * 3) % 8]).join(' '),
  price: 40_000 + n / 8,
  size: (n % 1000) / 1000 + 0.001,
  gone: null,
});

function candleRow(n) {
  const open = 40_000 + n / 8;
  const cells = [open, open + 20.5, open - 10.25, open + 1.01, 12.5 + n / 1000, 7.5, 5 + n / 1000, 2.5];
  return [SYMBOL, START + n * STEP, ...cells, 100 + n, null];
}

/** Made before the clock runs: rows 1, 2, ... stand at 0, 1, ... */
const MADE = Array.from({ length: ROWS }, (_, n) => mixedRow(n + 1));
const made = (n) => MADE[n - 1];

const upTo = (count) => Array.from({ length: count }, (_, n) => n + 1);
const marks = (columns) => columns.split(', ').fill('?').join(', ');
const atNames = MIXED.replaceAll(/\w+/g, '@$&');

/** Makes and fills the tables through the handle itself. */
function fill(db) {
  db.exec(`
    CREATE TABLE candles (
      symbol TEXT NOT NULL, time INTEGER NOT NULL, open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL,
      close REAL NOT NULL, volume REAL NOT NULL, buy_volume REAL, sell_volume REAL, delta REAL, trade_count INTEGER,
      clusters TEXT, UNIQUE (symbol, time));
    CREATE TABLE mixed (${COLUMNS});
    CREATE TABLE changed (${COLUMNS});
    CREATE TABLE target (${COLUMNS})`);
  const candle = db.prepare(`INSERT INTO candles (${CANDLE_COLUMNS}) VALUES (${marks(CANDLE_COLUMNS)})`);
  const mixed = db.prepare(`INSERT INTO mixed (${MIXED}) VALUES (${atNames})`);
  db.transaction(() => {
    for (const n of upTo(ROWS)) {
      candle.run(candleRow(n));
      mixed.run(made(n));
    }
  })();
  db.exec('INSERT INTO changed SELECT * FROM mixed');
}

/** Repeats a call with the next key each time. */
function eachKey(call) {
  let key = 0;
  return () => {
    for (let done = 0; done < CALLS; done += 1) {
      key = (key % ROWS) + 1;
      call(key);
    }
    return CALLS;
  };
}

const candlesOf = (count) =>
  `SELECT ${CANDLE_COLUMNS} FROM candles WHERE symbol = '${SYMBOL}' ORDER BY time DESC LIMIT ${count}`;
const ALL_MIXED = `SELECT ${MIXED} FROM mixed`;
const INSERT = `INSERT INTO target (name, note, price, size, gone) VALUES (?, ?, ?, ?, ?)`;
const INSERT_NAMED = `INSERT INTO target (name, note, price, size, gone) VALUES (@name, @note, @price, @size, @gone)`;
const UPDATE_NAMED = 'UPDATE changed SET note = @note, price = @price, size = @size WHERE id = @id';

/** Reading many rows: all() or raw().all(). */
function all(sql, count, raw = false) {
  const prepared = (db) => (raw ? db.prepare(sql).raw() : db.prepare(sql));
  return {
    unit: 'rows/s',
    prepare: (db) => {
      const select = prepared(db);
      return () => select.all().length;
    },
    same: (db) => {
      const rows = prepared(db).all();
      if (rows.length !== count) throw new Error(`${rows.length} rows of ${sql} where ${count} are`);
      return rows;
    },
  };
}

const insertOf = (statement, n) => {
  const { name, note, price, size, gone } = made(n);
  return statement.run(name, note, price, size, gone);
};

/** Rows of `table`, after what `work` gave back. */
const writtenBy = (db, table, work) => [work(), db.prepare(`SELECT * FROM ${table} ORDER BY id`).all()];

/** Inserts of 100 rows in one db.transaction(). */
function batch(sql, insert) {
  const transactionOf = (db) => {
    const statement = db.prepare(sql);
    const rows = upTo(BATCH);
    return db.transaction(() => rows.map((n) => insert(statement, n)));
  };
  return {
    unit: 'rows/s',
    writes: true,
    prepare: (db) => {
      const transaction = transactionOf(db);
      return () => transaction().length;
    },
    same: (db) => writtenBy(db, 'target', transactionOf(db)),
  };
}

const ROWS_MEASURED = {
  'get by key, 6 columns': {
    unit: 'calls/s',
    prepare: (db) => {
      const select = db.prepare(`SELECT ${MIXED} FROM mixed WHERE id = ?`);
      return eachKey((key) => select.get(key));
    },
    same: (db) => [0, 1, 77, ROWS].map((key) => db.prepare(`${ALL_MIXED} WHERE id = ?`).get(key)),
  },
  'get one number, pluck': {
    unit: 'calls/s',
    prepare: (db) => {
      const select = db.prepare('SELECT price FROM mixed WHERE id = ?').pluck();
      return eachKey((key) => select.get(key));
    },
    same: (db) =>
      [0, 1, 77].map((key) => db.prepare('SELECT price FROM mixed WHERE id = ?').pluck().get(key)),
  },
  'all, 100 candles': all(candlesOf(100), 100),
  'all, 10,000 candles': all(candlesOf(ROWS), ROWS),
  'all, 10,000 mixed': all(ALL_MIXED, ROWS),
  'all, 100 candles, raw': all(candlesOf(100), 100, true),
  'all, 10,000 candles, raw': all(candlesOf(ROWS), ROWS, true),
  'all, 10,000 mixed, raw': all(ALL_MIXED, ROWS, true),
  'iterate, 10,000 mixed': {
    unit: 'rows/s',
    prepare: (db) => {
      const select = db.prepare(ALL_MIXED);
      return () => {
        let rows = 0;
        for (const { id } of select.iterate()) if (id > 0) rows += 1;
        return rows;
      };
    },
    same: (db) => [...db.prepare(ALL_MIXED).iterate()],
  },
  'run, one insert': {
    unit: 'rows/s',
    writes: true,
    prepare: (db) => {
      const insert = db.prepare(INSERT);
      return eachKey((key) => insertOf(insert, key));
    },
    same: (db) => writtenBy(db, 'target', () => upTo(9).map((n) => insertOf(db.prepare(INSERT), n))),
  },
  'run, 100 in a transaction': batch(INSERT, insertOf),
  'update by key, named': {
    unit: 'rows/s',
    prepare: (db) => {
      const update = db.prepare(UPDATE_NAMED);
      return eachKey((key) => update.run(made(key)));
    },
    writes: true,
    same(db) {
      // An update tells the lastInsertRowid of the insert before it.
      insertOf(db.prepare(INSERT), 1);
      const update = db.prepare(UPDATE_NAMED);
      return writtenBy(db, 'changed', () => [0, 7, 8].map((id) => update.run({ ...made(id + 1), id })));
    },
  },
  '100 in a transaction, named': batch(INSERT_NAMED, (statement, n) => statement.run(made(n))),
};

module.exports = { ROWS_MEASURED, fill };
