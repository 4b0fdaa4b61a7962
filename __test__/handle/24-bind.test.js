'use strict';

// Binding: which values, in which forms, and bind().

const vm = require('node:vm');
const { fails, open, openTable, refuses, thrown } = require('./support.js');

const FEW = 'Too few parameter values were provided';
const MANY = 'Too many parameter values were provided';
const NAMED = 'Missing named parameters';
const PLAIN = 'Named parameters can only be passed within plain objects';
const TYPES = 'SQLite3 can only bind numbers, strings, bigints, buffers, and null';
const TWO = 'You cannot specify named parameters in two different objects';
const TOO_BIG = 'The bound string, buffer, or bigint is too big';

let db;
beforeEach(() => {
  db = open();
});

const read = (sql, ...values) =>
  db
    .prepare(sql)
    .raw()
    .get(...values);
const typed = (value) => read('SELECT typeof(v), v FROM (SELECT ? AS v)', value);

describe('values', () => {
  test.each([
    [null, 'null', null],
    [undefined, 'null', null],
    [NaN, 'null', null],
    [0, 'real', 0],
    [-0, 'real', -0],
    [1, 'real', 1],
    [-1.5, 'real', -1.5],
    [2 ** 53, 'real', 2 ** 53],
    [Infinity, 'real', Infinity],
    [-Infinity, 'real', -Infinity],
    [Number.MIN_VALUE, 'real', Number.MIN_VALUE],
    [Number.MAX_VALUE, 'real', Number.MAX_VALUE],
    [0n, 'integer', 0],
    [5n, 'integer', 5],
    [2n ** 53n + 1n, 'integer', 2 ** 53],
    [2n ** 63n - 1n, 'integer', 2 ** 63],
    [-(2n ** 63n), 'integer', -(2 ** 63)],
    ['', 'text', ''],
    ['text', 'text', 'text'],
    ["it's", 'text', "it's"],
    ['é😀', 'text', 'é😀'],
    ['a\0b', 'text', 'a\0b'],
    ['\0', 'text', '\0'],
    ['\ud800', 'text', '\ufffd'],
    ['a\udc00b', 'text', 'a\ufffdb'],
    ['\ufeffbom', 'text', '\ufeffbom'],
    [Buffer.alloc(0), 'blob', Buffer.alloc(0)],
    [Buffer.from([0, 1, 255]), 'blob', Buffer.from([0, 1, 255])],
  ])('%p is bound as %s and read as %p', (value, type, expected) => {
    expect(typed(value)).toEqual([type, expected]);
  });

  test('an integer column makes integers of whole numbers', () => {
    db.exec('CREATE TABLE t (a INTEGER, b, c TEXT)');
    db.prepare('INSERT INTO t VALUES (?, ?, ?)').run(1, 1, 1);
    expect(read('SELECT typeof(a), typeof(b), typeof(c), c FROM t')).toEqual([
      'integer',
      'real',
      'text',
      '1.0',
    ]);
  });

  test('bytes are those of the view, whatever it is a view of', () => {
    const { buffer } = new Uint8Array([9, 1, 2, 3, 9, 9, 9, 9]);
    for (const view of [
      new Uint8Array(buffer, 1, 3),
      new Uint8ClampedArray(buffer, 1, 3),
      new Int8Array(buffer, 1, 3),
      Buffer.from(buffer, 1, 3),
      new Uint8Array(new SharedArrayBuffer(3)).fill(7),
    ]) {
      const expected = Buffer.from(view.buffer).subarray(view.byteOffset, view.byteOffset + 3);
      expect(typed(view)).toEqual(['blob', Buffer.from(expected)]);
    }
  });

  test('a DataView is refused', () => {
    const view = new DataView(new ArrayBuffer(3));
    expect(thrown(() => read('SELECT ?', view))).toBeInstanceOf(Error);
    expect(thrown(() => read('SELECT :a', { a: view }))).toBeInstanceOf(Error);
  });

  test('arrays of wider numbers are bound as their bytes', () => {
    for (const view of [new Uint16Array([1, 2]), new Float64Array([1.5]), new BigInt64Array([1n])]) {
      expect(typed(view)).toEqual(['blob', Buffer.from(view.buffer)]);
    }
  });

  test('bytes that were transferred are an empty blob', () => {
    const gone = new Uint8Array(8);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(typed(gone)).toEqual(['blob', Buffer.alloc(0)]);
  });

  test('a text and a blob of 1 MB are bound whole', () => {
    const text = 'aé😀'.repeat(150_000);
    const bytes = Buffer.alloc(1 << 20, 'candle');
    const [a, b] = read('SELECT ?, ?', text, bytes);
    expect(a === text).toBe(true);
    expect(bytes.equals(b)).toBe(true);
  });

  test('texts and bytes of many lengths are bound and read whole', () => {
    const statement = db.prepare('SELECT ? AS t, ? AS b').raw();
    for (const length of [
      1, 7, 8, 15, 16, 31, 32, 33, 63, 64, 127, 128, 255, 256, 257, 1023, 4096, 4097, 65_537,
    ]) {
      for (const letter of ['a', 'é', '€', '😀', '\0']) {
        const text = letter.repeat(length) + 'z';
        const bytes = Buffer.from(text);
        const [gotText, gotBytes] = statement.get(text, bytes);
        expect([length, letter, gotText === text, bytes.equals(gotBytes)]).toEqual([
          length,
          letter,
          true,
          true,
        ]);
      }
    }
  });

  const Thing = class {};
  test.each([
    [true],
    [false],
    [Symbol('s')],
    [() => 1],
    [new Date(0)],
    [new Map()],
    [new Set([1])],
    [/x/],
    [new ArrayBuffer(2)],
    [new SharedArrayBuffer(2)],
    [new Thing()],
    [new String('x')],
    [new Number(1)],
    [Promise.resolve()],
    [new Error('x')],
    [Object.create({ own: 1 })],
  ])('%p cannot be bound', (value) => {
    const statement = db.prepare('SELECT ? AS v');
    refuses(() => statement.get(value), TypeError, TYPES);
    refuses(() => statement.get([value]), TypeError, TYPES);
    refuses(() => db.prepare('SELECT :v').get({ v: value }), TypeError, TYPES);
    expect(statement.get(1)).toEqual({ v: 1 });
  });

  test('an array or an object within an array or an object cannot be bound', () => {
    refuses(() => read('SELECT ?', [[1]]), TypeError, TYPES);
    refuses(() => read('SELECT ?', [{}]), TypeError, TYPES);
    refuses(() => read('SELECT :a', { a: [1] }), TypeError, TYPES);
    refuses(() => read('SELECT :a', { a: {} }), TypeError, TYPES);
  });

  test.each([[2n ** 63n], [-(2n ** 63n) - 1n], [2n ** 64n], [10n ** 100n]])(
    'the bigint %p is too big',
    (value) => {
      refuses(() => read('SELECT ?', value), RangeError, TOO_BIG);
      refuses(() => read('SELECT :a', { a: value }), RangeError, TOO_BIG);
    },
  );
});

