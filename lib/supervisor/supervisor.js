'use strict';

// A supervisor of the jobs that write into one store. See index.d.ts.

const { EventEmitter } = require('node:events');
const { setTimeout, clearTimeout } = require('node:timers');

const args = require('../arguments');
const { LONGEST_TIMER } = require('../clock');
const { CandleStoreError, invalidArgument } = require('../errors');
const { insideOf, isStore } = require('../store');
const { tell } = require('../tell');
const { DatabaseWatch } = require('./database-watch');
const { Job } = require('./job');
const { Leadership } = require('./leadership');
const { judge } = require('./health');
const { Names } = require('./names');
const { jobName, jobOptions, supervisorOptions } = require('./options');

/** A database whose lock keeps writes for longer does not work. */
const LONG_WAIT_MS = 5_000;
const STOPS_WITHIN_MS = 5_000;
/** How long runs are waited for when their writes were withdrawn. */
const WITHDRAWS_WITHIN_MS = 100;

class CollectorSupervisor extends EventEmitter {
  #crew;
  #jobs = new Map();
  #isRunning = false;
  #leadership;

  constructor(store, options) {
    super();
    const checked = supervisorOptions(options);
    const inside = insideOf(store);
    this.#leadership = new Leadership(inside.native, checked.leader);
    this.#crew = {
      store,
      inside,
      options: checked,
      names: new Names(inside.native),
      watch: new DatabaseWatch(inside, checked.probeIntervalMs),
      tell: (name, event) => tell(this, name, event),
      // Nothing can come back by itself then, and timers would keep the process alive.
      storeClosed: () => this.stop({ deadlineMs: 0 }),
    };
  }

  job(name, options, run) {
    jobName(name);
    if (this.#jobs.has(name)) throw invalidArgument(`there is a job ${args.shown(name)} already`);
    const checked = jobOptions(options);
    if (typeof run !== 'function') {
      throw invalidArgument(`a job's third argument must be a function, got ${args.shown(run)}`);
    }
    const job = new Job(this.#crew, name, checked, run);
    this.#jobs.set(name, job);
    if (this.#isRunning && this.#leadership.isHeld) job.start();
    return Object.freeze({ name, trigger: () => job.trigger(), remove: () => this.#remove(job) });
  }

  async #remove(job) {
    const stopped = job.stop();
    job.giveUp();
    await stopped;
    if (this.#jobs.get(job.name) === job) this.#jobs.delete(job.name);
  }

  start() {
    if (this.#isRunning) return;
    if (!this.#crew.inside.native.isOpen) {
      throw new CandleStoreError('CLOSED', 'the store is closed: open it again, and make a supervisor on it');
    }
    this.#isRunning = true;
    this.#leadership.seek(
      () => this.#lead(),
      (event) => tell(this, 'standby', event),
    );
  }

  #lead() {
    const urgency = (job) => args.PRIORITIES.indexOf(job.options.priority);
    const jobs = [...this.#jobs.values()].sort((one, other) => urgency(one) - urgency(other));
    // They begin by timers, after this is told.
    for (const job of jobs) job.start();
    tell(this, 'leading', {});
  }

  async stop(options = {}) {
    args.checkObject('options', options);
    args.checkKeys('options', options, ['deadlineMs']);
    const given = args.checkMilliseconds('deadlineMs', options.deadlineMs);
    const deadlineMs = Number.isNaN(given) ? STOPS_WITHIN_MS : Math.min(given, LONGEST_TIMER);
    this.#isRunning = false;
    this.#leadership.leave();
    const stopped = this.#stopJobs();
    if (!(await endsWithin(stopped, deadlineMs))) {
      for (const job of this.#jobs.values()) job.giveUp();
      await endsWithin(stopped, WITHDRAWS_WITHIN_MS);
    }
    const jobs = [...this.#jobs.values()];
    return { unfinished: jobs.filter((job) => job.isBusy).map((job) => job.name) };
  }

  /** As long as a run goes on, nobody else may lead. */
  async #stopJobs() {
    await Promise.all([...this.#jobs.values()].map((job) => job.stop()));
    // It may have been started again meanwhile, and stopped, and have more jobs now.
    const isBusy = [...this.#jobs.values()].some((job) => job.isBusy);
    if (!this.#isRunning && !isBusy) this.#leadership.giveUp();
  }

  status() {
    const jobs = [...this.#jobs].map(([name, job]) => [name, job.status()]);
    const { watch, inside } = this.#crew;
    const lockedOutMs = this.#isRunning ? inside.native.lockedOutMs() : 0;
    const isFailing = watch.isFailing || lockedOutMs > LONG_WAIT_MS || !inside.native.isOpen;
    return {
      running: this.#isRunning,
      leading: this.#isRunning && this.#leadership.isHeld,
      standby: this.#leadership.standby && { ...this.#leadership.standby },
      database: isFailing ? 'failing' : 'working',
      jobs: Object.fromEntries(jobs),
    };
  }

  health() {
    return judge(this.status());
  }
}

/** Whether a promise is settled within a time. */
async function endsWithin(promise, ms) {
  let timer;
  const late = new Promise((resolve) => (timer = setTimeout(resolve, ms, false)));
  const isInTime = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return isInTime;
}

/** Makes a supervisor. See index.d.ts. */
function createCollectorSupervisor(store, options = {}) {
  if (!isStore(store)) {
    throw invalidArgument(`store must be a CandleStore that openStore() has given, got ${args.shown(store)}`);
  }
  return new CollectorSupervisor(store, options);
}

module.exports = { CollectorSupervisor, createCollectorSupervisor };
