'use strict';

// The package as its users get it: packed by npm, installed into an empty project, used from there.

const fs = require('node:fs');
const path = require('node:path');
const { scratch } = require('./support/scratch.js');
const { run } = require('./support/programs.js');

jest.setTimeout(300_000);

const root = path.join(__dirname, '..');
const modules = path.join(root, 'node_modules');
const tool = (...parts) => path.join(modules, ...parts);
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
const { version } = require('candlestore/package.json');

let tarball;
let project;

async function ok(command, args, options) {
  const result = await run(command, args, options);
  if (result.code !== 0) {
    const said = `${result.stdout}\n${result.stderr}`;
    throw new Error(`${command} ${args.join(' ')} ended with ${result.signal ?? result.code}:\n${said}`);
  }
  return result.stdout;
}

const node = (...args) => ok(process.execPath, args, { cwd: project });

async function install(folder, ...options) {
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "private": true }\n');
  await ok(npm, ['install', '--no-audit', '--no-fund', '--prefer-offline', ...options, tarball], {
    cwd: folder,
  });
}

function write(name, text) {
  fs.writeFileSync(path.join(project, name), text);
  return name;
}

beforeAll(async () => {
  const folder = scratch();
  const packed = await ok(npm, ['pack', '--json', '--pack-destination', folder], { cwd: root });
  // What prepack prints comes before the JSON.
  const [{ filename }] = Object.values(JSON.parse(packed.slice(packed.search(/^[[{]/m))));
  tarball = path.join(folder, filename);
  project = scratch();
  await install(project);
  // Types of Node for the compiler and for Buffer in our own; every TypeScript project on Node has them.
  fs.symlinkSync(tool('@types'), path.join(project, 'node_modules', '@types'));
});

test('the package holds what is needed to use it and to build it, and nothing of the repository beside that', () => {
  const inside = fs.readdirSync(path.join(project, 'node_modules', 'candlestore')).sort();
  expect(inside).toEqual(
    [
      'CHANGELOG.md',
      'Cargo.lock',
      'Cargo.toml',
      'LICENSE',
      'README.md',
      'bin',
      'build.rs',
      '.cargo',
      'index.d.mts',
      'index.d.ts',
      'index.js',
      'index.mjs',
      'lib',
      'package.json',
      'scripts',
      'src',
    ].sort(),
  );
  expect(fs.readdirSync(path.join(project, 'node_modules', 'candlestore', 'scripts'))).toEqual([
    'install.js',
  ]);
});

test('require gives a store that stores', async () => {
  const printed = await node(
    '-e',
    `const { openStore, CandleStoreError } = require('candlestore');
     const store = openStore('required.db');
     store.upsertCandle(15, 'binance:btcusdt', { time: 1.7e12, open: 1, high: 2, low: 1, close: 2, volume: 3 });
     console.log(store.getLastCandleTime(15, 'BINANCE:BTCUSDT'), typeof CandleStoreError);
     store.close();`,
  );
  expect(printed).toBe('1700000000000 function\n');
});

test('import gives the very same functions as require', async () => {
  const printed = await node(
    '--input-type=module',
    '-e',
    `import { createRequire } from 'node:module';
     import * as imported from 'candlestore';
     const required = createRequire(import.meta.url)('candlestore');
     for (const name of Object.keys(required)) if (imported[name] !== required[name]) throw new Error(name);
     console.log(Object.keys(required).includes('openStore'));`,
  );
  expect(printed).toBe('true\n');
});

test('the command line is installed', async () => {
  expect(await ok(path.join(project, 'node_modules', '.bin', 'candlestore'), ['--version'])).toBe(
    `${version}\n`,
  );
});

describe('TypeScript', () => {
  const consumer = `
    import { openStore, CandleStoreError } from 'candlestore';
    async function main(): Promise<void> {
      const store = openStore('typed.db', { synchronous: 'full' });
      const candle = { time: 1.7e12, open: 1, high: 2, low: 1, close: 2, volume: 3 };
      store.upsertCandles('candles_15', 'BINANCE:BTCUSDT', [candle]);
      const { sequence, inserted } = await store.enqueueCandles(15, 'BINANCE:BTCUSDT', [candle], { priority: 'live' });
      const closes: number[] = store.getCandles(15, 'BINANCE:BTCUSDT', { limit: 5 }).map((read) => read.close);
      const last: number | null = store.getLastCandleTime(15, 'BINANCE:BTCUSDT');
      try {
        await store.close();
      } catch (error) {
        if (error instanceof CandleStoreError) console.log(error.code, error.retryable);
      }
      console.log(sequence, inserted, closes, last);
    }
    void main();
  `;
  const compile = (file) =>
    run(
      process.execPath,
      [tool('typescript', 'bin', 'tsc'), '--noEmit', '--strict', '--target', 'es2022', ...file],
      { cwd: project },
    );

  test.each([
    ['CommonJS', 'consumer.cts', ['--module', 'nodenext']],
    ['ES modules', 'consumer.mts', ['--module', 'nodenext']],
    ['a bundler', 'consumer.ts', ['--module', 'esnext', '--moduleResolution', 'bundler']],
  ])('compiles a consumer for %s', async (_, name, options) => {
    expect(await compile([...options, write(name, consumer)])).toMatchObject({ code: 0, stdout: '' });
  });

  test('refuses a candle without a time and an option that does not exist', async () => {
    const wrong = write(
      'wrong.cts',
      `import { openStore } from 'candlestore';
       openStore('x.db', { synchronus: 'full' });
       openStore('x.db').upsertCandle(15, 'A:B', { open: 1, high: 1, low: 1, close: 1, volume: 1 });`,
    );
    const { code, stdout } = await compile(['--module', 'nodenext', wrong]);
    expect(code).not.toBe(0);
    expect(stdout.match(/error TS/g)).toHaveLength(2);
  });
});

test('publint finds nothing to complain about', async () => {
  const folder = path.join(project, 'node_modules', 'candlestore');
  const said = await node(tool('publint', 'src', 'cli.js'), 'run', '--strict', folder);
  expect(said).toContain('All good!');
});

test('are-the-types-wrong finds that they are right', async () => {
  await node(tool('@arethetypeswrong', 'cli', 'dist', 'index.js'), '--no-color', tarball);
});

test("a consumer's jest suite with module resets and fake timers passes and ends by itself", async () => {
  const suite = (name) => `
    const path = require('node:path');
    beforeEach(() => jest.resetModules());
    afterEach(() => jest.useRealTimers());
    for (const round of [1, 2]) {
      test('round ' + round, async () => {
        jest.useFakeTimers();
        const { openStore, CandleStoreError } = require('candlestore');
        const store = openStore(path.join(__dirname, '${name}.db'));
        const candle = { time: 1.7e12 + round * 60000, open: 1, high: 2, low: 1, close: 2, volume: round };
        store.upsertCandle(15, 'BINANCE:BTCUSDT', candle);
        const result = await store.enqueueCandles(15, 'BINANCE:BTCUSDT', [candle]);
        expect(result.unchanged).toBe(1);
        expect(store.getCandles(15, 'BINANCE:BTCUSDT')).toHaveLength(round);
        expect(() => store.upsertCandle(15, '', candle)).toThrow(CandleStoreError);
        // One store is closed, the other left to the end of the process.
        if (round === 1) await store.close();
      });
    }
  `;
  write('one.test.js', suite('one'));
  write('two.test.js', suite('two'));
  for (const mode of ['--runInBand', '--maxWorkers=2']) {
    for (const name of ['one', 'two'])
      for (const suffix of ['', '-wal', '-shm'])
        fs.rmSync(path.join(project, `${name}.db${suffix}`), { force: true });
    const { code, stderr } = await run(
      process.execPath,
      [tool('jest', 'bin', 'jest.js'), '--rootDir', project, mode],
      {
        cwd: project,
        timeout: 60_000,
      },
    );
    expect(stderr).toContain('Tests:       4 passed, 4 total');
    expect(stderr).not.toMatch(/did not exit|failed to exit/);
    expect(code).toBe(0);
  }
});

test('an idle open store keeps no process alive, whatever it did before', async () => {
  await node(
    '-e',
    `const { openStore } = require('candlestore');
     const candle = { time: 1.7e12, open: 1, high: 2, low: 1, close: 2, volume: 3 };
     const idle = openStore('idle.db');
     const store = openStore('used.db');
     store.on('candles', () => {});
     store.upsertCandle(15, 'A:B', candle);
     store.getCandles(15, 'A:B', 10, null, true);
     store.enqueueCandles(15, 'A:B', [candle])
       .then(() => store.readCandles({ table: 15, symbol: 'A:B', limit: 1 }))
       .then((rows) => { globalThis.kept = [idle, store, rows]; });`,
  );
});

describe('without a binary and without install scripts', () => {
  let bare;
  beforeAll(async () => {
    bare = scratch();
    await install(bare, '--ignore-scripts');
    const lib = path.join(bare, 'node_modules', 'candlestore', 'lib');
    for (const name of fs.readdirSync(lib)) if (name.endsWith('.node')) fs.rmSync(path.join(lib, name));
  });

  test('the error names the one command to run', async () => {
    const { code, stderr } = await run(process.execPath, ['-e', "require('candlestore')"], { cwd: bare });
    expect(code).toBe(1);
    expect(stderr).toContain('npm rebuild candlestore');
  });

  test('CANDLESTORE_NATIVE_PATH is loaded instead', async () => {
    const lib = path.join(project, 'node_modules', 'candlestore', 'lib');
    const binary = fs.readdirSync(lib).find((name) => name.endsWith('.node'));
    const printed = await ok(
      process.execPath,
      ['-e', "console.log(typeof require('candlestore').openStore)"],
      {
        cwd: bare,
        env: { ...process.env, CANDLESTORE_NATIVE_PATH: path.join(lib, binary) },
      },
    );
    expect(printed).toBe('function\n');
  });

  test('the one command builds the addon from the sources in the package', async () => {
    const lib = path.join(bare, 'node_modules', 'candlestore', 'lib');
    const env = {
      ...process.env,
      CARGO_TARGET_DIR: path.join(root, 'target', 'from-package'),
      // That it builds is the claim here, not how fast it runs: optimizing would take a minute.
      CARGO_PROFILE_RELEASE_OPT_LEVEL: '0',
      CARGO_PROFILE_RELEASE_LTO: 'off',
      CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16',
    };
    await ok(npm, ['rebuild', 'candlestore'], { cwd: bare, env });
    expect(fs.readdirSync(lib).filter((name) => name.endsWith('.node'))).toHaveLength(1);
    const printed = await ok(
      process.execPath,
      ['-e', "console.log(typeof require('candlestore').openStore)"],
      {
        cwd: bare,
      },
    );
    expect(printed).toBe('function\n');
  }, 300_000);
});
