'use strict';

// What may be done while something else of the same database is going on: in a logger, a getter, an iteration.

const { onlyOn } = require('./differences.js');
const { BUSY, CLOSED, LOCKED, fails, newFile, open, openTable, refuses, thrown } = require('./support.js');

describe('a logger that uses the database', () => {
  let db;
  let within;
  let seen;
  beforeEach(() => {
    within = null;
    seen = [];
    db = open(':memory:', {
      verbose() {
        const act = within;
        within = null;
        if (act) seen.push(outcome(act));
      },
    });
    db.exec('CREATE TABLE t (a); INSERT INTO t VALUES (1)');
  });

  function outcome(act) {
    try {
      return act();
    } catch (error) {
      return error.message;
    }
  }

  test('is refused everything, while the statement goes on', async () => {
    const select = db.prepare('SELECT a FROM t');
    const other = db.prepare('SELECT 7');
    const transaction = db.transaction(() => 1);
    for (const act of [
      () => db.prepare('SELECT 1'),
      () => db.exec('SELECT 1'),
      () => db.pragma('user_version'),
      () => db.explain('SELECT 1'),
      () => db.serialize(),
      () => db.close(),
      () => transaction(),
      () => other.get(),
      () => other.all(),
      () => other.run(),
      () => other.iterate(),
      () => other.columns(),
      () => other.bind(),
      () => other.pluck(),
      () => other.raw(),
      () => other.expand(),
      () => other.safeIntegers(),
      () => select.get(),
      () => select.pluck(),
    ]) {
      within = act;
      expect(select.all()).toEqual([{ a: 1 }]);
      expect([String(act), seen.pop()]).toEqual([String(act), BUSY]);
    }
    expect(db.open).toBe(true);
  });

  test('is refused in exec() and in an iteration, too', () => {
    within = () => db.exec('DELETE FROM t');
    db.exec('INSERT INTO t VALUES (2)');
    within = () => db.prepare('SELECT 1');
    const iterator = db.prepare('SELECT a FROM t').iterate();
    expect(seen).toEqual([BUSY]);
    iterator.next();
    iterator.return();
    expect(seen).toEqual([BUSY, BUSY]);
    const again = db.prepare('SELECT a FROM t').iterate();
    within = () => again.next();
    expect(again.next().value).toEqual({ a: 1 });
    within = () => again.return();
    expect(db.prepare('SELECT 2 AS b').get()).toEqual({ b: 2 });
    expect(seen.slice(2)).toEqual([BUSY, BUSY]);
    again.return();
  });

  test('reads what the database and statements say of themselves', () => {
    const select = db.prepare('SELECT a FROM t');
    within = () => [db.open, db.inTransaction, select.busy, select.source, String(select)];
    select.get();
    expect(seen).toEqual([[true, false, false, 'SELECT a FROM t', 'SELECT a FROM t']]);
    within = () => db.defaultSafeIntegers(true) === db && db.unsafeMode(false) === db;
    select.get();
    expect(seen[1]).toBe(true);
  });

  test('a backup may be begun', async () => {
    let backup;
    within = () => (backup = db.backup(newFile()));
    db.prepare('SELECT 1').get();
    await backup;
    expect((await seen[0]).totalPages).toBeGreaterThan(0);
  });

  test('uses another database', () => {
    const other = openTable();
    within = () => other.prepare('SELECT count(*) FROM t').pluck().get();
    db.exec('SELECT 1');
    expect(seen).toEqual([3]);
  });
});

describe('a getter of the parameters that uses the database', () => {
  let db;
  beforeEach(() => {
    db = openTable();
  });

  test('reads and writes with other statements', () => {
    const insert = db.prepare("INSERT INTO t (a, b) VALUES ('got', 9)");
    const select = db.prepare('SELECT a FROM t WHERE b = :b').pluck();
    const parameters = {
      get b() {
        insert.run();
        return db.prepare('SELECT max(b) FROM t').pluck().get();
      },
    };
    expect(select.get(parameters)).toBe('got');
  });

  test('runs the same statement, which writes once for each', () => {
    const insert = db.prepare('INSERT INTO t (b) VALUES (:b)');
    const parameters = {
      get b() {
        insert.run({ b: 50 });
        return 51;
      },
    };
    expect(insert.run(parameters)).toEqual({ changes: 1, lastInsertRowid: 5 });
    expect(db.prepare('SELECT b FROM t WHERE b > 3 ORDER BY rowid').pluck().all()).toEqual([50, 51]);
  });

  onlyOn('candlestore', 'closedWhileBinding')('closes it, which is an error of the statement', () => {
    const select = db.prepare('SELECT :a');
    const parameters = {
      get a() {
        db.close();
        return 1;
      },
    };
    refuses(() => select.get(parameters), TypeError, CLOSED);
    expect(db.open).toBe(false);
  });

  test('and the values that were bound before it stay', () => {
    const select = db.prepare('SELECT ?, :a, ?').raw();
    const parameters = {
      get a() {
        return db.prepare('SELECT ?').pluck().get('inner');
      },
    };
    expect(select.get('first', parameters, 'last')).toEqual(['first', 'inner', 'last']);
  });
});

