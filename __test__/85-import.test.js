'use strict';

// `candlestore import` as a user types it: the real program in a process of its own, on recorded files.

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { openStore } = require('candlestore');
const { scratch } = require('./support/scratch.js');
const { run, start } = require('./support/programs.js');
const { until } = require('./support/until.js');

const program = path.join(__dirname, '..', 'bin', 'candlestore.js');
const fixture = (name) => path.join(__dirname, 'fixtures', name);
const DAY = 'BTCUSDT-15m-2023-03-20.csv';
const HEADER =
  'open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n';
const lines = fs.readFileSync(fixture(DAY), 'utf8').trimEnd().split('\n');

/** The candles that the lines of Binance hold, by their documented columns. */
const candles = lines.map((line) => {
  const [time, open, high, low, close, volume, , , tradeCount, buyVolume] = line.split(',').map(Number);
  const sellVolume = volume - buyVolume;
  const delta = buyVolume - sellVolume;
  return { time, open, high, low, close, volume, buyVolume, sellVolume, delta, tradeCount, clusters: {} };
});

let folder;
let db;
beforeEach(() => {
  folder = scratch();
  db = path.join(folder, 'candles.db');
});

function candlestore(...args) {
  return run(process.execPath, [program, ...args], { env: { ...process.env, DB_PATH: '' } });
}

const imports = (...args) => candlestore('import', '--db', db, ...args);

function write(name, text) {
  const file = path.join(folder, name);
  fs.writeFileSync(file, text);
  return file;
}

async function stored(table, symbol, timeframes) {
  const store = openStore(db, { fileMustExist: true, ...(timeframes && { timeframes }) });
  const found = store.getCandles(table, symbol, 100_000);
  await store.close();
  return found;
}

const storedDay = () => stored('candles_15', 'BINANCE:BTCUSDT');

test('a file as Binance publishes it is stored in the series that its name tells', async () => {
  const { code, stdout, stderr } = await imports(fixture(DAY));
  expect(stderr).toBe('');
  expect(stdout).toBe(
    `${DAY} -> candles_15 BINANCE:BTCUSDT: 96 rows, 96 inserted, 0 updated, 0 unchanged, 0 rejected\n`,
  );
  expect(code).toBe(0);
  expect(await storedDay()).toEqual(candles);
});

test('a header changes nothing', async () => {
  expect((await imports(write(DAY, HEADER + lines.join('\n')))).code).toBe(0);
  expect(await storedDay()).toEqual(candles);
});

test('columns are found by the names in the header, whatever their order', async () => {
  const swapped = lines.map((line) => line.split(',').slice(0, 6).reverse().join(','));
  expect(
    (await imports(write(DAY, `volume,close,low,high,open,open_time\n${swapped.join('\n')}`))).code,
  ).toBe(0);
  const without = { buyVolume: 0, sellVolume: 0, delta: 0, tradeCount: 0 };
  expect(await storedDay()).toEqual(candles.map((candle) => ({ ...candle, ...without })));
});

test('microseconds are stored as milliseconds', async () => {
  const micro = lines.map((line) => line.replace(/^\d+/, (time) => `${time}000`));
  expect((await imports(write(DAY, micro.join('\r\n')))).code).toBe(0);
  expect(await storedDay()).toEqual(candles);
});

test('a compressed file with unknown columns is stored with zeros there', async () => {
  const { code } = await imports(fixture('BYBIT_ETHUSDT_15m.csv.gz'));
  expect(code).toBe(0);
  const text = zlib.gunzipSync(fs.readFileSync(fixture('BYBIT_ETHUSDT_15m.csv.gz'))).toString();
  const expected = text
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => {
      const [time, open, high, low, close, volume] = line.split(',').map(Number);
      const unknown = { buyVolume: 0, sellVolume: 0, delta: 0, tradeCount: 0, clusters: {} };
      return { time, open, high, low, close, volume, ...unknown };
    });
  expect(expected).toHaveLength(200);
  expect(await stored('candles_15', 'BYBIT:ETHUSDT')).toEqual(expected);
});

