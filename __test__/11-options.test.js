'use strict';

// Options and error codes: what each accepts, and that native side, JS, types and contract know the same names.

const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');
const { CandleStoreError, openStore } = require('candlestore');
const native = require('../lib/native.js');
const { CODES } = require('../lib/errors.js');
const { SYMBOL, TABLE, all, candle, candles, failure, newFile, open } = require('./support/store.js');

/** The contract's words, in its order. */
const CONTRACT_OPTIONS = [
  'readOnly',
  'fileMustExist',
  'timeframes',
  'synchronous',
  'busyTimeoutMs',
  'cacheSizeKiB',
  'tempStore',
  'queueCapacityRows',
  'queueCapacityBytes',
  'whenFull',
  'maxBatchRows',
  'groupBudgetMs',
  'maxReaders',
  'readerIdleMs',
  'readTimeoutMs',
  'tailCacheBytes',
  'statsBudgetMs',
  'retry',
  'breaker',
  'closeDeadlineMs',
  'allowNetworkFileSystem',
];
const CONTRACT_CODES = [
  'INVALID_ARGUMENT',
  'INVALID_OPTION',
  'INVALID_CANDLE',
  'INVALID_SQL',
  'BATCH_TOO_LARGE',
  'OPTIONS_CONFLICT',
  'UNKNOWN_TABLE',
  'CLOSED',
  'QUEUE_FULL',
  'TIMEOUT',
  'ABORTED',
  'BREAKER_OPEN',
  'CONSTRAINT',
  'SQL_ERROR',
  'READ_ONLY',
  'DISK_FULL',
  'IO_ERROR',
  'CORRUPT',
  'NOT_A_DATABASE',
  'NOT_FOUND',
  'PERMISSION',
  'NETWORK_FILE_SYSTEM',
  'FOREIGN_LIBRARY',
  'SELF_DEADLOCK',
  'SQLITE_TOO_OLD',
  'POISONED',
  'SQLITE_ONLY',
  'CONNECTION_LOST',
];

/** index.d.ts as TypeScript sees it. */
function declarations() {
  const file = path.join(__dirname, '..', 'index.d.ts');
  const source = ts.createSourceFile(file, fs.readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true);
  const named = (name) => source.statements.find((statement) => statement.name?.text === name);
  return {
    members: (name) => named(name).members.map((member) => member.name.text),
    words: (name) => named(name).type.types.map((type) => type.literal.text),
    documented: (name) =>
      named(name).members.filter((member) => ts.getJSDocCommentsAndTags(member).length === 0),
    text: source.text,
  };
}

describe('error codes', () => {
  test('are the same in Rust, in JS, in the types and in the contract', () => {
    const rust = native.errorCodes();
    expect(rust.map(([code]) => code)).toEqual(CONTRACT_CODES);
    expect(Object.keys(CODES)).toEqual(CONTRACT_CODES);
    expect(declarations().words('ErrorCode')).toEqual(CONTRACT_CODES);
  });

  test('are worth a retry or not alike in Rust and in JS', () => {
    expect(Object.fromEntries(native.errorCodes())).toEqual(CODES);
    for (const [code, retryable] of Object.entries(CODES))
      expect(new CandleStoreError(code, 'text')).toMatchObject({
        code,
        retryable,
        name: 'CandleStoreError',
        message: 'text',
      });
  });

  test('are documented one by one in the types', () => {
    const { text } = declarations();
    for (const code of CONTRACT_CODES) expect(text.split(code).length).toBeGreaterThan(1);
    expect(declarations().documented('StoreOptions')).toEqual([]);
  });
});

test('the names of options are the same in Rust, in the types and in the contract', () => {
  expect(native.optionNames()).toEqual(CONTRACT_OPTIONS);
  expect(declarations().members('StoreOptions')).toEqual(CONTRACT_OPTIONS);
});

test('the versions of the package and of the binary are the same', () => {
  expect(native.version()).toBe(require('../package.json').version);
});

const refusal = (options) => {
  try {
    openStore(':memory:', options);
  } catch (error) {
    return error;
  }
  throw new Error('it was opened');
};

