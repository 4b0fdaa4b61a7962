'use strict';

// Supervisors that are stopped after the test, all that they have told, and a process that keeps the file's lock for
// as long as it is told.

const { createCollectorSupervisor } = require('candlestore');
const { startElsewhere } = require('./process.js');
const { until } = require('./until.js');

const EVENTS = [
  'job-started',
  'job-succeeded',
  'job-failed',
  'job-skipped',
  'job-disabled',
  'job-recovered',
  'job-interval',
];

const supervisors = new Set();

/** A supervisor with what it has told, in its order: `{ name, at, ...event }`. */
function supervise(store, options) {
  const supervisor = createCollectorSupervisor(store, options);
  supervisors.add(supervisor);
  const told = [];
  for (const name of EVENTS)
    supervisor.on(name, (event) => told.push({ name, at: performance.now(), ...event }));
  /** What it has told under a name, of one job if one is given. */
  const of = (name, job) =>
    told.filter((event) => event.name === name && (job === undefined || event.job === job));
  /** The n-th such event, as soon as there is one. */
  const event = async (name, job, nth = 1) => {
    await until(() => of(name, job).length >= nth);
    return of(name, job)[nth - 1];
  };
  const job = (name) => supervisor.status().jobs[name];
  return { supervisor, told, of, event, job };
}

afterEach(async () => {
  for (const supervisor of supervisors) await supervisor.stop({ deadlineMs: 200 });
  supervisors.clear();
});

/** A promise that is settled from outside, and counts how often it was waited for. */
function gate() {
  let open;
  let fail;
  const promise = new Promise((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

/** A process that takes the file's lock for some milliseconds: `holdFor(ms)` resolves when it has it, `released()` then. */
async function locker(file) {
  const program = startElsewhere(
    async ({ require: load, say, hear }, inside) => {
      const store = load('candlestore').openStore(inside, { busyTimeoutMs: 20_000 });
      say('open');
      for (;;) {
        const ms = await hear();
        if (ms === null) break;
        store.db.exec('BEGIN IMMEDIATE');
        say('held');
        await new Promise((resolve) => setTimeout(resolve, ms));
        store.db.exec('COMMIT');
        say('released');
      }
      await store.close();
    },
    [file],
  );
  await program.next();
  return {
    pid: program.child.pid,
    async holdFor(ms) {
      program.tell(ms);
      await program.next();
    },
    released: () => program.next(),
    end() {
      program.tell(null);
      return program.ended;
    },
  };
}

module.exports = { EVENTS, gate, locker, supervise };
