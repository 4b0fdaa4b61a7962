'use strict';

// The bytes of getCandlesJson and readCandles are those of JSON.stringify on what getCandles gives, for any double, any
// footprint and any row of another program. JSON_SECONDS goes on for longer, JSON_SEED repeats a run.

const { python } = require('./support/process.js');
const { SYMBOL, TABLE, candle, candles, failure, newFile, open, timeOf } = require('./support/store.js');

const SECONDS = Number(process.env.JSON_SECONDS ?? 0);
const SEED = Number(process.env.JSON_SEED ?? Date.now() % 1_000_000);
/** Doubles stored at least. */
const DOUBLES = 1_000_000;
const FIELDS = ['open', 'high', 'low', 'close', 'volume', 'buyVolume', 'sellVolume', 'delta'];
jest.setTimeout((SECONDS + 120) * 1000);

/** Compares the bytes made from the database, from memory and off the event loop with what JavaScript makes. */
async function expectSame(store, options = {}, symbol = SYMBOL) {
  const { prefix = '', suffix = '', ...range } = options;
  const end = typeof suffix === 'function' ? suffix : () => suffix.toString();
  const rows = store.getCandles(TABLE, symbol, range);
  const more = store.getCandles(TABLE, symbol, { ...range, limit: range.limit + 1 }).length > rows.length;
  const facts = { table: TABLE, symbol, oldestTime: rows[0]?.time ?? null, hasMore: more };
  const expected = Buffer.from(prefix + JSON.stringify(rows) + end(facts));
  for (let again = 0; again < 2; again += 1) {
    const bytes = store.getCandlesJson(TABLE, symbol, options);
    if (!bytes.equals(expected)) expect(bytes.toString()).toBe(expected.toString());
    const later = await store.readCandles({ table: TABLE, symbol, format: 'json', ...options });
    if (!later.equals(expected)) expect(later.toString()).toBe(expected.toString());
  }
}

function generator(seed) {
  const words = new Uint32Array(2);
  const double = new Float64Array(words.buffer);
  let state = BigInt(seed) + 1n;
  const word = () => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 32n);
  };
  const below = (count) => word() % count;
  const kinds = [
    () => {
      words[0] = word();
      words[1] = word();
      return double[0];
    },
    () => below(1e9) / 10 ** below(10),
    () => Number(`${below(1e9)}.${below(1e9)}`),
    () => Number(`${1 + below(9)}${'0123456789'.repeat(3).slice(0, below(30))}e${below(640) - 330}`),
    () => word() * 2 ** below(40),
    () => 2 ** 53 + below(100) - 50,
    () => -(2 ** 53) - below(1000),
    () => below(1000) * 5e-324,
    () => 10 ** (below(600) - 300),
    () => 2 ** (below(2098) - 1074),
    () => below(10) / 1e7 + 1e-7,
    () => 1e21 + (below(9) - 4) * 131072,
    () => [0, -0, 1, -1, 0.1, 1e21, 1e-7, 1e-6, Number.MAX_VALUE, Number.MIN_VALUE, 2 ** 31][below(11)],
  ];
  return { below, any: () => kinds[below(kinds.length)]() };
}

test(`any doubles are written as JavaScript writes them (JSON_SEED=${SEED})`, async () => {
  const store = open();
  const { any, below } = generator(SEED);
  const finite = () => {
    for (;;) {
      const value = any();
      if (Number.isFinite(value)) return value;
    }
  };
  const rows = 5_000;
  const end = Date.now() + SECONDS * 1000;
  let doubles = 0;
  for (let batch = 0; doubles < DOUBLES || Date.now() < end; batch += 1) {
    const made = Array.from({ length: rows }, (_, n) =>
      candle(n, {
        ...Object.fromEntries(FIELDS.map((field) => [field, finite()])),
        tradeCount: below(2 ** 31),
      }),
    );
    store.upsertCandles(TABLE, SYMBOL, made);
    doubles += rows * FIELDS.length;
    const read = store.getCandles(TABLE, SYMBOL, rows);
    const expected = Buffer.from(JSON.stringify(read));
    expect(store.getCandlesJson(TABLE, SYMBOL, { limit: rows }).equals(expected)).toBe(true);
    const later = await store.readCandles({ table: TABLE, symbol: SYMBOL, limit: rows, format: 'json' });
    expect(later.equals(expected)).toBe(true);
    // What is written is what was stored, bit for bit but for -0.
    const [first, given] = [made.at(batch % rows), read.at(batch % rows)];
    for (const field of FIELDS) expect(Object.is(given[field], first[field] + 0)).toBe(true);
  }
  if (SECONDS > 0) process.stdout.write(`${doubles} doubles\n`);
});

