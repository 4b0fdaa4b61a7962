'use strict';

// Small programs of the tests in processes of their own: a function of a test file, whose text is handed to another
// Node, and Python's sqlite3. A function runs with nothing of the test's around it but its arguments, as JSON.

const path = require('node:path');
const { run, start } = require('./programs.js');

const root = path.join(__dirname, '..', '..');

/**
 * The command line that runs `work({ require, say, hear }, ...args)` in another Node.
 * `say(value)` prints a line at once, `hear()` waits for one; both carry JSON.
 */
function program(work, args, nodeArgs) {
  const text = `
    'use strict';
    const fs = require('node:fs');
    const require_ = require('node:module').createRequire(${JSON.stringify(path.join(root, 'index.js'))});
    const say = (value) => fs.writeSync(1, JSON.stringify(value) + '\\n');
    const heard = [];
    let waiting = [];
    let input = null;
    const hear = () => new Promise((resolve) => {
      input ??= require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
        heard.push(JSON.parse(line));
        while (waiting.length > 0 && heard.length > 0) waiting.shift()(heard.shift());
      });
      heard.length > 0 ? resolve(heard.shift()) : waiting.push(resolve);
    });
    const until = async (condition) => {
      const deadline = Date.now() + 20_000;
      while (!condition()) {
        if (Date.now() > deadline) throw new Error('not met within 20 s: ' + condition);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    const work = ${work};
    Promise.resolve(work({ require: require_, say, hear, until }, ...${JSON.stringify(args)})).catch((error) => {
      process.exitCode = 70;
      fs.writeSync(2, error.stack + '\\n');
    }).finally(() => {
      // Listening keeps a process alive.
      if (input) process.stdin.destroy();
    });`;
  return [...nodeArgs, '-e', text];
}

/** Runs a function in another Node to its end: { code, signal, stdout, stderr, said }. `through` is what starts that Node. */
async function runElsewhere(work, args = [], { nodeArgs = [], through = [], ...options } = {}) {
  const [command, ...rest] = [...through, process.execPath, ...program(work, args, nodeArgs)];
  const ended = await run(command, rest, { cwd: root, ...options });
  const said = ended.stdout.split('\n').filter(Boolean).map(parsed);
  return { ...ended, said };
}

const parsed = (line) => {
  try {
    return JSON.parse(line);
  } catch {
    return line;
  }
};

/** Starts a program that is spoken to in lines of JSON: `next()` is what it says, `tell(value)` what it hears. */
function startProgram(command, args, options) {
  const { child, ended, lines } = start(command, args, options);
  const said = [];
  const waiting = [];
  let end = null;
  const settle = () => {
    while (waiting.length > 0 && said.length > 0) waiting.shift().resolve(said.shift());
    if (end) {
      const error = new Error(`the program ended with ${end.signal ?? end.code}: ${end.stderr}`);
      for (const { reject } of waiting.splice(0)) reject(error);
    }
  };
  lines.on('line', (line) => {
    said.push(parsed(line));
    settle();
  });
  ended.then((how) => {
    end = how;
    settle();
  });
  child.stdin.on('error', () => {});
  return {
    child,
    ended,
    next: () =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        settle();
      }),
    tell: (value) => child.stdin.write(`${JSON.stringify(value)}\n`),
    async kill() {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

/** Starts a function in another Node; `through` as for `runElsewhere`. */
function startElsewhere(work, args = [], { nodeArgs = [], through = [], ...options } = {}) {
  const [command, ...rest] = [...through, process.execPath, ...program(work, args, nodeArgs)];
  return startProgram(command, rest, { cwd: root, ...options });
}

/** A connection of Python's sqlite3 on `file`; statements run at once, each on its own unless BEGIN was sent. */
function python(file) {
  const started = startProgram('python3', [path.join(__dirname, 'store-python.py'), file]);
  return {
    ...started,
    async sql(text, ...parameters) {
      started.tell({ sql: text, parameters });
      const { rows, error } = await started.next();
      if (error) throw new Error(error);
      return rows;
    },
    async end() {
      started.child.stdin.end();
      return started.ended;
    },
  };
}

module.exports = { python, runElsewhere, startElsewhere };
