'use strict';

// Handles that are cut off by terminate() and exit() in the middle of what they do: a short storm of handle/storm.js,
// which by itself goes on for longer.

const path = require('node:path');
const { run } = require('./support/programs.js');

jest.setTimeout(60_000);

const STORM = path.join(__dirname, 'handle', 'storm.js');
const FAULTY = path.join(__dirname, 'handle', 'storm-faulty.js');

const storm = (provider, rounds, env = {}) =>
  run(process.execPath, [STORM, '--rounds', String(rounds)], {
    env: { ...process.env, PROVIDER: provider, ...env },
  });

test.each(['Database', 'store.db'])(
  '%s leaves a whole file and a sound process wherever it is cut off',
  async (provider) => {
    const { code, signal, stdout, stderr } = await storm(provider, 20);
    expect({ code, signal, stderr, said: stdout }).toMatchObject({ code: 0, signal: null, stderr: '' });
    // Nothing behind it: every action has been begun, backup and serialize too.
    expect(stdout).toMatch(/40 cut off, \d+ times busy, \d+ commits unsure, 0 faults\n$/);
  },
);

test.each([
  ['aborts', /ended with SIGABRT instead of/],
  ['torn', /parts of transactions/],
  ['lost', /commit \d+ is not there/],
  ['garbled', /integrity_check: |cannot be looked at: .*malformed/],
])('the storm finds a handle that %s', async (fault, found) => {
  const { code, stderr } = await storm(FAULTY, 8, { FAULT: fault });
  expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(found) });
});