describe('an option that does not exist', () => {
  test.each([
    ['busyTimeout', 'busyTimeoutMs'],
    ['readonly', 'readOnly'],
    ['timeFrames', 'timeframes'],
    ['cacheSizeKb', 'cacheSizeKiB'],
    ['maxBatchRow', 'maxBatchRows'],
    ['synchronus', 'synchronous'],
    ['whenfull', 'whenFull'],
    ['closeDeadline', 'closeDeadlineMs'],
  ])('%s is refused, and %s is named', (wrong, right) => {
    const error = refusal({ [wrong]: 1 });
    expect(error).toEqual(failure({ code: 'INVALID_OPTION', retryable: false }));
    expect(error.message).toContain(wrong);
    expect(error.message).toContain(right);
  });

  test.each(['', '__proto__', 'constructor', 'x'.repeat(1e6), '☃'])('odd name %# is refused', (name) => {
    const error = refusal(JSON.parse(`{${JSON.stringify(name)}: 1}`));
    expect(error).toEqual(failure({ code: 'INVALID_OPTION' }));
  });

  test('inside retry and breaker is refused, too', () => {
    expect(refusal({ retry: { base: 1 } }).message).toContain('baseMs');
    expect(refusal({ breaker: { treshold: 1 } }).message).toContain('threshold');
  });
});

/** Option, least, most. */
const BOUNDS = [
  ['busyTimeoutMs', 0, 3_600_000],
  ['cacheSizeKiB', 256, 204_800],
  ['queueCapacityRows', 1, 10_000_000],
  ['queueCapacityBytes', 65_536, 1_073_741_824],
  ['maxBatchRows', 1, 100_000],
  ['groupBudgetMs', 1, 1_000],
  ['maxReaders', 1, 64],
  ['readerIdleMs', 100, 86_400_000],
  ['readTimeoutMs', 100, 86_400_000],
  ['tailCacheBytes', 0, 209_715_200],
  ['statsBudgetMs', 0, 10_000],
  ['closeDeadlineMs', 0, 3_600_000],
];

describe.each(BOUNDS)('%s', (name, least, most) => {
  test(`takes ${least} to ${most}, and a store with either works`, async () => {
    for (const value of [least, most]) {
      const store = open(newFile(), { [name]: value });
      store.upsertCandle(TABLE, SYMBOL, candle(0));
      await store.enqueueCandles(TABLE, SYMBOL, [candle(1)]);
      expect(all(store)).toEqual(candles(2));
      expect(await store.readCandles({ table: TABLE, symbol: SYMBOL })).toEqual(candles(2));
      expect(store.getStats().candles_15).toBe(2);
    }
  });

  test.each([
    least - 1,
    most + 1,
    least + 0.5,
    NaN,
    Infinity,
    -Infinity,
    1e300,
    '100',
    null,
    true,
    {},
    [],
    100n,
    Symbol('n'),
    () => 1,
  ])('refuses %p and says what it takes', (value) => {
    const error = refusal({ [name]: value });
    expect(error).toEqual(failure({ code: 'INVALID_OPTION' }));
    for (const word of [name, String(least), String(most)]) expect(error.message).toContain(word);
  });

  test('undefined means the default', () => {
    open(':memory:', { [name]: undefined });
  });
});