describe('statements and iterations', () => {
  let db;
  beforeEach(() => {
    db = openTable();
  });

  test('busy is only true of a statement that iterates', () => {
    const [one, two] = [db.prepare('SELECT b FROM t'), db.prepare('SELECT b FROM t')];
    const iterator = one.iterate();
    expect([one.busy, two.busy]).toEqual([true, false]);
    two.all();
    expect([one.busy, two.busy]).toEqual([true, false]);
    iterator.return();
    expect([one.busy, two.busy]).toEqual([false, false]);
  });

  test('the same statement cannot iterate twice at once, but one after the other', () => {
    const select = db.prepare('SELECT b FROM t ORDER BY b').pluck();
    expect(() => {
      for (const b of select.iterate()) for (const c of select.iterate()) expect([b, c]).toBeNull();
    }).toThrow(LOCKED);
    expect(select.busy).toBe(false);
    expect([...select.iterate(), ...select.iterate()]).toEqual([1, 2, 3, 1, 2, 3]);
  });

  test('a write in a loop over rows is refused and ends the loop, unless it is caught', () => {
    const update = db.prepare('UPDATE t SET a = 0 WHERE b = ?');
    const select = db.prepare('SELECT b FROM t ORDER BY b').pluck();
    refuses(
      () => {
        for (const b of select.iterate()) update.run(b);
      },
      TypeError,
      BUSY,
    );
    expect(update.run(1).changes).toBe(1);
    const seen = [];
    for (const b of select.iterate()) seen.push(b, thrown(() => update.run(b)).message);
    expect(seen).toEqual([1, BUSY, 2, BUSY, 3, BUSY]);
  });

  test('the rows of all() may be written while they are gone through', () => {
    const update = db.prepare('UPDATE t SET a = ? WHERE b = ?');
    for (const { b } of db.prepare('SELECT b FROM t').all()) update.run(`new ${b}`, b);
    expect(db.prepare('SELECT count(*) FROM t WHERE a LIKE ?').pluck().get('new%')).toBe(3);
  });

  test('BEGIN and COMMIT are refused while a statement iterates, as run() is', () => {
    const [begin, commit] = [db.prepare('BEGIN'), db.prepare('COMMIT')];
    const select = db.prepare('SELECT b FROM t');
    let iterator = select.iterate();
    refuses(() => begin.run(), TypeError, BUSY);
    iterator.return();
    begin.run();
    iterator = select.iterate();
    refuses(() => commit.run(), TypeError, BUSY);
    expect(db.inTransaction).toBe(true);
    iterator.return();
    commit.run();
    expect(db.inTransaction).toBe(false);
  });

  test('statements may be prepared, bound and asked while another iterates', () => {
    const iterator = db.prepare('SELECT b FROM t').iterate();
    const other = db.prepare('SELECT ? AS v');
    expect(other.bind(7).columns()[0].name).toBe('v');
    expect(other.get()).toEqual({ v: 7 });
    iterator.return();
  });

  test('an iterator that awaits between rows holds its own database alone', async () => {
    const select = db.prepare('SELECT b FROM t ORDER BY b').pluck();
    const seen = [];
    for (const b of select.iterate()) {
      await null;
      seen.push(b, thrown(() => db.exec('DELETE FROM t')).message);
    }
    expect(seen).toEqual([1, BUSY, 2, BUSY, 3, BUSY]);
  });

  test('a failure leaves nothing locked', () => {
    db.exec('CREATE UNIQUE INDEX one ON t (b)');
    const insert = db.prepare('INSERT INTO t (b) VALUES (?) RETURNING b');
    for (const act of [
      () => insert.run(1),
      () => insert.get(1),
      () => insert.all(1),
      () => insert.iterate(1).next(),
      () => insert.get(true),
      () => insert.get(),
    ]) {
      expect(thrown(act)).toBeInstanceOf(Error);
      expect(insert.busy).toBe(false);
    }
    expect(insert.get(4)).toEqual({ b: 4 });
  });
});

