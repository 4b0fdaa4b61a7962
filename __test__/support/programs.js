'use strict';

// Other programs as tests need them: run to the end, or kept running and spoken to in lines.

const { spawn } = require('node:child_process');
const readline = require('node:readline');

const running = new Set();

function begin(command, args, options) {
  const child = spawn(command, args.map(String), { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

function collect(stream) {
  let text = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk) => (text += chunk));
  return () => text;
}

/** Runs a program to its end: { code, signal, stdout, stderr }. */
function run(command, args, options = {}) {
  const child = begin(command, args, options);
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
  child.stdin.end();
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout: stdout(), stderr: stderr() }));
  });
}

/** Starts a program that is spoken to: `lines` yields what it prints, `ended` resolves as `run` does. */
function start(command, args, options = {}) {
  const child = begin(command, args, options);
  const stderr = collect(child.stderr);
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stderr: stderr() }));
  });
  return { child, ended, lines: readline.createInterface({ input: child.stdout, crlfDelay: Infinity }) };
}

afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
});

module.exports = { run, start };
