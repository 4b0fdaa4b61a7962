'use strict';

// A job: when it runs, and what becomes of its runs. Its times are on a grid: one at which it cannot run is skipped, and told of.
// It runs off the grid when it was blocked, disabled or triggered, or when the database works again, and begins a new one then.

const { setTimeout, clearTimeout } = require('node:timers');

const clock = require('../clock');
const { adviceFor, isOfDatabase, said } = require('./failure');
const { Outage } = require('./outage');
const { Pace } = require('./pace');
const { Run } = require('./run');
const { Uptime } = require('./uptime');

const NO_NUMBERS = { writes: 0, lockWaits: 0, atOnce: 0, failed: 0, rows: 0 };

class Job {
  #crew;
  #work;
  #isActive = false;
  #timer = null;
  #trial = null;
  /** The next time on the grid, and the one that the last run began at. */
  #due = 0;
  #base = 0;
  #run = null;
  #blocked = null;
  #isTriggered = false;
  /** Its number in the queue, and what was counted under earlier ones. */
  #id = null;
  #past = NO_NUMBERS;
  #lastRun = null;
  #uptime;
  #counts = { succeeded: 0, failed: 0, skipped: 0 };

  /** `crew` is what the jobs of a supervisor share: `{ store, inside, names, watch, options, tell }`. */
  constructor(crew, name, options, work) {
    this.#crew = crew;
    this.#work = work;
    this.name = name;
    this.options = options;
    this.pace = new Pace(options);
    this.outage = new Outage(crew.options);
    this.#uptime = new Uptime(clock.now());
  }

  start() {
    this.#isActive = true;
    this.#id ??= this.#crew.inside.native.addJob(this.#crew.options.lockWaitThresholdMs);
    this.#due = clock.now();
    this.#arm();
    if (this.outage.isDisabled) this.#armTrial();
    if (this.outage.cause === 'database') this.#crew.watch.add(this);
    // One that has outlived stop().
    this.#run?.awaitEnd();
  }

  /** A run goes on. */
  get isBusy() {
    return this.#run !== null;
  }