describe('anonymous parameters', () => {
  test('take arguments, arrays, and both in any order', () => {
    for (const values of [
      [1, 2, 3],
      [[1, 2, 3]],
      [1, [2, 3]],
      [[1], [2], [3]],
      [[1, 2], 3],
      [[], 1, [], [2, 3], []],
    ]) {
      expect(read('SELECT ?, ?, ?', ...values)).toEqual([1, 2, 3]);
    }
  });

  test('an array may have holes, which are NULL', () => {
    // eslint-disable-next-line no-sparse-arrays
    expect(read('SELECT ?, ?, ?', [1, , 3])).toEqual([1, null, 3]);
  });

  test('an array of a subclass or of another context is an array', () => {
    class Mine extends Array {}
    expect(read('SELECT ?, ?', Mine.from([1, 2]))).toEqual([1, 2]);
    expect(read('SELECT ?, ?', vm.runInNewContext('[1, 2]'))).toEqual([1, 2]);
  });

  test('what only looks like an array is none', () => {
    refuses(() => read('SELECT ?, ?', { 0: 1, 1: 2, length: 2 }), RangeError, FEW);
    (function () {
      // Its prototype is that of plain objects, so it counts as one, without a name that is asked for.
      refuses(() => read('SELECT ?', arguments), RangeError, FEW);
    })(1);
  });

  test('too few and too many are refused', () => {
    refuses(() => read('SELECT ?, ?', 1), RangeError, FEW);
    refuses(() => read('SELECT ?'), RangeError, FEW);
    refuses(() => read('SELECT ?', []), RangeError, FEW);
    refuses(() => read('SELECT ?', 1, 2), RangeError, MANY);
    refuses(() => read('SELECT ?', [1, 2]), RangeError, MANY);
    refuses(() => read('SELECT 1', 1), RangeError, MANY);
    refuses(() => read('SELECT 1', undefined), RangeError, MANY);
    refuses(() => read('SELECT 1', null), RangeError, MANY);
  });

  test('none are asked for: none, an empty array or an object are taken', () => {
    expect(read('SELECT 1')).toEqual([1]);
    expect(read('SELECT 1', [])).toEqual([1]);
    expect(read('SELECT 1', {})).toEqual([1]);
    expect(read('SELECT 1', { a: 1 })).toEqual([1]);
    expect(read('SELECT 1', [], {}, [])).toEqual([1]);
  });

  test('may be thousands', () => {
    const values = Array.from({ length: 32_766 }, (_, n) => n);
    const sum = `SELECT count(*) FROM (VALUES ${values.map(() => '(?)').join(', ')})`;
    expect(read(sum, values)).toEqual([32_766]);
    fails(() => db.prepare(`SELECT ${Array(32_767).fill('?').join(' + ')}`), 'SQLITE_ERROR');
  });
});

