'use strict';

// transaction(): functions that commit what they did, or none of it.

const { onlyOn } = require('./differences.js');
const { BUSY, attributes, fails, newFile, open, openTable, refuses, thrown } = require('./support.js');

const VARIANTS = ['default', 'deferred', 'immediate', 'exclusive'];

let db;
let insert;
beforeEach(() => {
  db = openTable(0);
  insert = db.prepare('INSERT INTO t (b) VALUES (?)');
});

const stored = () => db.prepare('SELECT b FROM t ORDER BY rowid').pluck().all();

describe('the function', () => {
  test('commits, and gives what the given one gives', () => {
    const both = db.transaction((x, y) => {
      insert.run(x);
      expect(db.inTransaction).toBe(true);
      insert.run(y);
      return { x, y };
    });
    expect(both(1, 2)).toEqual({ x: 1, y: 2 });
    expect(db.inTransaction).toBe(false);
    expect(stored()).toEqual([1, 2]);
  });

  test('gives any value as it is', () => {
    for (const value of [undefined, null, 0, '', false, Symbol('s'), [1], { then: 7 }]) {
      expect(db.transaction(() => value)()).toBe(value);
    }
  });

  test('hands this and all arguments on', () => {
    const seen = [];
    const transaction = db.transaction(function (...values) {
      seen.push(this, ...values);
    });
    const mine = { transaction };
    mine.transaction(1, 'two');
    transaction.call(7, 3);
    transaction.immediate.apply(mine, [4, 5, 6]);
    expect(seen[0]).toBe(mine);
    expect(seen[3]).toBe(7);
    expect(seen[5]).toBe(mine);
    expect([seen.slice(1, 3), seen[4], seen.slice(6)]).toEqual([[1, 'two'], 3, [4, 5, 6]]);
  });

  test('rolls back and throws on what the given one throws, whatever that is', () => {
    for (const mine of [new Error('mine'), 'text', 7, null, undefined]) {
      let caught = 'nothing';
      try {
        db.transaction(() => {
          insert.run(1);
          throw mine;
        })();
      } catch (error) {
        caught = error;
      }
      expect(caught).toBe(mine);
    }
    expect(db.inTransaction).toBe(false);
    expect(stored()).toEqual([]);
  });

  test('rolls back on a failure of SQLite that is not caught, and keeps the rest if it is', () => {
    db.exec('CREATE UNIQUE INDEX one ON t (b)');
    const transaction = db.transaction((caught) => {
      insert.run(1);
      try {
        insert.run(1);
      } catch (error) {
        if (!caught) throw error;
      }
      insert.run(2);
    });
    fails(() => transaction(false), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.b');
    expect(stored()).toEqual([]);
    transaction(true);
    expect(stored()).toEqual([1, 2]);
  });

  test('has its variants and its database as properties that cannot be changed', () => {
    const given = () => 1;
    const transaction = db.transaction(given);
    expect(typeof transaction).toBe('function');
    expect(transaction).not.toBe(given);
    expect(Object.keys(transaction)).toEqual(['database']);
    expect(transaction.database).toBe(db);
    expect(transaction.default).toBe(transaction);
    for (const property of [...VARIANTS, 'database']) {
      expect([property, attributes(transaction, property)]).toEqual([
        property,
        property === 'database' ? 'e' : '',
      ]);
      expect(Reflect.set(transaction, property, 'other')).toBe(false);
    }
  });

  test('each variant has the same properties', () => {
    const transaction = db.transaction(() => 1);
    for (const from of VARIANTS) {
      for (const to of VARIANTS) expect(transaction[from][to]).toBe(transaction[to]);
      expect(transaction[from].database).toBe(db);
    }
    expect(new Set(VARIANTS.map((variant) => transaction[variant])).size).toBe(4);
  });

  test.each(VARIANTS)('%s commits and rolls back', (variant) => {
    const transaction = db.transaction((fail) => {
      insert.run(1);
      if (fail) throw new Error('mine');
      return db.inTransaction;
    });
    expect(() => transaction[variant](true)).toThrow('mine');
    expect(stored()).toEqual([]);
    expect(transaction[variant](false)).toBe(true);
    expect(stored()).toEqual([1]);
  });

  test('may be made many times and called again and again', () => {
    const one = db.transaction((n) => insert.run(n).changes);
    for (let n = 0; n < 50; n += 1) expect(one(n)).toBe(1);
    expect(stored()).toHaveLength(50);
  });

  test('reads on a read-only database', () => {
    const file = newFile();
    openTable(2, file).close();
    const reader = open(file, { readonly: true });
    const count = reader.transaction(() => reader.prepare('SELECT count(*) FROM t').pluck().get());
    expect(count()).toBe(2);
    expect(count.deferred()).toBe(2);
    expect(count.immediate()).toBe(2);
    fails(
      () => reader.transaction(() => reader.exec('DELETE FROM t'))(),
      'SQLITE_READONLY',
      'attempt to write a readonly database',
    );
    expect(reader.inTransaction).toBe(false);
  });

  test.each([[undefined], [null], [7], ['text'], [{}]])('is not made of %p', (fn) => {
    refuses(() => db.transaction(fn), TypeError, 'Expected first argument to be a function');
  });
});

describe('promises', () => {
  test('are refused, and what was done is rolled back', async () => {
    let settled;
    const transaction = db.transaction(() => {
      insert.run(1);
      settled = Promise.resolve(7);
      return settled;
    });
    refuses(() => transaction(), TypeError, 'Transaction function cannot return a promise');
    expect(db.inTransaction).toBe(false);
    expect(stored()).toEqual([]);
    expect(await settled).toBe(7);
  });

  test('an async function runs to its first await, and is rolled back', async () => {
    const ended = [];
    const transaction = db.transaction(async () => {
      insert.run(1);
      await null;
      ended.push(db.inTransaction);
    });
    refuses(() => transaction.immediate(), TypeError, 'Transaction function cannot return a promise');
    expect(stored()).toEqual([]);
    await null;
    expect(ended).toEqual([false]);
  });

  test('anything with a function then is one', () => {
    const then = () => {};
    const callable = Object.assign(() => {}, { then });
    for (const value of [{ then }, callable, Object.create({ then })]) {
      refuses(() => db.transaction(() => value)(), TypeError, 'Transaction function cannot return a promise');
    }
  });
});

describe('within another', () => {
  test('is a savepoint: an inner failure that is caught takes back the inner alone', () => {
    const inner = db.transaction((n, fail) => {
      insert.run(n);
      if (fail) throw new Error('inner');
    });
    const outer = db.transaction(() => {
      insert.run(1);
      inner(2, false);
      expect(() => inner(3, true)).toThrow('inner');
      expect(db.inTransaction).toBe(true);
      inner(4, false);
    });
    outer();
    expect(stored()).toEqual([1, 2, 4]);
  });

  test('an inner failure that is not caught takes back everything', () => {
    const inner = db.transaction(() => {
      insert.run(2);
      throw new Error('inner');
    });
    const outer = db.transaction(() => {
      insert.run(1);
      inner();
    });
    expect(() => outer()).toThrow('inner');
    expect(stored()).toEqual([]);
    expect(db.inTransaction).toBe(false);
  });

  test('an outer failure takes back the inner, too', () => {
    const inner = db.transaction(() => insert.run(2));
    const outer = db.transaction(() => {
      inner();
      throw new Error('outer');
    });
    expect(() => outer()).toThrow('outer');
    expect(stored()).toEqual([]);
  });

  test('may be itself, several deep', () => {
    const down = db.transaction((n) => {
      insert.run(n);
      if (n > 1) down(n - 1);
      else throw new Error('deep');
    });
    const guarded = db.transaction((n) => {
      insert.run(n);
      try {
        down(n - 1);
      } catch {
        insert.run(0);
      }
    });
    guarded(5);
    expect(stored()).toEqual([5, 0]);
  });

  test.each(VARIANTS)('of %s is a savepoint, as it is after BEGIN', (variant) => {
    const inner = db.transaction((fail) => {
      insert.run(2);
      if (fail) throw new Error('inner');
    });
    db.exec('BEGIN');
    insert.run(1);
    expect(() => inner[variant](true)).toThrow('inner');
    inner[variant](false);
    expect(db.inTransaction).toBe(true);
    db.exec('COMMIT');
    expect(stored()).toEqual([1, 2]);
  });

  test('savepoints of the caller have their names for themselves', () => {
    const inner = db.transaction(() => insert.run(2));
    db.exec('SAVEPOINT mine');
    insert.run(1);
    inner();
    db.exec('ROLLBACK TO mine; RELEASE mine');
    expect(db.inTransaction).toBe(false);
    expect(stored()).toEqual([]);
  });
});

describe('what the function does to the transaction itself', () => {
  test('a COMMIT of its own makes the end fail', () => {
    const transaction = db.transaction(() => {
      insert.run(1);
      db.exec('COMMIT');
    });
    fails(() => transaction(), 'SQLITE_ERROR', 'cannot commit - no transaction is active');
    expect(db.inTransaction).toBe(false);
    expect(stored()).toEqual([1]);
  });

  test('a ROLLBACK of its own makes the end fail', () => {
    const transaction = db.transaction(() => {
      insert.run(1);
      db.exec('ROLLBACK');
      return 7;
    });
    fails(() => transaction(), 'SQLITE_ERROR', 'cannot commit - no transaction is active');
    expect(stored()).toEqual([]);
  });

  test('a ROLLBACK before it throws leaves its own error', () => {
    const transaction = db.transaction(() => {
      db.exec('ROLLBACK');
      throw new Error('mine');
    });
    expect(() => transaction()).toThrow('mine');
  });

  test('a statement that rolls back by itself gives its own error', () => {
    db.exec('CREATE UNIQUE INDEX one ON t (b)');
    const transaction = db.transaction(() => {
      insert.run(1);
      db.prepare('INSERT OR ROLLBACK INTO t (b) VALUES (1)').run();
    });
    fails(() => transaction(), 'SQLITE_CONSTRAINT_UNIQUE', 'UNIQUE constraint failed: t.b');
    expect(db.inTransaction).toBe(false);
    expect(stored()).toEqual([]);
  });

  test('a COMMIT that fails is rolled back', () => {
    db.exec(`
      CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE child (parent REFERENCES parent DEFERRABLE INITIALLY DEFERRED)`);
    const orphan = db.transaction(() => db.exec('INSERT INTO child VALUES (1)'));
    fails(() => orphan(), 'SQLITE_CONSTRAINT_FOREIGNKEY', 'FOREIGN KEY constraint failed');
    expect(db.inTransaction).toBe(false);
    expect(db.prepare('SELECT count(*) FROM child').pluck().get()).toBe(0);
  });

  test('closing the database in it throws, and nothing is committed', () => {
    const file = newFile();
    const other = openTable(0, file);
    const transaction = other.transaction(() => {
      other.exec('INSERT INTO t (b) VALUES (1)');
      other.close();
    });
    refuses(() => transaction(), TypeError, 'The database connection is not open');
    expect(open(file).prepare('SELECT count(*) FROM t').pluck().get()).toBe(0);
  });
});

test('is refused while an iterator is open', () => {
  const transaction = db.transaction(() => 1);
  insert.run(1);
  const iterator = db.prepare('SELECT * FROM t').iterate();
  for (const variant of VARIANTS) refuses(() => transaction[variant](), TypeError, BUSY);
  iterator.return();
  expect(transaction()).toBe(1);
});

test('generators run to their first yield outside of it', () => {
  const transaction = db.transaction(function* () {
    insert.run(1);
    yield db.inTransaction;
  });
  const generator = transaction();
  expect(stored()).toEqual([]);
  expect(generator.next()).toEqual({ value: false, done: false });
  expect(stored()).toEqual([1]);
});

describe('locks', () => {
  let file;
  let one;
  let other;
  beforeEach(() => {
    file = newFile();
    one = openTable(0, file, { timeout: 0 });
    one.pragma('journal_mode = WAL');
    other = open(file, { timeout: 0 });
  });

  test.each(['immediate', 'exclusive'])('%s has the write lock from its beginning', (variant) => {
    const transaction = one.transaction(() => {
      fails(() => other.exec('BEGIN IMMEDIATE'), 'SQLITE_BUSY', 'database is locked');
      return other.prepare('SELECT count(*) FROM t').pluck().get();
    });
    expect(transaction[variant]()).toBe(0);
    other.exec('BEGIN IMMEDIATE; ROLLBACK');
  });

  test('the default has the write lock from its first write', () => {
    const transaction = one.transaction(() => {
      one.exec('INSERT INTO t (b) VALUES (1)');
      fails(() => other.exec('INSERT INTO t (b) VALUES (2)'), 'SQLITE_BUSY', 'database is locked');
    });
    transaction();
    expect(other.prepare('SELECT b FROM t').pluck().all()).toEqual([1]);
  });

  test('immediate does not call the function if the lock is not to be had', () => {
    other.exec('BEGIN IMMEDIATE');
    let called = false;
    const error = thrown(() => one.transaction(() => (called = true)).immediate());
    expect(error.code).toBe('SQLITE_BUSY');
    expect(called).toBe(false);
    expect(one.inTransaction).toBe(false);
    other.exec('ROLLBACK');
  });

  onlyOn('better-sqlite3', 'immediate')(
    'the default reads an old state and cannot write over a new one',
    () => {
      const transaction = one.transaction(() => {
        one.prepare('SELECT count(*) FROM t').get();
        other.exec('INSERT INTO t (b) VALUES (2)');
        one.exec('INSERT INTO t (b) VALUES (1)');
      });
      fails(() => transaction(), 'SQLITE_BUSY_SNAPSHOT', 'database is locked');
      expect(one.inTransaction).toBe(false);
    },
  );
  onlyOn('candlestore', 'immediate')('the default keeps others from writing once it has read', () => {
    const transaction = one.transaction(() => {
      one.prepare('SELECT count(*) FROM t').get();
      fails(() => other.exec('INSERT INTO t (b) VALUES (2)'), 'SQLITE_BUSY', 'database is locked');
      one.exec('INSERT INTO t (b) VALUES (1)');
    });
    transaction();
    expect(other.prepare('SELECT b FROM t').pluck().all()).toEqual([1]);
  });
});