  /** Ends; resolves when the run that goes on has ended. */
  async stop() {
    this.#isActive = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#trial);
    this.#isTriggered = false;
    this.#blocked = null;
    this.#crew.names.leave(this);
    this.#crew.watch.remove(this);
    if (this.#run) this.#run.stop();
    else this.#retire();
    await this.#run?.ended;
  }

  /** The time for stopping is over: what its run has written and still waits is withdrawn. */
  giveUp() {
    this.#run?.withdraw();
  }

  trigger() {
    if (!this.#isActive) return;
    if (this.#run) this.#isTriggered = true;
    else if (!this.outage.isDisabled && !this.#blocked) this.#runSoon();
  }

  /** By a timer: a job that triggers itself must let others have their turns. */
  #runSoon() {
    this.#due = clock.now();
    this.#arm();
  }

  /** The database works again. */
  retry() {
    if (this.#isActive && !this.#run && !this.#blocked) this.#attempt(clock.now());
  }

  /** Who has its exclusive name. */
  blockedBy(heldBy) {
    this.#blocked.heldBy = heldBy;
  }

  /** It has its exclusive name, or cannot get it. */
  unblocked(error) {
    this.#blocked = null;
    if (error === undefined) return this.#begin(clock.now());
    this.#judge({ error }, 0);
  }

  #arm() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), Math.max(0, this.#due - clock.now()));
  }

  #armTrial() {
    clearTimeout(this.#trial);
    this.#trial = setTimeout(() => this.retry(), Math.max(0, this.outage.until - clock.now()));
  }

  /** A time on the grid has come. */
  #tick() {
    const now = clock.now();
    const { everyMs } = this.pace;
    const missed = Math.max(0, Math.floor((now - this.#due) / everyMs));
    const base = this.#due + missed * everyMs;
    this.#due = base + everyMs;
    this.#arm();
    if (missed > 0) this.#skip('late', missed, now - (base - missed * everyMs));
    if (!this.#isActive) return;
    if (this.#run) this.#skip(this.#run.isHung ? 'hung' : 'running', 1, now - this.#run.began);
    else if (this.outage.isDisabled) this.#skip('disabled', 1, now - this.#uptime.downSince);
    else if (this.#blocked) this.#skip('exclusive', 1, now - this.#blocked.since, this.#blocked.heldBy);
    else if (!this.#attempt(base)) this.#skip('exclusive', 1, 0, this.#blocked?.heldBy);
  }

  #skip(reason, times, sinceMs, heldBy = null) {
    this.#counts.skipped += times;
    this.#crew.tell('job-skipped', { job: this.name, reason, times, sinceMs, heldBy });
  }

  /** Begins a run, or waits for its exclusive name: then false. */
  #attempt(base) {
    let taken = null;
    try {
      if (this.options.exclusive !== null) taken = this.#crew.names.take(this);
    } catch (error) {
      this.#next(base);
      this.#judge({ error }, 0);
      return true;
    }
    if (taken === null) {
      this.#begin(base);
      return true;
    }
    this.#next(base);
    this.#blocked = { since: clock.now(), heldBy: taken.heldBy };
    this.#crew.names.wait(this);
    return false;
  }

  /** The grid goes on from here. */
  #next(base) {
    this.#base = base;
    this.#due = base + this.pace.everyMs;
    this.#arm();
  }

  #begin(base) {
    this.#next(base);
    const { store, inside } = this.#crew;
    // A job has one run at a time, which ends after its writes: what is counted meanwhile is the run's.
    const before = this.#numbers();
    const run = new Run({
      name: this.name,
      store,
      inside,
      job: { name: this.name, id: this.#id, priority: this.options.priority },
      timeLimitMs: this.options.timeLimitMs,
      onHang: () => this.#failed('hung', run.signal.reason, clock.now() - run.began),
      onLate: (error) => this.#isActive && this.#failed('job', error, run.tookMs),
    });
    this.#run = run;
    run.ended.then((failure) => this.#ended(run, failure, before));
    this.#crew.tell('job-started', { job: this.name });
    run.begin(this.#work);
  }

  #ended(run, failure, before) {
    this.#run = null;
    const { startedAt, tookMs } = run;
    const error = failure ? failure.error : null;
    this.#lastRun = { startedAt, tookMs, error, message: failure ? said(error) : null };
    const numbers = combine(this.#numbers(), before, (now, then) => now - then);
    if (this.options.exclusive !== null) this.#crew.names.give(this);
    if (!this.#isActive) this.#retire();
    // What the supervisor's stop made it fail of says nothing, and a run that hung has failed already.
    const isJudged = !run.isHung && !(run.isStopped && failure);
    if (isJudged) {
      this.#adapt(numbers);
      this.#judge(failure, run.tookMs, numbers.rows, run);
    } else if (this.#isActive && this.outage.isDisabled) {
      this.#armTrial();
    }
    if (!this.#isActive || this.#run || this.#blocked) return;
    const isTriggered = this.#isTriggered && !this.outage.isDisabled;
    this.#isTriggered = false;
    if (isTriggered) this.#runSoon();
  }

  /** The next time is as far from the last as the pace says now, if that time has not come yet. */
  #adapt(numbers) {
    const fromMs = this.pace.everyMs;
    if (!this.pace.ran(numbers)) return;
    const toMs = this.pace.everyMs;
    if (this.#isActive && this.#due === this.#base + fromMs) {
      this.#due = Math.max(this.#base + toMs, clock.now());
      this.#arm();
    }
    this.#crew.tell('job-interval', { job: this.name, fromMs, toMs, lockWaitRate: this.pace.rate });
  }

  #judge(failure, tookMs, rows = 0, { limitCause = null, wasHeldUp = false } = {}) {
    if (failure) {
      const cause = limitCause ?? (isOfDatabase(failure.error, wasHeldUp) ? 'database' : 'job');
      return this.#failed(cause, failure.error, tookMs);
    }
    this.#counts.succeeded += 1;
    this.#crew.watch.remove(this);
    clearTimeout(this.#trial);
    this.outage.succeeded();
    const downMs = this.#uptime.up(clock.now());
    this.#crew.tell('job-succeeded', { job: this.name, tookMs, rows });
    if (!this.outage.isTold) return;
    this.outage.isTold = false;
    this.#crew.tell('job-recovered', { job: this.name, downMs });
  }

  #failed(cause, error, tookMs) {
    const now = clock.now();
    const { outage, name } = this;
    this.#counts.failed += 1;
    const isDisabled = outage.failed(cause, error, now);
    this.#uptime.down(now);
    const facts = { job: name, cause, error, failuresInRow: outage.failures };
    const failed = { ...facts, message: said(error), tookMs };
    // Before the listeners are told: one of them may stop it all.
    if (this.#isActive) {
      if (cause === 'database') this.#crew.watch.add(this);
      else this.#crew.watch.remove(this);
      if (isDisabled && cause !== 'hung') this.#armTrial();
    }
    this.#crew.tell('job-failed', failed);
    const isClosed = !this.#crew.inside.native.isOpen;
    if ((isDisabled || isClosed || cause === 'hung') && !outage.isTold) this.#alert(facts, now, tookMs);
    if (isClosed) this.#crew.storeClosed();
  }

  #alert(facts, now, tookMs) {
    const { outage, name } = this;
    const { cause, error } = facts;
    outage.isTold = true;
    const isTriedAgain = cause !== 'hung' && outage.isDisabled;
    const retryInMs = isTriedAgain ? Math.round(outage.until - now) : null;
    const message = describe(name, cause, outage, error, tookMs);
    this.#crew.tell('job-disabled', {
      severity: 'critical',
      ...facts,
      retryInMs,
      message,
      advice: adviceFor(cause, error),
    });
  }

  #numbers() {
    if (this.#id === null) return this.#past;
    return combine(this.#past, this.#crew.inside.native.jobNumbers(this.#id), plus);
  }

  #retire() {
    if (this.#id === null) return;
    this.#past = combine(this.#past, this.#crew.inside.native.removeJob(this.#id), plus);
    this.#id = null;
  }

  get state() {
    if (this.#run) return this.#run.isHung ? 'hung' : 'running';
    if (!this.#isActive) return 'stopped';
    if (this.outage.isDisabled) return 'disabled';
    return this.#blocked ? 'blocked' : 'waiting';
  }

  status() {
    const { state, pace, outage } = this;
    const { watch } = this.#crew;
    const now = clock.now();
    const toDate = (time) => Math.round(Date.now() + time - now);
    const next = { waiting: this.#due, running: this.#due, disabled: outage.until }[state];
    const soonest = watch.has(this) ? Math.max(outage.retryFrom, now) : Infinity;
    const numbers = this.#numbers();
    return {
      state,
      priority: this.options.priority,
      exclusive: this.options.exclusive,
      lastRun: this.#lastRun && { ...this.#lastRun },
      runningSince: this.#run?.startedAt ?? null,
      nextRunAt: this.#isActive && next !== undefined ? toDate(Math.min(next, soonest)) : null,
      blockedSince: this.#blocked && toDate(this.#blocked.since),
      blockedBy: this.#blocked?.heldBy ?? null,
      everyMs: pace.everyMs,
      minEveryMs: pace.minEveryMs,
      maxEveryMs: pace.maxEveryMs,
      why: pace.why,
      ...this.#counts,
      failuresInRow: outage.failures,
      cause: outage.cause,
      error: outage.error,
      message: outage.cause && said(outage.error),
      disabledUntil: outage.isDisabled ? toDate(outage.until) : null,
      rowsWritten: numbers.rows,
      writes: numbers.writes,
      lockWaits: numbers.lockWaits,
      writesFailed: numbers.failed,
      lockWaitRate: pace.rate,
      availability: this.#uptime.share(now),
    };
  }
}

const plus = (one, other) => one + other;

function combine(one, other, how) {
  return Object.fromEntries(Object.keys(NO_NUMBERS).map((name) => [name, how(one[name], other[name])]));
}

function describe(name, cause, outage, error, tookMs) {
  if (cause === 'hung') {
    return `the job "${name}" hangs: its run has reached its limit and does not end, after ${Math.round(tookMs)} ms`;
  }
  const why = cause === 'database' ? ' because of the database' : '';
  const runs = outage.failures === 1 ? 'its last run has' : `its last ${outage.failures} runs have`;
  return `the job "${name}" is disabled: ${runs} failed${why}: ${said(error)}`;
}

module.exports = { Job };
