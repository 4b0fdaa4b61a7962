'use strict';

// The other end of `worker.js`: starts the processes of a run, begins them all at one moment and takes their reports.

const { spawn } = require('node:child_process');
const path = require('node:path');
const readline = require('node:readline');

/** Until so long after the word is given all have heard it. */
const HEARD_MS = 300;

class Process {
  constructor(program, config) {
    const file = path.join(__dirname, program);
    const [command, args] = program.endsWith('.py')
      ? ['python3', [file]]
      : [process.execPath, [...process.execArgv, file]];
    this.program = program;
    this.child = spawn(command, [...args, JSON.stringify(config)], { stdio: ['pipe', 'pipe', 'inherit'] });
    // A process that has ended is noticed where its report is missing.
    this.child.stdin.on('error', () => {});
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** The next thing it says. */
  async answer() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.program} ended without a report`);
    return JSON.parse(value);
  }

  say(message) {
    this.child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  /** Asks one that runs until then to stop. */
  stop() {
    this.child.stdin.end();
  }

  get ended() {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  end() {
    if (this.ended) return Promise.resolve();
    return new Promise((resolve) => this.child.once('exit', resolve));
  }
}

/**
 * Starts processes, `[program, config]` each, lets all begin together and gives their reports, in order. Those of
 * `beside` run until the others have reported.
 */
async function runTogether(programs, beside = []) {
  const workers = programs.map((given) => new Process(...given));
  const others = beside.map((given) => new Process(...given));
  const all = [...workers, ...others];
  try {
    await Promise.all(all.map((one) => one.answer()));
    const at = Date.now() + HEARD_MS;
    for (const one of all) one.say({ at });
    const reports = await Promise.all(workers.map((one) => one.answer()));
    for (const one of others) one.stop();
    const besides = await Promise.all(others.map((one) => one.answer()));
    await Promise.all(all.map((one) => one.end()));
    return { reports, besides };
  } finally {
    for (const one of all) if (!one.ended) one.child.kill('SIGKILL');
  }
}

/** Starts one process that needs no common beginning, and gives its report. */
async function runAlone(program, config) {
  const one = new Process(program, config);
  try {
    const report = await one.answer();
    await one.end();
    return report;
  } finally {
    if (!one.ended) one.child.kill('SIGKILL');
  }
}

module.exports = { runTogether, runAlone };
