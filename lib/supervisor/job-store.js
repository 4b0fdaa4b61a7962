'use strict';

// The store as a run of a job sees it: the same, but its writes are the job's. They have the job's priority, end with the run's
// signal, and are counted for the job.

const { setImmediate } = require('node:timers');

const { JOB, aborted } = require('../arguments');
const { CandleStoreError, invalidArgument } = require('../errors');

/**
 * @param store the store of the supervisor
 * @param inside what of it only the package sees
 * @param job `{ name, id, priority }`, the job, its number in the queue and the priority of its writes
 * @param run the `Run`
 */
function storeOfRun(store, inside, job, run) {
  /** What is no object is left to the store to refuse. The run's own signal withdraws all of its writes at once. */
  const optionsOf = (given = {}) => {
    if (typeof given !== 'object' || given === null || Array.isArray(given)) return given;
    const signal = given.signal === run.signal ? undefined : given.signal;
    return { ...given, signal, priority: given.priority ?? job.priority, [JOB]: job.id };
  };

  /** Why the run may not write any more, or null; the job fails of what comes when its run is over. */
  const refusal = () => {
    const { isOver } = run.writes;
    if (!isOver && !run.signal.aborted) return null;
    const refused = run.signal.aborted ? aborted(run.signal, 'no') : tooLate(job.name);
    if (isOver) run.late(refused);
    return refused;
  };

  const queued = (enqueue) => {
    const refused = refusal();
    // A turn later: who tries again at once must leave others theirs.
    const write = refused && new Promise((_resolve, reject) => setImmediate(reject, refused));
    if (run.writes.isOver) {
      // The job has failed of it: who does not wait for it as well is not to end the process.
      write.catch(() => {});
      return write;
    }
    try {
      return run.writes.add(write ?? enqueue());
    } catch (error) {
      // A getter of the options.
      return Promise.reject(error);
    }
  };

  /** A synchronous write: what is written inside the caller's own transaction is that transaction's. */
  const now = (write, rows) => {
    const refused = refusal();
    if (refused) throw refused;
    if (inside.inTransaction() || rows === 0) return write();
    try {
      const result = write();
      inside.native.bookLast(job.id, rows);
      return result;
    } catch (error) {
      // What was refused for its arguments is no write.
      const isWrite = error instanceof CandleStoreError && !/^(INVALID|UNKNOWN)_/.test(error.code);
      if (isWrite) inside.native.bookLast(job.id);
      throw error;
    }
  };

  const refuseToClose = async () => {
    throw invalidArgument("a run's store is the supervisor's: close it where it was opened, after stop()");
  };

  const own = {
    enqueueCandles: (table, symbol, candles, options) =>
      queued(() => store.enqueueCandles(table, symbol, candles, optionsOf(options))),
    enqueueDelete: (table, symbol, range, options) =>
      queued(() => store.enqueueDelete(table, symbol, range, optionsOf(options))),
    enqueueWrite: (sql, params, options) => queued(() => store.enqueueWrite(sql, params, optionsOf(options))),
    enqueueTransaction: (statements, options) =>
      queued(() => store.enqueueTransaction(statements, optionsOf(options))),
    upsertCandle: (table, symbol, candle) => now(() => store.upsertCandle(table, symbol, candle), 1),
    upsertCandles: (table, symbol, candles) =>
      now(() => store.upsertCandles(table, symbol, candles), candles?.length),
    deleteCandles: (table, symbol, range) => now(() => store.deleteCandles(table, symbol, range), 1),
    close: refuseToClose,
    [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]: refuseToClose,
  };

  /** The store's own methods, bound to it: they use what is private to it. */
  const bound = new Map();
  const proxy = new Proxy(store, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[name];
      const value = target[name];
      if (typeof value !== 'function' || name === 'constructor') return value;
      if (!bound.has(name)) {
        // on() and its like give the store itself back.
        const call = (...given) => {
          const result = value.apply(target, given);
          return result === target ? proxy : result;
        };
        bound.set(name, call);
      }
      return bound.get(name);
    },
  });
  return proxy;
}

function tooLate(name) {
  return new CandleStoreError(
    'ABORTED',
    `the run of the job "${name}" that made this write has ended: await every write in it, and every function that writes`,
    { written: 'no' },
  );
}

module.exports = { storeOfRun };
