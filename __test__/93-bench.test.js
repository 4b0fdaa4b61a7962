'use strict';

// The comparison with the code replaced as a whole is too long for a test, and nothing is asserted about speed: here it
// has to compare what it says it compares, and the chart has to show what was found.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { draw } = require('../bench/chart.js');
const { scratch } = require('./support/scratch.js');

const COMPARE = path.join(__dirname, '..', 'bench', 'compare.js');

async function compare(...options) {
  const { stdout } = await promisify(execFile)(process.execPath, [COMPARE, '--json', ...options]);
  return JSON.parse(stdout);
}

test('the sides are compared at the same durability, each on the schema that is said', async () => {
  const { settings, comparisons } = await compare('--rounds', '1', '--only', 'getCandles 1,000 older');
  for (const { journal_mode, synchronous } of Object.values(settings))
    expect([journal_mode, synchronous]).toEqual(['wal', 'normal']);
  expect(settings['candlestore, new file'].page_size).toBe(8192);
  expect(settings['candlestore, old file'].page_size).toBe(settings.orig.page_size);
  const [{ participants }] = comparisons;
  expect(participants.map(({ side, schema }) => `${side} ${schema}`)).toEqual([
    'orig new',
    'used well new',
    'candlestore new',
    'used well old',
    'candlestore old',
  ]);
  for (const { rate, ratio } of participants) {
    expect(rate.median).toBeGreaterThan(0);
    expect(ratio.median).toBeGreaterThan(0);
  }
});

test('an option that makes no sense is refused in one sentence', async () => {
  await expect(compare('--only', 'no such thing')).rejects.toThrow(
    'no comparison is named like no such thing',
  );
  await expect(compare('--rounds', '0')).rejects.toThrow('--rounds must be a whole number, not 0');
});

describe('the comparison of the handles', () => {
  const HANDLE = path.join(__dirname, '..', 'bench', 'handle.js');
  const ORIGINAL = path.join(__dirname, '..', 'bench', 'original', 'node_modules', 'better-sqlite3');
  const handle = (...options) => promisify(execFile)(process.execPath, [HANDLE, ...options]);

  test('has all sides at the same durability, pages and cache, and keeps what it found', async () => {
    const out = path.join(scratch(), 'handle.json');
    await handle('--rounds', '1', '--only', 'pluck', '--database', ORIGINAL, '--out', out);
    const { settings, rows } = JSON.parse(fs.readFileSync(out, 'utf8'));
    expect(Object.keys(settings)).toHaveLength(3);
    for (const { journal_mode, synchronous, page_size, cache_size } of Object.values(settings))
      expect([journal_mode, synchronous, page_size, cache_size]).toEqual(['wal', 'normal', 8192, -16384]);
    expect(rows.map(({ name }) => name)).toEqual(['get one number, pluck']);
    for (const { rate, ratio } of rows[0].participants) {
      expect(rate.median).toBeGreaterThan(0);
      expect(ratio.median).toBeGreaterThan(0);
    }
  });

  test('is not made of a handle that gives something else', async () => {
    const other = path.join(scratch(), 'other.js');
    fs.writeFileSync(
      other,
      `const Original = require(${JSON.stringify(ORIGINAL)});
       module.exports = class extends Original {
         prepare(sql) {
           return super.prepare(sql.replace('SELECT price', 'SELECT price + 1'));
         }
       };`,
    );
    await expect(handle('--only', 'pluck', '--database', other)).rejects.toThrow(
      'gives something else than better-sqlite3',
    );
  });

  test('refuses a part that no row is named like', async () => {
    await expect(handle('--only', 'no such row')).rejects.toThrow('no row is named like no such row');
  });
});

describe('the chart', () => {
  const spread = (median) => ({ median, min: median * 0.8, max: median * 1.25 });
  const result = (name, ratios) => ({
    name,
    participants: Object.entries(ratios).map(([who, ratio]) => {
      const [side, schema] = who.split('/');
      return { side, schema, ratio: spread(ratio) };
    }),
  });
  const chartOf = (...comparisons) =>
    draw({
      comparisons,
      rounds: 7,
      machine: { cpu: 'A <fast> & small one', cores: 2 },
      versions: { node: '20.0.0', 'better-sqlite3': '12.0.0' },
    });

  test('shows every comparison with the medians of both sides', () => {
    const chart = chartOf(
      result('writing', {
        'orig/new': 1,
        'used well/new': 4.56,
        'candlestore/new': 12.3,
        'candlestore/old': 6,
      }),
      result('counting', { 'orig/new': 1, 'used well/new': 0.87, 'candlestore/new': 2345 }),
    );
    for (const shown of ['>writing<', '>counting<', '>4.56<', '>12.3<', '>0.87<', '>2,345<'])
      expect(chart).toContain(shown);
    expect(chart).not.toMatch(/NaN|Infinity|undefined/);
  });

  test('shows the old schema alone where only that was measured', () => {
    const chart = chartOf(result('reading', { 'orig/new': 1, 'used well/old': 2.5, 'candlestore/old': 5.5 }));
    expect(chart).toContain('>5.50<');
    expect(chart).not.toMatch(/NaN|Infinity|undefined/);
  });

  test('escapes what stands in the results', () => {
    const chart = chartOf(result('a < b & c', { 'orig/new': 1, 'candlestore/new': 2 }));
    expect(chart).toContain('>a &lt; b &amp; c<');
    expect(chart).toContain('A &lt;fast&gt; &amp; small one');
  });
});