const FOOTPRINTS = [
  '{"3":{"bid":1,"ask":2},"1":{"bid":1,"ask":2},"b":1,"2":0}',
  '{"1":{"bid":1,"ask":2},"1":{"bid":3,"ask":4}}',
  '{"1.5":{"bid":1,"ask":2},"1.5":{"bid":3,"ask":4}}',
  '{"01":{"bid":1,"ask":2},"1":{"bid":1,"ask":2}}',
  '{"4294967294":1,"4294967295":2,"1":3}',
  '{"9007199254740993":1,"-1":2,"0":3}',
  '{"a":{"b":{"c":[1,[2,{"3":4}]]}},"__proto__":{"x":1}}',
  '{"__proto__":null,"constructor":1,"toJSON":1,"1":{"toJSON":null}}',
  '{"é\u2028😀":"\u2029\u0000x"}'.replace('\u0000', '\\u0000'),
  '{"\\u00e9":1}',
  '{"\\ud800":"\\udfff","\\ud83d\\ude00":1}',
  '{"a":"\\/\\b\\f\\n\\r\\t\\u001f\\u007f"}',
  '{"64000.5": {"bid": 1.0, "ask": 1e5}}',
  '{"64000.5":{"bid":1.0,"ask":100000.0}}',
  '{"64000.5":{"bid":1e5,"ask":1E+5,"delta":-0}}',
  '{"64000.5":{"bid":0.1000,"ask":1e400}}',
  '{"64000.5":{"bid":9007199254740993,"ask":0.30000000000000004}}',
  '{"1.50":{"bid":1,"ask":2},"1.5":{"bid":1,"ask":2}}',
  '[]',
  '[1,2,{}]',
  '{}',
  ' {}',
  '{} ',
  'null',
  '7',
  '"text"',
  'true',
  '',
  `{"deep":${'['.repeat(3000)}${']'.repeat(3000)}}`,
];

test.each([
  ['UTF-8', ''],
  ['UTF-16le', "PRAGMA encoding = 'UTF-16le'"],
])('footprints of every shape, in %s', async (_name, pragma) => {
  const file = newFile();
  const other = python(file);
  if (pragma) await other.sql(pragma);
  await other.sql('CREATE TABLE other (x)');
  const store = open(file);
  const insert = `INSERT OR REPLACE INTO ${TABLE} (symbol, time, open, high, low, close, volume, clusters) VALUES (?, ?, 1, 1, 1, 1, 1, ?)`;
  for (const [n, text] of FOOTPRINTS.entries()) {
    await other.sql(insert, 'X:ONE', timeOf(0), text);
    await other.sql(insert, SYMBOL, timeOf(n), text);
    await expectSame(store, { limit: 5 }, 'X:ONE');
  }
  for (const limit of [1, 3, 10, 64, 100]) await expectSame(store, { limit });
  await other.end();
});

test.each(['NaN', '{"1":{"bid":NaN,"ask":Infinity}}', '{', '{"a":1,}', 'x'])(
  'a text that is no JSON, %s, is refused or given as getCandles does it',
  async (text) => {
    const store = open();
    store.upsertCandle(TABLE, SYMBOL, candle(0));
    store.db.prepare(`UPDATE ${TABLE} SET clusters = ?`).run(text);
    const outcome = async (read) => {
      try {
        return JSON.stringify(await read());
      } catch (error) {
        return `${error.name} ${error.code}`;
      }
    };
    const expected = await outcome(() => store.getCandles(TABLE, SYMBOL, 5));
    expect(await outcome(() => JSON.parse(store.getCandlesJson(TABLE, SYMBOL, 5)))).toBe(expected);
    const later = () => store.readCandles({ table: TABLE, symbol: SYMBOL, limit: 5, format: 'json' });
    expect(await outcome(async () => JSON.parse(await later()))).toBe(expected);
  },
);