describe('the other options', () => {
  test.each([
    ['readOnly', 1],
    ['readOnly', 'true'],
    ['readOnly', null],
    ['fileMustExist', 0],
    ['allowNetworkFileSystem', 'no'],
    ['synchronous', 'NORMAL'],
    ['synchronous', 'off'],
    ['synchronous', 1],
    ['tempStore', 'disk'],
    ['whenFull', 'drop'],
    ['timeframes', []],
    ['timeframes', 15],
    ['timeframes', '15'],
    ['timeframes', [15, 15]],
    ['timeframes', [0]],
    ['timeframes', [-15]],
    ['timeframes', [1.5]],
    ['timeframes', ['15']],
    ['timeframes', [NaN]],
    ['timeframes', [null]],
    ['timeframes', [1e300]],
    ['timeframes', Array.from({ length: 65 }, (_, n) => n + 1)],
    ['retry', 7],
    ['retry', []],
    ['retry', null],
    ['retry', { baseMs: 0 }],
    ['retry', { factor: 0.5 }],
    ['retry', { capMs: 'x' }],
    ['breaker', { threshold: 0 }],
    ['breaker', { recoveryMs: 1 }],
  ])('%s refuses %j', (name, value) => {
    expect(refusal({ [name]: value })).toEqual(
      failure({ code: 'INVALID_OPTION', message: expect.stringContaining(name) }),
    );
  });

  test.each([
    { synchronous: 'full' },
    { tempStore: 'file' },
    { tempStore: 'memory' },
    { whenFull: 'wait' },
    { retry: { baseMs: 10, factor: 1.5, capMs: 100, jitterMs: 0 } },
    { retry: {} },
    { breaker: { threshold: 1, recoveryMs: 100 } },
    { allowNetworkFileSystem: true },
    { timeframes: [1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440, 4320, 10080, 43200] },
    { timeframes: [527_040] },
  ])('%j is taken, and the store works', async (options) => {
    const store = open(newFile(), options);
    const [table] = options.timeframes ?? [15];
    store.upsertCandle(table, SYMBOL, candle(0));
    await store.enqueueCandles(table, SYMBOL, [candle(1)]);
    expect(all(store, SYMBOL, table)).toEqual(candles(2));
  });

  test('an array that is changed after openStore() changes nothing', () => {
    const timeframes = [15, 60];
    const store = open(newFile(), { timeframes });
    timeframes.push(5);
    expect(() => store.getCandles(5, SYMBOL)).toThrow(failure({ code: 'UNKNOWN_TABLE' }));
  });

  test('that refer to themselves are refused as options', () => {
    const retry = {};
    retry.retry = retry;
    expect(refusal({ retry })).toBeInstanceOf(CandleStoreError);
  });
});

test('options that other calls do not know are refused by name', async () => {
  const store = open(':memory:');
  const refused = failure({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('prio') });
  const options = { prio: 'live' };
  await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0)], options)).rejects.toEqual(refused);
  await expect(store.enqueueWrite('DELETE FROM candles_15', [], options)).rejects.toEqual(refused);
  await expect(store.enqueueTransaction(['DELETE FROM candles_15'], options)).rejects.toEqual(refused);
  await expect(store.enqueueDelete(TABLE, SYMBOL, {}, options)).rejects.toEqual(refused);
  await expect(store.readCandles({ table: TABLE, symbol: SYMBOL, ...options })).rejects.toEqual(refused);
  await expect(store.close(options)).rejects.toEqual(refused);
  expect(() => store.deleteCandles(TABLE, SYMBOL, options)).toThrow(refused);
  expect(() => store.getStats(options)).toThrow(refused);
  // None of them closed it.
  store.upsertCandle(TABLE, SYMBOL, candle(0));
  expect(all(store)).toEqual([candle(0)]);
});

test.each([
  [{ priority: 'urgent' }, 'priority'],
  [{ priority: 0 }, 'priority'],
  [{ priority: Symbol('p') }, 'priority'],
  [{ timeoutMs: -1 }, 'timeoutMs'],
  [{ timeoutMs: NaN }, 'timeoutMs'],
  [{ timeoutMs: '5' }, 'timeoutMs'],
  [{ timeoutMs: 5n }, 'timeoutMs'],
  [{ signal: {} }, 'signal'],
  [{ signal: true }, 'signal'],
  [{ atomic: 1 }, 'atomic'],
  [7, 'options'],
  [[], 'options'],
  [null, 'options'],
])('a queued write refuses options of %p', async (options, name) => {
  const store = open(':memory:');
  await expect(store.enqueueCandles(TABLE, SYMBOL, [candle(0)], options)).rejects.toEqual(
    failure({ code: 'INVALID_ARGUMENT', message: expect.stringContaining(name) }),
  );
  expect(all(store)).toEqual([]);
});
