'use strict';

// iterate(): rows one by one, ends early or late, and what may be done meanwhile.

const { BUSY, LOCKED, attributes, fails, open, openTable, refuses } = require('./support.js');

const DONE = { value: undefined, done: true };

let db;
let select;
beforeEach(() => {
  db = openTable();
  select = db.prepare('SELECT b FROM t ORDER BY b');
});

const rows = [{ b: 1 }, { b: 2 }, { b: 3 }];

test('gives every row in order', () => {
  expect([...select.iterate()]).toEqual(rows);
  expect([...db.prepare('SELECT b FROM t WHERE b > 9').iterate()]).toEqual([]);
  expect([...db.prepare('SELECT b FROM t WHERE b > ? ORDER BY b').pluck().iterate(1)]).toEqual([2, 3]);
});

test('gives an iterator that is its own iterable, knows its statement and has next and return', () => {
  const iterator = select.iterate();
  expect(iterator[Symbol.iterator]()).toBe(iterator);
  expect(iterator.statement).toBe(select);
  expect(attributes(iterator, 'statement')).toBe('e');
  expect(typeof iterator.next).toBe('function');
  expect(typeof iterator.return).toBe('function');
  expect(iterator.throw).toBeUndefined();
  expect(iterator.constructor.name).toBe('StatementIterator');
  refuses(() => new iterator.constructor(), TypeError);
  iterator.return();
});

test('an iterator has methods that refuse another this', () => {
  const iterator = select.iterate();
  for (const act of [
    () => iterator.next.call({}),
    () => iterator.return.call(select),
    () => iterator[Symbol.iterator].call({}),
  ]) {
    refuses(act, TypeError);
  }
  iterator.return();
});

test('next() gives { value, done }, and goes on saying that it is done', () => {
  const iterator = select.iterate();
  expect(Object.entries(iterator.next())).toEqual([
    ['value', { b: 1 }],
    ['done', false],
  ]);
  expect(iterator.next()).toEqual({ value: { b: 2 }, done: false });
  expect(iterator.next('ignored')).toEqual({ value: { b: 3 }, done: false });
  const last = iterator.next();
  expect(Object.keys(last).sort()).toEqual(['done', 'value']);
  expect(last).toEqual(DONE);
  expect(iterator.next()).toEqual(DONE);
  expect(iterator.return()).toEqual(DONE);
});

test('return() ends it, whether it has begun or not', () => {
  const begun = select.iterate();
  begun.next();
  expect(begun.return()).toEqual(DONE);
  expect(begun.next()).toEqual(DONE);
  const fresh = select.iterate();
  expect(fresh.return(7)).toEqual(DONE);
  expect(fresh.next()).toEqual(DONE);
  expect(select.all()).toEqual(rows);
});

test('break, throw and a short destructuring end it', () => {
  for (const row of select.iterate()) if (row.b === 2) break;
  expect(select.busy).toBe(false);
  expect(() => {
    for (const row of select.iterate()) if (row) throw new Error('mine');
  }).toThrow('mine');
  expect(select.busy).toBe(false);
  const [first] = select.iterate();
  expect(first).toEqual({ b: 1 });
  expect(select.busy).toBe(false);
  db.exec('DELETE FROM t');
});

test('return in a function ends it', () => {
  const find = (b) => {
    for (const row of select.iterate()) if (row.b === b) return row;
    return null;
  };
  expect(find(2)).toEqual({ b: 2 });
  expect(find(2)).toEqual({ b: 2 });
  expect(find(9)).toBeNull();
  expect(select.busy).toBe(false);
});

test('Array.from, Map, Set and yield* take it', () => {
  expect(Array.from(select.iterate(), ({ b }) => b)).toEqual([1, 2, 3]);
  expect(new Map(db.prepare('SELECT b, a FROM t').raw().iterate()).get(2)).toBe('row 2');
  expect(new Set(db.prepare('SELECT b FROM t').pluck().iterate()).size).toBe(3);
  function* twice() {
    yield* select.iterate();
    yield* select.iterate();
  }
  expect([...twice()]).toEqual([...rows, ...rows]);
});