describe('inTransaction', () => {
  test('follows BEGIN, SAVEPOINT, COMMIT and ROLLBACK, however they are run', () => {
    const db = openTable();
    for (const [begin, end] of [
      ['BEGIN', 'COMMIT'],
      ['BEGIN IMMEDIATE', 'ROLLBACK'],
      ['SAVEPOINT s', 'RELEASE s'],
      ['BEGIN EXCLUSIVE', 'END'],
    ]) {
      db.exec(begin);
      expect(db.inTransaction).toBe(true);
      db.exec(end);
      expect(db.inTransaction).toBe(false);
      db.prepare(begin).run();
      expect(db.inTransaction).toBe(true);
      db.prepare(end).run();
      expect(db.inTransaction).toBe(false);
    }
  });

  test('stays over turns of the event loop', async () => {
    const db = openTable();
    db.exec('BEGIN; DELETE FROM t');
    await new Promise((resolve) => setImmediate(resolve));
    expect(db.inTransaction).toBe(true);
    db.exec('ROLLBACK');
    expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  });

  test('ends with a statement that rolls back by itself', () => {
    const db = openTable();
    db.exec('CREATE UNIQUE INDEX one ON t (b); BEGIN; DELETE FROM t WHERE b = 3');
    fails(() => db.exec('INSERT OR ROLLBACK INTO t (b) VALUES (1)'), 'SQLITE_CONSTRAINT_UNIQUE');
    expect(db.inTransaction).toBe(false);
    expect(db.prepare('SELECT count(*) FROM t').pluck().get()).toBe(3);
  });
});

describe('two databases on one file in one process', () => {
  let file;
  let one;
  let two;
  beforeEach(() => {
    file = newFile();
    one = openTable(1, file, { timeout: 0 });
    one.pragma('journal_mode = WAL');
    two = open(file, { timeout: 0 });
  });

  test('see what the other committed', () => {
    const count = two.prepare('SELECT count(*) FROM t').pluck();
    one.exec('INSERT INTO t (b) VALUES (2)');
    expect(count.get()).toBe(2);
    two.exec('DELETE FROM t');
    expect(one.prepare('SELECT count(*) FROM t').pluck().get()).toBe(0);
  });

  test('do not see what the other has not committed, and cannot write meanwhile', () => {
    one.exec('BEGIN; INSERT INTO t (b) VALUES (2)');
    expect(two.prepare('SELECT count(*) FROM t').pluck().get()).toBe(1);
    fails(() => two.exec('DELETE FROM t'), 'SQLITE_BUSY', 'database is locked');
    one.exec('COMMIT');
    two.exec('DELETE FROM t');
  });

  test('one waits for the other as long as its timeout says', () => {
    const patient = open(file, { timeout: 30 });
    one.exec('BEGIN IMMEDIATE');
    fails(() => patient.exec('DELETE FROM t'), 'SQLITE_BUSY', 'database is locked');
    fails(() => patient.transaction(() => 1).immediate(), 'SQLITE_BUSY', 'database is locked');
    expect(patient.inTransaction).toBe(false);
    one.exec('COMMIT');
    expect(patient.prepare('DELETE FROM t').run().changes).toBe(1);
  });

  test('one that has the file for itself lets the other not even read', () => {
    one.pragma('journal_mode = DELETE');
    one.exec('BEGIN EXCLUSIVE');
    fails(() => two.prepare('SELECT * FROM t').all(), 'SQLITE_BUSY', 'database is locked');
    one.exec('COMMIT');
    expect(two.prepare('SELECT * FROM t').all()).toHaveLength(1);
  });

  test('an iterator of one does not keep the other from writing, and sees the old rows', () => {
    const iterator = one.prepare('SELECT b FROM t ORDER BY b').iterate();
    iterator.next();
    two.exec('INSERT INTO t (b) VALUES (2)');
    expect(iterator.next()).toEqual({ value: undefined, done: true });
    expect(one.prepare('SELECT count(*) FROM t').pluck().get()).toBe(2);
  });

  onlyOn('better-sqlite3', 'immediate')('a BEGIN that only reads holds nobody up', () => {
    one.exec('BEGIN');
    one.prepare('SELECT * FROM t').all();
    two.exec('INSERT INTO t (b) VALUES (2)');
    expect(one.prepare('SELECT count(*) FROM t').pluck().get()).toBe(1);
    one.exec('COMMIT');
  });
});
