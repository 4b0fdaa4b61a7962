'use strict';

// A table that gets other columns under a prepared statement: rows come whole, however many answers they take.

const { open } = require('./support.js');

const columns = (count) => Array.from({ length: count }, (_, place) => `c${place}`);
const SERIES = 'WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3000)';

test.each([
  [1, 200],
  [2, 2000],
  [200, 1],
  [33, 34],
])('from %d to %d', (before, after) => {
  const db = open(':memory:');
  const table = (count) => db.exec(`DROP TABLE IF EXISTS t; CREATE TABLE t (${columns(count).join()})`);
  const fill = (count) => {
    const values = columns(count).map((_, place) => (place % 2 ? `'text ' || x` : `x + ${place}`));
    db.exec(`INSERT INTO t ${SERIES} SELECT ${values.join()} FROM n`);
  };
  table(before);
  fill(before);
  const select = db.prepare('SELECT * FROM t');
  const counted = (rows) => [rows.length, ...new Set(rows.map((row) => Object.keys(row).length))];
  expect(counted(select.all())).toEqual([3000, before]);
  table(after);
  fill(after);
  expect(counted(select.all())).toEqual([3000, after]);
  expect(counted([...select.iterate()])).toEqual([3000, after]);
  const last = select.raw().all().at(-1);
  expect(last).toEqual(columns(after).map((_, place) => (place % 2 ? 'text 3000' : 3000 + place)));
});

test('in one that changes rows and gives them back', () => {
  const db = open(':memory:');
  db.exec('CREATE TABLE t (a)');
  const insert = db.prepare(`INSERT INTO t (a) ${SERIES} SELECT x FROM n RETURNING *`);
  expect(insert.all()).toHaveLength(3000);
  for (const column of columns(60)) db.exec(`ALTER TABLE t ADD COLUMN ${column} DEFAULT 'x'`);
  const rows = insert.all();
  expect(rows).toHaveLength(3000);
  expect(rows.every((row) => Object.keys(row).length === 61 && row.c59 === 'x')).toBe(true);
});

test('the text of a statement that is at a row is told, and the rows go on', () => {
  const db = open(':memory:');
  const select = db.prepare(`${SERIES} SELECT x FROM n WHERE x > ?`).pluck().bind(0);
  const seen = [];
  for (const value of select.iterate()) {
    seen.push(value);
    if (value % 500 === 1) expect(select.toString()).toMatch(/x > 0\.0$/);
  }
  expect(seen).toEqual(Array.from({ length: 3000 }, (_, place) => place + 1));
});