test('a statement that iterates is busy, from iterate() to the end', () => {
  expect(select.busy).toBe(false);
  const iterator = select.iterate();
  expect(select.busy).toBe(true);
  iterator.next();
  expect(select.busy).toBe(true);
  while (!iterator.next().done);
  expect(select.busy).toBe(false);
});

test('a statement that iterates does nothing else', () => {
  const iterator = select.iterate();
  for (const act of [
    () => select.get(),
    () => select.all(),
    () => select.iterate(),
    () => select.run(),
    () => select.bind(),
    () => select.pluck(),
    () => select.expand(),
    () => select.raw(),
    () => select.safeIntegers(),
  ]) {
    refuses(act, TypeError, LOCKED);
  }
  expect(select.columns().map(({ name }) => name)).toEqual(['b']);
  expect(String(select)).toBe('SELECT b FROM t ORDER BY b');
  expect([...iterator]).toEqual(rows);
  expect(select.pluck().all()).toEqual([1, 2, 3]);
});

test('other statements read meanwhile', () => {
  const other = db.prepare('SELECT a FROM t WHERE b = ?').pluck();
  const seen = [];
  for (const { b } of select.iterate()) seen.push(other.get(b), other.all(b)[0], [...other.iterate(b)][0]);
  expect(seen).toHaveLength(9);
  expect(seen.slice(6)).toEqual(['row 3', 'row 3', 'row 3']);
});

test('two statements iterate in turn', () => {
  const down = db.prepare('SELECT b FROM t ORDER BY b DESC');
  const [one, two] = [select.iterate(), down.iterate()];
  const seen = [];
  for (let n = 0; n < 3; n += 1) seen.push([one.next().value.b, two.next().value.b]);
  expect(seen).toEqual([
    [1, 3],
    [2, 2],
    [3, 1],
  ]);
  expect([one.next(), two.next()]).toEqual([DONE, DONE]);
});

test('hundreds of iterators may be open', () => {
  const iterators = Array.from({ length: 300 }, () => db.prepare('SELECT b FROM t ORDER BY b').iterate());
  expect(iterators.map((iterator) => iterator.next().value.b)).toEqual(Array(300).fill(1));
  for (const iterator of iterators) iterator.return();
  expect(db.exec('DELETE FROM t')).toBe(db);
});

test('nothing writes meanwhile, and everything else that might change the connection is refused', async () => {
  const insert = db.prepare("INSERT INTO t (a) VALUES ('x')");
  const read = db.prepare('SELECT 1');
  const transaction = db.transaction(() => 1);
  const iterator = select.iterate();
  iterator.next();
  for (const act of [
    () => insert.run(),
    () => read.run(),
    () => db.exec('SELECT 1'),
    () => db.pragma('user_version'),
    () => db.close(),
    () => db.serialize(),
    () => transaction(),
    () => transaction.immediate(),
  ]) {
    refuses(act, TypeError, BUSY);
  }
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  expect(db.explain('SELECT 1').length).toBeGreaterThan(1);
  expect(db.inTransaction).toBe(false);
  iterator.return();
  expect(insert.run().changes).toBe(1);
  expect(transaction()).toBe(1);
});

test('a statement with RETURNING writes by get(), all() and iterate() while another iterates', () => {
  const insert = db.prepare('INSERT INTO t (b) VALUES (?) RETURNING b');
  const iterator = select.iterate();
  iterator.next();
  expect(insert.get(10)).toEqual({ b: 10 });
  expect(insert.all(11)).toEqual([{ b: 11 }]);
  iterator.return();
  expect(select.pluck().all()).toEqual([1, 2, 3, 10, 11]);
});

test('iterating a statement that writes has written everything with its first row', () => {
  const insert = db.prepare('INSERT INTO t (b) VALUES (10), (11), (12) RETURNING b');
  const iterator = insert.iterate();
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  expect(iterator.next()).toEqual({ value: { b: 10 }, done: false });
  iterator.return();
  expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(6);
});