describe('numbered parameters', () => {
  test('?NNN have names, so they are given as properties', () => {
    expect(read('SELECT ?2, ?1, ?2', { 1: 'a', 2: 'b' })).toEqual(['b', 'a', 'b']);
    refuses(() => read('SELECT ?1', {}), RangeError, 'Missing named parameter "1"');
    refuses(() => read('SELECT ?1', 'a'), RangeError, MANY);
    refuses(() => read('SELECT ?1'), TypeError, NAMED);
  });
});

describe('numbered parameters with others', () => {
  test('those between are anonymous, and one after them goes on from there', () => {
    expect(read('SELECT ?3', 1, 2, { 3: 'c' })).toEqual(['c']);
    expect(read('SELECT ?3, ?', 1, 2, { 3: 'c' }, 4)).toEqual(['c', 4]);
    expect(read('SELECT ?, ?1', { 1: 'a' })).toEqual(['a', 'a']);
    refuses(() => read('SELECT ?3', { 3: 'c' }), RangeError, FEW);
  });
});

describe('named parameters', () => {
  test('take an object with :, @ or $ in the SQL', () => {
    expect(read('SELECT :a, @b, $c', { a: 1, b: 2, c: 3 })).toEqual([1, 2, 3]);
    expect(read('SELECT :a, :a, :a', { a: 7 })).toEqual([7, 7, 7]);
  });

  test('of one name with other signs take one value', () => {
    expect(read('SELECT :a, @a, $a', { a: 7 })).toEqual([7, 7, 7]);
  });

  test('the sign is no part of the name', () => {
    refuses(() => read('SELECT :a', { ':a': 1 }), RangeError, 'Missing named parameter "a"');
    refuses(() => read('SELECT $a', { $a: 1 }), RangeError, 'Missing named parameter "a"');
  });

  test('may have any name, that of a property of every object, too', () => {
    expect(read('SELECT :toString, :constructor', { toString: 1, constructor: 2 })).toEqual([1, 2]);
    refuses(() => read('SELECT :toString', {}), RangeError, 'Missing named parameter "toString"');
    refuses(() => read('SELECT :__proto__', {}), RangeError, 'Missing named parameter "__proto__"');
    expect(read('SELECT :é, :a1_', { é: 1, a1_: 2 })).toEqual([1, 2]);
  });

  test('more properties than asked for are ignored', () => {
    expect(read('SELECT :a', { a: 1, b: 2, c: Symbol('never read') })).toEqual([1]);
  });

  test('a missing one is named, one that is undefined is NULL', () => {
    refuses(() => read('SELECT :a, :b', { a: 1 }), RangeError, 'Missing named parameter "b"');
    expect(read('SELECT :a', { a: undefined })).toEqual([null]);
  });

  test('missing altogether says so', () => {
    refuses(() => read('SELECT :a'), TypeError, NAMED);
    refuses(() => read('SELECT :a, ?', 1), TypeError, NAMED);
    refuses(() => read('SELECT :a', []), TypeError, NAMED);
    refuses(() => read('SELECT :a, ?', { a: 1 }), RangeError, FEW);
  });

  test('are not taken in order', () => {
    refuses(() => read('SELECT :a', 1), RangeError, MANY);
    refuses(() => read('SELECT :a, :b', 1, 2), RangeError, MANY);
    refuses(() => read('SELECT :a', [1]), RangeError, MANY);
  });

  test('an object without a prototype is taken, and one of another context', () => {
    expect(read('SELECT :a', Object.assign(Object.create(null), { a: 1 }))).toEqual([1]);
    expect(read('SELECT :a', vm.runInNewContext('({ a: 1 })'))).toEqual([1]);
  });

  test('inherited properties do not count', () => {
    refuses(() => read('SELECT :a', Object.create({ a: 1 })), TypeError, PLAIN);
    const bare = Object.create(Object.assign(Object.create(null), { a: 1 }));
    refuses(() => read('SELECT :a', bare), RangeError, 'Missing named parameter "a"');
  });

  test('instances of classes, functions and bytes are not plain', () => {
    class Thing {
      a = 1;
    }
    for (const value of [new Thing(), new Map([['a', 1]]), new Date()]) {
      refuses(() => read('SELECT :a', value), TypeError, PLAIN);
      refuses(() => read('SELECT ?, :a', 1, value), TypeError, PLAIN);
    }
    refuses(() => read('SELECT :a', Buffer.from('a')), RangeError, MANY);
  });

  test('come from one object', () => {
    refuses(() => read('SELECT :a, :b', { a: 1 }, { b: 2 }), RangeError, 'Missing named parameter "b"');
    refuses(() => read('SELECT :a, :b', { a: 1, b: 2 }, { b: 2 }), TypeError, TWO);
    refuses(() => read('SELECT ?', {}, {}, 1), TypeError, TWO);
  });

  test('properties that are not enumerable or are getters are read', () => {
    const hidden = Object.defineProperty({}, 'a', { value: 1 });
    expect(read('SELECT :a', hidden)).toEqual([1]);
    let reads = 0;
    const got = {
      get a() {
        reads += 1;
        return 2;
      },
    };
    expect(read('SELECT :a, :a', got)).toEqual([2, 2]);
    expect(reads).toBe(1);
  });

  test('a getter that throws throws its own, and the statement may be used again', () => {
    const mine = new Error('mine');
    const statement = db.prepare('SELECT :a AS a');
    const act = () =>
      statement.get({
        get a() {
          throw mine;
        },
      });
    expect(thrown(act)).toBe(mine);
    expect(statement.get({ a: 1 })).toEqual({ a: 1 });
  });

  test('a Proxy of a plain object is a plain object', () => {
    expect(read('SELECT :a', new Proxy({ a: 1 }, {}))).toEqual([1]);
  });

  test('a Proxy that throws throws its own, and so does an element of an array', () => {
    const mine = new Error('mine');
    const angry = () => {
      throw mine;
    };
    for (const trap of ['getOwnPropertyDescriptor', 'get']) {
      expect(thrown(() => read('SELECT :a', new Proxy({ a: 1 }, { [trap]: angry })))).toBe(mine);
    }
    expect(thrown(() => read('SELECT ?', Object.defineProperty([], 0, { get: angry })))).toBe(mine);
    expect(read('SELECT 7')).toEqual([7]);
  });
});