test('a dash in the pair belongs to the symbol, and a timeframe of the file gets its table', async () => {
  expect((await imports(fixture('BINANCE_BTCUSDT-DEC2024_1m.csv.gz'))).code).toBe(0);
  const found = await stored('candles_1', 'BINANCE:BTCUSDT-DEC2024', [1]);
  expect(found).toHaveLength(120);
  expect(found[0]).toMatchObject({ time: 1733007600000, open: 96466.11, volume: 6.6158, tradeCount: 3577 });
});

test('--table and --symbol go before the name of the file', async () => {
  expect((await imports('--table', '60', '--symbol', 'okx:abc', fixture(DAY))).code).toBe(0);
  expect(await stored('candles_60', 'OKX:ABC')).toEqual(candles);
});

test('several files are stored by one command', async () => {
  const { code, stdout } = await imports(fixture(DAY), fixture('BYBIT_ETHUSDT_15m.csv.gz'));
  expect(code).toBe(0);
  expect(stdout.match(/(\d+) inserted/g)).toEqual(['96 inserted', '200 inserted']);
});

test('a second import counts what it changes', async () => {
  await imports(fixture(DAY));
  const again = await imports(write(DAY, lines.with(3, lines[3].replace(/,/, ',9')).join('\n')));
  expect(again.stdout).toContain('96 rows, 0 inserted, 1 updated, 95 unchanged, 0 rejected');
});

describe('a line that is no candle', () => {
  const broken = lines
    .with(2, 'not,a,candle')
    .with(10, lines[10].replace(/,[^,]+/, ',abc'))
    .with(20, lines[20].replace(/^\d+/, '12345'))
    .with(95, lines[95].replace(/^([^,]+,){5}/, '$1,,,,'));
  const good = candles.filter((_, index) => ![2, 10, 20, 95].includes(index));

  test('is reported with its number and reason, and the others are stored', async () => {
    const { code, stdout, stderr } = await imports(write(DAY, broken.join('\n')));
    expect(code).toBe(3);
    expect(stdout).toContain('96 rows, 92 inserted, 0 updated, 0 unchanged, 4 rejected');
    expect(stderr).toContain(`${DAY}: line 3: 3 columns where 12 are expected\n`);
    expect(stderr).toContain(`${DAY}: line 11: open is not a number: "abc"\n`);
    expect(stderr).toMatch(/: line 21: .*time/);
    expect(stderr).toMatch(/: line 96: /);
    expect(await storedDay()).toEqual(good);
  });

  test('is counted with its line though empty lines and a header are in the file', async () => {
    const { stderr } = await imports(write(DAY, `${HEADER}\n${lines[0]}\n\nwrong\n${lines[1]}\n`));
    expect(stderr).toBe(`${DAY}: line 5: 1 columns where 12 are expected\n`);
  });

  test.each([
    ['is no number', 10],
    ['is no candle to the store', 20],
  ])('stops the file with --strict where it %s, and nothing after it is written', async (_, index) => {
    const only = lines.with(index, broken[index]);
    const { code, stderr } = await imports('--strict', '--batch', '4', write(DAY, only.join('\n')));
    expect(code).toBe(1);
    expect(stderr).toContain(`stopped at line ${index + 1}`);
    expect(await storedDay()).toEqual(candles.slice(0, index));
  });

  test('is shown twenty times and then counted', async () => {
    const { code, stderr } = await imports(write(DAY, `${lines[0]}\n${'wrong\n'.repeat(25)}`));
    expect(code).toBe(3);
    expect(stderr.match(/line \d+:/g)).toHaveLength(20);
    expect(stderr).toContain('and 5 more lines rejected');
  });
});