test('in unsafe mode others write while it iterates', () => {
  db.unsafeMode();
  const update = db.prepare('UPDATE t SET a = ? WHERE b = ?');
  for (const { b } of select.iterate()) update.run(`new ${b}`, b);
  expect(db.prepare('SELECT a FROM t ORDER BY b').pluck().all()).toEqual(['new 1', 'new 2', 'new 3']);
});

test('iterates in a transaction, and ends there', () => {
  const sum = db.transaction(() => {
    let total = 0;
    for (const { b } of select.iterate()) total += b;
    db.exec('DELETE FROM t');
    return total;
  });
  expect(sum()).toBe(6);
  expect(select.all()).toEqual([]);
});

test('a transaction whose iterator is still open cannot commit, and is left', () => {
  const transaction = db.transaction(() => {
    db.prepare("INSERT INTO t (a) VALUES ('x')").run();
    return select.iterate();
  });
  refuses(() => transaction(), TypeError, BUSY);
  expect(db.inTransaction).toBe(true);
});

test('values may be bound, and a failure to bind leaves nothing open', () => {
  const statement = db.prepare('SELECT ? AS v');
  refuses(() => statement.iterate(), RangeError, 'Too few parameter values were provided');
  refuses(() => statement.iterate({}), RangeError, 'Too few parameter values were provided');
  expect(statement.busy).toBe(false);
  expect([...statement.iterate(7)]).toEqual([{ v: 7 }]);
  db.exec('DELETE FROM t');
});

test('a row that fails throws, ends it and leaves nothing open', () => {
  db.exec(`UPDATE t SET a = '{}'; UPDATE t SET a = 'no json' WHERE b = 2`);
  const statement = db.prepare("SELECT json_extract(a, '$') AS v FROM t ORDER BY rowid");
  const iterator = statement.iterate();
  expect(iterator.next()).toEqual({ value: { v: '{}' }, done: false });
  fails(() => iterator.next(), 'SQLITE_ERROR', 'malformed JSON');
  expect(iterator.next()).toEqual(DONE);
  expect(statement.busy).toBe(false);
  db.exec('DELETE FROM t');
});

test('the mode and integers are those of the moment of iterate()', () => {
  const statement = db.prepare('SELECT b FROM t ORDER BY b').raw();
  const iterator = statement.iterate();
  db.defaultSafeIntegers();
  expect(iterator.next().value).toEqual([1]);
  iterator.return();
  expect([...statement.safeIntegers().pluck().iterate()]).toEqual([1n, 2n, 3n]);
});

test('values that are the caller’s may change once it has begun', () => {
  const statement = db.prepare('SELECT ? AS v UNION ALL SELECT 2');
  const bytes = Buffer.from([1, 2, 3]);
  const values = [bytes];
  const iterator = statement.iterate(values);
  bytes.fill(9);
  values[0] = 'other';
  expect([...iterator][0].v).toEqual(Buffer.from([1, 2, 3]));
});

test('10,000 rows are iterated', () => {
  const sql =
    'WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n LIMIT 10000) SELECT i FROM n';
  let sum = 0;
  for (const { i } of db.prepare(sql).iterate()) sum += i;
  expect(sum).toBe(49_995_000);
});

test('rows are made as they are asked for: one of endless rows may be iterated, or the first be got', () => {
  const endless = 'WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n';
  const seen = [];
  for (const i of db.prepare(endless).pluck().iterate()) {
    seen.push(i);
    if (i === 5) break;
  }
  expect(seen).toEqual([1, 2, 3, 4, 5]);
  expect(db.prepare(endless).get()).toEqual({ i: 1 });
  expect(db.prepare(endless).run().changes).toBe(0);
});

test('iterators of two databases do not hinder each other', () => {
  const other = open();
  const iterator = select.iterate();
  iterator.next();
  other.exec('CREATE TABLE t (a)');
  expect(other.close().open).toBe(false);
  iterator.return();
});

test('an iterator that is left to itself keeps the database busy', () => {
  select.iterate().next();
  refuses(() => db.exec('SELECT 1'), TypeError, BUSY);
  refuses(() => select.all(), TypeError, LOCKED);
});