test('rows of other programs', async () => {
  const store = open();
  store.db
    .exec(`DROP TABLE ${TABLE}; CREATE TABLE ${TABLE} (symbol TEXT, time INTEGER, open, high, low, close, volume,
    buy_volume, sell_volume, delta, trade_count, clusters, UNIQUE (symbol, time))`);
  const cells = [
    null,
    'a "text" \\ \u0001 é😀',
    '',
    Infinity,
    -Infinity,
    Buffer.from([0, 255]),
    Buffer.alloc(0),
  ];
  const more = [2n ** 53n + 1n, -(2n ** 63n), 2n ** 63n - 1n, 0, -0.0, 1e300];
  const insert = store.db.prepare(
    `INSERT INTO ${TABLE} VALUES ('${SYMBOL}', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  [...cells, ...more].forEach((cell, n) => {
    insert.run(timeOf(n), cell, 1, cell, 1.5, cell, 0, cell, cell, cell, null);
  });
  await expectSame(store, { limit: 5 });
  await expectSame(store, { limit: 100 });
  for (const time of cells) insert.run(time, 1, 1, 1, 1, 1, 1, 1, 1, 1, null);
  for (const limit of [1, 2, 5, 100]) {
    const rows = store.getCandles(TABLE, SYMBOL, limit);
    expect(store.getCandlesJson(TABLE, SYMBOL, limit).toString()).toBe(JSON.stringify(rows));
  }
});

test('what stands before and after the array', async () => {
  const store = open();
  store.upsertCandles(TABLE, SYMBOL, candles(20));
  const long = 'é😀"'.repeat(5_000);
  const told = (facts) => `,"facts":${JSON.stringify(facts)}}`;
  const suffixes = ['', '}', long, '\ud800', told, () => long, () => '', () => '\udfff'];
  for (const prefix of ['', '{"candles":', long, '\ud800'])
    for (const suffix of suffixes)
      for (const limit of [0, 1, 5, 20, 100]) await expectSame(store, { prefix, suffix, limit });
  const thrown = () => {
    throw new Error('mine');
  };
  for (const read of [
    (more) => store.getCandlesJson(TABLE, SYMBOL, more),
    (more) => store.readCandles({ table: TABLE, symbol: SYMBOL, format: 'json', ...more }),
  ]) {
    const outcome = async (more) => read(more);
    await expect(outcome({ suffix: thrown })).rejects.toThrow('mine');
    for (const wrong of [7, null, undefined, {}])
      await expect(outcome({ suffix: () => wrong })).rejects.toEqual(failure({ code: 'INVALID_ARGUMENT' }));
    await expect(outcome({ prefix: 7 })).rejects.toEqual(failure({ code: 'INVALID_ARGUMENT' }));
    await expect(outcome({ suffix: 7 })).rejects.toEqual(failure({ code: 'INVALID_ARGUMENT' }));
  }
  await expectSame(store, { limit: 5 });
});

test('an answer that was given is not written to when its memory is used again', () => {
  const store = open(newFile(), { tailCacheBytes: 0 });
  store.upsertCandles(TABLE, SYMBOL, candles(500));
  const given = [];
  for (let n = 0; n < 200; n += 1) {
    store.upsertCandle(TABLE, SYMBOL, candle(499, { close: n }));
    const bytes = store.getCandlesJson(TABLE, SYMBOL, 500);
    if (n % 7 === 0) given.push([n, bytes]);
  }
  for (const [n, bytes] of given) expect(JSON.parse(bytes).at(-1).close).toBe(n);
});