describe('wrong usage ends with code 2, says why and makes no database', () => {
  test.each([
    ['no file', [], 'No file'],
    ['an unknown option', ['--fast', fixture(DAY)], '--fast'],
    ['a batch that is too large', ['--batch', '5001', fixture(DAY)], '--batch'],
    ['a table that is none', ['--table', 'candles', fixture(DAY)], '--table'],
    ['a name that tells nothing', ['candles.csv'], '--symbol'],
    ['a timeframe that is no number of minutes', ['BTCUSDT-1s-2024-01.csv'], '--table'],
  ])('%s', async (_, args, word) => {
    const { code, stderr } = await imports(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(word);
    expect(fs.existsSync(db)).toBe(false);
  });

  test('no database', async () => {
    const { code, stderr } = await candlestore('import', fixture(DAY));
    expect(code).toBe(2);
    expect(stderr).toContain('--db');
  });

  test('an unknown command', async () => {
    expect((await candlestore('export')).code).toBe(2);
  });
});

test('a file that cannot be read fails with its name and code 1', async () => {
  const { code, stderr } = await imports(path.join(folder, DAY));
  expect(code).toBe(1);
  expect(stderr).toContain(DAY);
  expect(stderr).toContain('ENOENT');
});

test('a compressed file that ends too early keeps what came before and fails', async () => {
  const whole = fs.readFileSync(fixture('BYBIT_ETHUSDT_15m.csv.gz'));
  const { code, stderr } = await imports(
    '--batch',
    '10',
    write('BYBIT_ETHUSDT_15m.csv.gz', whole.subarray(0, whole.length - 2000)),
  );
  expect(code).toBe(1);
  expect(stderr).toContain('unexpected end of file');
  const found = await stored('candles_15', 'BYBIT:ETHUSDT');
  expect(found.length).toBeGreaterThan(0);
  expect(found.length).toBeLessThan(200);
});

test('a header without a column that is needed fails and names the column', async () => {
  const { code, stderr } = await imports(write(DAY, `open_time,open,high,low,volume\n1,2,3,4,5\n`));
  expect(code).toBe(1);
  expect(stderr).toContain('close');
});

test('a database that is none fails with the code of the store', async () => {
  fs.writeFileSync(db, 'x'.repeat(8192));
  const { code, stderr } = await imports(fixture(DAY));
  expect(code).toBe(1);
  expect(stderr).toMatch(/^NOT_A_DATABASE: /);
});

test('an interrupted import ends with code 130 and has stored exactly what it counted', async () => {
  // A pipe for a file: the program cannot come to its end before it is interrupted.
  const pipe = path.join(folder, DAY);
  execFileSync('mkfifo', [pipe]);
  const importing = start(process.execPath, [program, 'import', '--db', db, '--batch', '40', pipe]);
  const output = [];
  importing.lines.on('line', (line) => output.push(line));
  const feed = fs.createWriteStream(pipe);
  feed.write(`${lines.join('\n')}\n`);
  await until(async () => fs.existsSync(db) && (await storedDay()).length === 80);
  importing.child.kill('SIGINT');
  await until(() => output.length > 0);
  feed.end();
  const { code, stderr } = await importing.ended;
  expect(output).toEqual([expect.stringContaining('80 inserted')]);
  expect(stderr).toContain('Interrupted');
  expect(code).toBe(130);
  expect(await storedDay()).toEqual(candles.slice(0, 80));
});

describe('on a terminal', () => {
  const inTerminal = (...args) =>
    run('python3', [
      '-c',
      'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))',
      process.execPath,
      program,
      'import',
      '--db',
      db,
      ...args,
    ]);

  test('the progress is drawn as a bar', async () => {
    const { code, stdout } = await inTerminal(fixture(DAY));
    expect(code).toBe(0);
    expect(stdout).toMatch(/BINANCE:BTCUSDT candles_15 .*%/);
    expect(stdout).toContain('96 inserted');
  });

  test('--quiet draws and prints nothing', async () => {
    expect(await inTerminal('--quiet', fixture(DAY))).toMatchObject({ code: 0, stdout: '' });
  });
});

test('--version is the version of the package, --help tells the exit codes', async () => {
  const { version } = require('candlestore/package.json');
  expect(await candlestore('--version')).toMatchObject({ code: 0, stdout: `${version}\n` });
  expect((await candlestore('import', '--help')).stdout).toContain('Exit code');
});