describe('both together', () => {
  test('in any order of arguments', () => {
    for (const values of [
      [{ a: 'A', b: 'B' }, 1, 2],
      [1, { a: 'A', b: 'B' }, 2],
      [1, 2, { a: 'A', b: 'B' }],
      [[1, 2], { a: 'A', b: 'B' }],
      [{ a: 'A', b: 'B' }, [1], [2]],
    ]) {
      expect(read('SELECT ?, :a, ?, :b', ...values)).toEqual([1, 'A', 2, 'B']);
    }
  });

  test('each kind is counted', () => {
    refuses(() => read('SELECT ?, :a', { a: 1 }), RangeError, FEW);
    refuses(() => read('SELECT ?, :a', 1, 2, { a: 1 }), RangeError, MANY);
  });
});

describe('bind()', () => {
  test('binds for good and gives the statement back', () => {
    const statement = db.prepare('SELECT ?, :a').raw();
    expect(statement.bind(1, { a: 2 })).toBe(statement);
    expect(statement.get()).toEqual([1, 2]);
    expect(statement.all()).toEqual([[1, 2]]);
    expect([...statement.iterate()]).toEqual([[1, 2]]);
    expect(statement.get()).toEqual([1, 2]);
  });

  test('happens once', () => {
    const statement = db.prepare('SELECT ?').bind(1);
    for (const values of [[], [1], [{}]]) {
      refuses(
        () => statement.bind(...values),
        TypeError,
        'The bind() method can only be invoked once per statement object',
      );
    }
  });

  test('leaves no room for values of a run', () => {
    const statement = db.prepare('SELECT ?').bind(1);
    for (const method of ['get', 'all', 'iterate', 'run']) {
      for (const values of [[1], [undefined], [[]], [{}]]) {
        refuses(() => statement[method](...values), TypeError, 'This statement already has bound parameters');
      }
    }
  });

  test('of a statement without parameters counts, too', () => {
    const statement = db.prepare('SELECT 1 AS a').bind();
    refuses(() => statement.get({}), TypeError, 'This statement already has bound parameters');
    expect(statement.get()).toEqual({ a: 1 });
  });

  test('that fails has bound nothing', () => {
    const statement = db.prepare('SELECT ? AS a, ? AS b');
    refuses(() => statement.bind(1), RangeError, FEW);
    refuses(() => statement.bind(1, {}), RangeError, FEW);
    refuses(() => statement.bind(1, 2, 3), RangeError, MANY);
    expect(String(statement)).toBe('SELECT ? AS a, ? AS b');
    expect(statement.bind(1, 2).get()).toEqual({ a: 1, b: 2 });
  });

  test('copies the bytes', () => {
    const bytes = Buffer.from([1, 2, 3]);
    const statement = db.prepare('SELECT ? AS v').bind(bytes);
    bytes.fill(9);
    expect(statement.get().v).toEqual(Buffer.from([1, 2, 3]));
  });

  test('writes with what was bound, too', () => {
    const table = openTable(0);
    const insert = table.prepare('INSERT INTO t (b) VALUES (?)').bind(7n);
    insert.run();
    insert.run();
    expect(table.prepare('SELECT b FROM t').pluck().all()).toEqual([7, 7]);
  });

  test('survives a change of the schema', () => {
    const table = openTable(3);
    const select = table.prepare('SELECT * FROM t WHERE b = ?').bind(2);
    table.exec('ALTER TABLE t ADD COLUMN e DEFAULT 5');
    expect(select.get()).toMatchObject({ b: 2, e: 5 });
  });
});
