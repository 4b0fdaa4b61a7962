'use strict';

// The store as its callers see it: arguments are checked and candles packed here, calls go to the native side, and
// its outcomes settle promises. What waits for room in a full queue is in `room.js`, the raw handles in `handle/`.

const { EventEmitter } = require('node:events');
const { setInterval, clearInterval } = require('node:timers');
const { fileURLToPath } = require('node:url');

const clock = require('./clock');
const args = require('./arguments');
const { ROW, unpack, unpackColumns } = require('./candle');
const { databaseOn } = require('./handle/database');
const { ReadOnlySession, ReadOnlyStoreSession, StoreSession } = require('./handle/sessions');
const { CandleStoreError, fromNative, invalidArgument, native } = require('./errors');
const { NativeStore, statNames } = require('./native');
const { Packed, withPacked } = require('./packed');
const { Pending, SETTLED, progressOf } = require('./pending');
const {
  ReadyAnswers,
  answerOfBytes,
  answerOfCandles,
  checkEnvelope,
  needsJavaScript,
  roomFor,
  stampOf,
} = require('./ready');
const { Queries } = require('./queries');
const { Room } = require('./room');
const { ownStatement, rowsAsObjects } = require('./own-statement');
const { tell } = require('./tell');
const { Transaction } = require('./transaction');

const DEFAULT_LIMIT = 100;
const FORMATS = ['rows', 'columns', 'json'];
const READ_OPTIONS = ['limit', 'before', 'after', 'readOnly'];
const READ_REQUEST = [
  ...['table', 'symbol', 'series', 'limit', 'before', 'after', 'format', 'clusters', 'prefix', 'suffix'],
  ...['signal', 'timeoutMs'],
];
const NONE = [];
const NOTHING = {};
/** Rows that fit into the array which synchronous reads share. */
const SHARED_ROWS = 8192;
/** How often commits of other processes are looked for while somebody listens. */
const WATCH_MS = 100;
/** Numbers of one outcome in what the native side gives: see `Settled` there. */
const KIND = {
  WRITTEN: 0,
  ERROR: 1,
  RAN: 2,
  CANDLES: 3,
  DONE: 4,
  FOUND: 5,
  LATEST: 6,
  SERIES: 7,
  JSON: 8,
  COPIED: 9,
};
const BREAKER_STATES = ['closed', 'open', 'half-open'];
const EVENT_BITS = {
  candles: 1,
  drained: 2,
  'store-error': 4,
  'lock-wait': 8,
  'slow-write': 16,
  breaker: 32,
};

/** Synchronous reads use these. */
const sharedRows = new Float64Array(SHARED_ROWS * ROW);

/** What callbacks do that must not keep a store from being collected; set by the class, whose privates they use. */
let takeOutcomes;
let lookForOthers;
/** What other parts of the package need of a store. */
let insideOf;
let isStore;

class CandleStore extends EventEmitter {
  #native;
  #tables = new Map();
  #pending = new Pending();
  #queries;
  #room;
  #transaction;
  #closing = null;
  #closeId = 0;
  #watcher = null;
  #maxBatchRows;
  #statNames;
  #numbers;
  #ready;

  constructor(location, options) {
    super();
    const opened = openNative(this, location, options);
    this.#native = opened.native;
    this.#maxBatchRows = opened.maxBatchRows;
    for (const minutes of opened.timeframes) {
      this.#tables.set(minutes, minutes);
      this.#tables.set(`candles_${minutes}`, minutes);
    }
    this.#statNames = [...opened.timeframes.map((minutes) => `candles_${minutes}`), ...statNames()];
    this.#numbers = new Float64Array(this.#statNames.length);
    this.#ready = new ReadyAnswers(opened.tailCacheBytes / 2);
    this.#room = new Room(opened.whenFull === 'wait');
    this.#transaction = new Transaction(this.#native);
    this.#queries = new Queries(this.#native, this.#pending, (table) => this.#minutes(table));
    this.#makeHandles(opened);
    // At once: what is written right after on() must not be missed. The new listener is not counted yet.
    this.on('newListener', (name) => this.#listen(name));
    this.on('removeListener', () => this.#listen());
  }

  /** The raw handles, made when first asked for. */
  #makeHandles(opened) {
    const facts = {
      name: opened.name,
      readonly: opened.readOnly,
      memory: opened.name === ':memory:',
      pending: this.#pending,
    };
    const limitMs = opened.readTimeoutMs;
    const lazy = (name, make) => {
      let handle = null;
      const get = () => (handle ??= databaseOn(make()));
      Object.defineProperty(this, name, { get, enumerable: true });
    };
    lazy('db', () =>
      opened.readOnly
        ? new ReadOnlyStoreSession(this, this.#native, limitMs, facts)
        : new StoreSession(this, this.#native, this.#transaction, facts),
    );
    lazy('dbReadOnly', () => new ReadOnlySession(this, this.#native, limitMs, facts));
  }

  // Synchronous writes.

  upsertCandle(table, symbol, candle) {
    const minutes = this.#minutes(table);
    const stored = args.checkSymbol(symbol);
    const where = { table: `candles_${minutes}`, symbol: stored };
    if (this.#transaction.open) {
      this.#transaction.add(minutes, stored, candle, where);
      return;
    }
    withPacked(
      (packed) => packed.add(candle, 0, where),
      (packed) => this.#upsert(minutes, stored, packed),
    );
  }

  upsertCandles(table, symbol, candles) {
    const minutes = this.#minutes(table);
    const stored = args.checkSymbol(symbol);
    checkCandles(candles);
    const where = { table: `candles_${minutes}`, symbol: stored };
    withPacked(
      (packed) => packed.addAll(candles, where),
      (packed) => {
        if (this.#transaction.open) this.#transaction.handOver();
        if (packed.count > 0) this.#upsert(minutes, stored, packed);
      },
    );
  }

  #upsert(minutes, symbol, packed) {
    const { values, count, footprints } = packed;
    native(() => this.#native.upsert(minutes, symbol, values, count, footprints.bytes, footprints.used));
  }

  deleteCandles(table, symbol, range = {}) {
    const minutes = this.#minutes(table);
    const stored = args.checkSymbol(symbol);
    const { after, before } = checkRange(range);
    this.#transaction.handOver();
    return native(() => this.#native.deleteCandles(minutes, stored, after, before));
  }

  // Synchronous reads.

  getCandles(table, symbol, limit, before, readOnly) {
    const { minutes, stored, from, to, most, committed } = this.#request(
      table,
      symbol,
      limit,
      before,
      readOnly,
    );
    const read = native(() =>
      this.#native.readCandles(minutes, stored, from, to, most, committed, sharedRows),
    );
    if (typeof read === 'number') return unpack(sharedRows, read, '', NONE);
    return unpack(read.values ?? sharedRows, read.count, read.clusters, read.odd);
  }

  getCandlesColumns(table, symbol, limit, before, readOnly) {
    const request = this.#request(table, symbol, limit, before, readOnly, ['clusters']);
    const { minutes, stored, from, to, most, committed, more } = request;
    const clusters = args.checkBoolean('clusters', more.clusters ?? false);
    const read = native(() => this.#native.readColumns(minutes, stored, from, to, most, committed));
    return unpackColumns(read, clusters);
  }

  getCandlesJson(table, symbol, limit, before, readOnly) {
    const request = this.#request(table, symbol, limit, before, readOnly, ['prefix', 'suffix']);
    const { minutes, stored, from, to, most, committed, more } = request;
    const { prefix, suffix } = checkEnvelope(more);
    const key = `${minutes} ${stored} ${most} ${from} ${to} ${committed}`;
    const known = this.#ready.get(key, prefix, suffix);
    const made = native(() =>
      this.#native.readJson(
        minutes,
        stored,
        from,
        to,
        most,
        committed,
        prefix,
        roomFor(suffix),
        known?.stamp ?? 0,
      ),
    );
    if (made === null) return known.bytes;
    const series = { table: `candles_${minutes}`, symbol: stored };
    if (needsJavaScript(made)) {
      const range = { limit: oneMore(most), before: to, after: from, readOnly: committed };
      this.#ready.forget(key);
      return answerOfCandles(made, this.getCandles(minutes, stored, range), most, series, prefix, suffix);
    }
    const fresh = answerOfBytes(made, series, suffix);
    // Others may have written elsewhere; what callers have made of the bytes they were given then stays good.
    const bytes = known?.bytes.equals(fresh) ? known.bytes : fresh;
    this.#ready.put(key, prefix, suffix, stampOf(made), bytes);
    return bytes;
  }

  getCandlesOf(series, options = {}) {
    return args
      .checkSeries(series)
      .map(({ table, symbol, ...own }) =>
        this.getCandles(table, symbol, { ...args.checkObject('options', options), ...own }),
      );
  }

  /** What a synchronous read asks for, from its arguments or from an object with `more` options besides the usual ones. */
  #request(table, symbol, limit = DEFAULT_LIMIT, before = null, readOnly = false, known = NONE) {
    let after = null;
    let more = NOTHING;
    if (typeof limit === 'object' && limit !== null && !Array.isArray(limit)) {
      more = limit;
      args.checkKeys('options', limit, [...READ_OPTIONS, ...known]);
      ({ limit = DEFAULT_LIMIT, before = null, after = null, readOnly = false } = more);
    }
    const request = {
      minutes: this.#minutes(table),
      stored: args.checkSymbol(symbol),
      most: args.checkLimit(limit),
      from: args.checkBound('after', after),
      to: args.checkBound('before', before),
      committed: args.checkBoolean('readOnly', readOnly),
      more,
    };
    if (this.#transaction.open) this.#transaction.handOver();
    return request;
  }

  getLastCandleTime(table, symbol) {
    const minutes = this.#minutes(table);
    const stored = args.checkSymbol(symbol);
    if (this.#transaction.open) this.#transaction.handOver();
    return native(() => this.#native.lastTime(minutes, stored));
  }

  getLatest(options = {}) {
    if (this.#transaction.open) this.#transaction.handOver();
    return this.#queries.latest(options);
  }

  getSeries(options = {}) {
    if (this.#transaction.open) this.#transaction.handOver();
    return this.#queries.series(options);
  }

  getStats(options = {}) {
    args.checkObject('options', options);
    args.checkKeys('options', options, ['exact']);
    const exact = args.checkBoolean('exact', options.exact ?? false);
    native(() => this.#native.stats(exact, this.#numbers));
    const stats = {};
    this.#statNames.forEach((name, place) => (stats[name] = this.#numbers[place]));
    stats.breaker = BREAKER_STATES[stats.breaker];
    return stats;
  }

  get queue() {
    const lanes = native(() => this.#native.depth());
    const queue = Object.fromEntries(
      args.PRIORITIES.map((priority, place) => [priority, { ...lanes[place] }]),
    );
    // Not enumerable: whoever goes through the queue's properties finds the priorities.
    return Object.defineProperty(queue, 'stats', {
      value: () => JSON.parse(native(() => this.#native.queueStats())),
    });
  }

  // Writes through the queue.

  async enqueueCandles(table, symbol, candles, options = {}) {
    const minutes = this.#minutes(table);
    const stored = args.checkSymbol(symbol);
    checkCandles(candles);
    const checked = args.checkWriteOptions(options, ['atomic']);
    const atomic = args.checkBoolean('atomic', options.atomic ?? true);
    const where = { table: `candles_${minutes}`, symbol: stored };
    const enqueue = (packed) => this.#enqueueRows(minutes, stored, packed, checked);
    if (atomic || candles.length <= this.#maxBatchRows)
      return withPacked((packed) => packed.addAll(candles, where), enqueue);
    const outcomes = await settleAll(packSlices(candles, this.#maxBatchRows, where).map(enqueue));
    return outcomes.reduce(addOutcomes);
  }

  /** The rows are copied before this returns, to the native side or, when they have to wait for room, here. */
  #enqueueRows(minutes, symbol, packed, options) {
    let rows = packed;
    const push = (id, timeoutMs) => {
      const { values, count, footprints } = rows;
      const { bytes, used } = footprints;
      const { priority, job } = options;
      return this.#native.enqueueUpsert(
        minutes,
        symbol,
        values,
        count,
        bytes,
        used,
        id,
        priority,
        timeoutMs,
        job,
      );
    };
    return this.#enqueue(push, options, writtenRows, () => (rows = packed.copy()));
  }

  async enqueueDelete(table, symbol, range = {}, options = {}) {
    const minutes = this.#minutes(table);
    const stored = args.checkSymbol(symbol);
    const { after, before } = checkRange(range);
    const checked = args.checkWriteOptions(options);
    const push = (id, timeoutMs) =>
      this.#native.enqueueDelete(
        minutes,
        stored,
        after,
        before,
        id,
        checked.priority,
        timeoutMs,
        checked.job,
      );
    return this.#enqueue(push, checked, writtenDelete);
  }

  async enqueueWrite(sql, params, options = {}) {
    const checked = args.checkWriteOptions(options);
    const statement = ownStatement(sql, params);
    const push = (id, timeoutMs) =>
      this.#native.enqueueStatements([statement], id, checked.priority, timeoutMs, checked.job);
    return this.#enqueue(push, checked, ({ results: [result], ...outcome }) => ({
      ...outcome,
      ...statementOutcome(result),
    }));
  }

  async enqueueTransaction(statements, options = {}) {
    const checked = args.checkWriteOptions(options);
    if (!Array.isArray(statements) || statements.length === 0) {
      throw invalidArgument('statements must be a non-empty array of { sql, params } or of SQL texts');
    }
    const given = statements.map((statement) =>
      typeof statement === 'string'
        ? ownStatement(statement)
        : ownStatement(args.checkObject('statement', statement).sql, statement.params),
    );
    const push = (id, timeoutMs) =>
      this.#native.enqueueStatements(given, id, checked.priority, timeoutMs, checked.job);
    return this.#enqueue(push, checked, (outcome) => {
      const results = outcome.results.map(statementOutcome);
      const changes = results.reduce((sum, result) => sum + result.changes, 0);
      return { ...outcome, changes, lastInsertRowid: results.at(-1).lastInsertRowid, results };
    });
  }

  /**
   * Hands a write to the queue, waiting for room where the options say so; `shape` makes the caller's result.
   * `own` is called before the write waits for room: after that only memory of its own may be used.
   */
  async #enqueue(push, { signal, timeoutMs, job }, shape, own) {
    if (signal?.aborted) throw args.aborted(signal, 'no');
    // What the open transaction has gathered was accepted before this write.
    if (this.#transaction.open) this.#transaction.handOver();
    const deadline = clock.now() + timeoutMs;
    // Whoever waits for the outcome does so from the moment of acceptance: it may come, or be withdrawn, at once.
    const attempt = () => {
      const id = this.#pending.nextId();
      const left = Number.isNaN(timeoutMs) ? NaN : Math.max(0, deadline - clock.now());
      const sequence = native(() => push(id, left));
      const withdraw = () => {
        if (this.#native.withdraw(sequence)) this.#pending.reject(id, args.aborted(signal, 'no'));
      };
      signal?.addEventListener('abort', withdraw, { once: true });
      return { settled: this.#pending.wait(id, () => signal?.removeEventListener('abort', withdraw)) };
    };
    const { settled } = this.#room.waits
      ? await this.#room.get(attempt, { signal, timeoutMs, job }, own)
      : attempt();
    return shape(await settled);
  }

  async flush() {
    const id = this.#pending.nextId();
    native(() => this.#native.flush(id));
    await this.#pending.wait(id);
  }

  // Reads in the background.

  async readCandles(request) {
    args.checkObject('request', request);
    args.checkKeys('request', request, READ_REQUEST);
    const { series, ...common } = request;
    if (series === undefined) return this.#readOne(request);
    const reads = args.checkSeries(series).map((one) => this.#readOne({ ...common, ...one }));
    return settleAll(reads);
  }

  async #readOne(request) {
    const { limit = DEFAULT_LIMIT, format = 'rows' } = request;
    const minutes = this.#minutes(request.table);
    const stored = args.checkSymbol(request.symbol);
    const most = args.checkLimit(limit);
    const from = args.checkBound('after', request.after);
    const to = args.checkBound('before', request.before);
    const clusters = args.checkBoolean('clusters', request.clusters ?? false);
    const { prefix, suffix } = checkEnvelope(request);
    if (!FORMATS.includes(format)) {
      throw invalidArgument(`format must be ${FORMATS.join(', ')}, got ${args.shown(format)}`);
    }
    const kind = FORMATS.indexOf(format);
    const { signal, timeoutMs } = request;
    const deadline = clock.now() + (timeoutMs ?? Infinity);
    const start = (id) => this.#native.readCandlesLater(minutes, stored, from, to, most, kind, prefix, id);
    const read = await this.#queries.later(start, request);
    if (format === 'rows') return unpack(read.values, read.count, read.clusters, read.odd);
    if (format === 'columns') return unpackColumns(read, clusters);
    const series = { table: `candles_${minutes}`, symbol: stored };
    if (!needsJavaScript(read)) return answerOfBytes(read, series, suffix);
    // The caller may have changed the request meanwhile.
    const again = { table: minutes, symbol: stored, limit: oneMore(most), before: to, after: from };
    const rows = await this.#readOne({
      ...again,
      signal,
      timeoutMs: Math.max(0, deadline - clock.now()),
    });
    return answerOfCandles(read, rows, most, series, prefix, suffix);
  }

  async query(sql, params, options = {}) {
    return this.#queries.query(sql, params, options);
  }

  async readLatest(options = {}) {
    return this.#queries.latestLater(options);
  }

  async readSeries(options = {}) {
    return this.#queries.seriesLater(options);
  }

  // Life.

  /** A file is ready when openStore() has returned; another engine may have to connect first. */
  async ready() {
    if (!this.#native.isOpen) throw closedError();
  }

  close(options = {}) {
    if (this.#closing) return this.#closing;
    if (this.#transaction.depth > 0) return Promise.reject(closedInside());
    this.#closing = this.#close(options);
    // A refused close leaves the store open.
    this.#closing.catch(() => this.#native.isOpen && (this.#closing = null));
    return this.#closing;
  }

  async #close(options) {
    args.checkObject('options', options);
    args.checkKeys('options', options, ['deadlineMs']);
    const deadlineMs = args.checkMilliseconds('deadlineMs', options.deadlineMs);
    const id = this.#pending.nextId();
    this.#closeId = id;
    if (this.#native.isOpen) {
      this.#native.closeLater(deadlineMs, id);
      await this.#pending.wait(id);
    }
    this.#ended();
  }

  /** Whether a raw handle is to say that it is not open. */
  get _isClosed() {
    return this.#closing !== null && !this.#native.isOpen;
  }

  _closeNow() {
    if (this.#transaction.depth > 0) throw closedInside();
    native(() => this.#native.closeNow(NaN));
    this.#closing ??= Promise.resolve();
    this.#take();
    this.#ended();
  }

  #ended() {
    this.#transaction.end(false);
    clearInterval(this.#watcher);
    this.#watcher = null;
    this.#native.end();
    this.#native.unshare();
    this.#ready.end();
    this.#room.rejectAll(closedError);
    // db.close() may end what close() has begun.
    this.#pending.resolve(this.#closeId);
    this.#pending.rejectAll(closedError);
  }

  [Symbol.asyncDispose ?? Symbol.for('nodejs.asyncDispose')]() {
    return this.close();
  }

  // Outcomes and events.

  /** Settles what the native side has done since the last call. */
  #take() {
    const { numbers, errors, candles, json, ran, found, latest, series, events } = this.#native.take();
    for (let at = 0; at < numbers.length; at += SETTLED) {
      const id = numbers[at];
      const place = numbers[at + 10];
      switch (numbers[at + 1]) {
        case KIND.WRITTEN:
          this.#pending.resolve(id, {
            sequence: numbers[at + 2],
            inserted: numbers[at + 3],
            updated: numbers[at + 4],
            unchanged: numbers[at + 5],
            coalesced: numbers[at + 6],
            deleted: numbers[at + 7],
            queuedMs: numbers[at + 8],
            commitMs: numbers[at + 9],
          });
          break;
        case KIND.ERROR:
          this.#pending.reject(id, fromNative(errors[place]));
          break;
        case KIND.RAN:
          this.#pending.resolve(id, {
            sequence: numbers[at + 2],
            results: ran[place],
            queuedMs: numbers[at + 8],
            commitMs: numbers[at + 9],
          });
          break;
        case KIND.CANDLES:
          this.#pending.resolve(id, candles[place]);
          break;
        case KIND.JSON:
          this.#pending.resolve(id, json[place]);
          break;
        case KIND.FOUND:
          this.#pending.resolve(id, found[place]);
          break;
        case KIND.LATEST:
          this.#pending.resolve(id, latest[place]);
          break;
        case KIND.SERIES:
          this.#pending.resolve(id, series[place]);
          break;
        case KIND.COPIED:
          this.#pending.resolve(id, progressOf(numbers, at));
          break;
        default:
          this.#pending.resolve(id, undefined);
      }
    }
    this.#room.retry();
    for (const event of events) this.#emit(event, 'local');
  }

  #emit(event, source) {
    if (event.name === 'candles') {
      const { minutes, symbol, from, to, count } = event;
      tell(this, 'candles', { table: `candles_${minutes}`, symbol, from, to, count, source });
    } else if (event.name === 'store-error') {
      tell(this, 'store-error', fromNative(event.error));
    } else if (event.name === 'breaker') {
      const error = event.error ? fromNative(event.error) : null;
      tell(this, 'breaker', { ...JSON.parse(event.facts), error });
    } else if (event.facts) {
      tell(this, event.name, JSON.parse(event.facts));
    } else {
      tell(this, event.name);
    }
  }

  /** Asks the native side for the events that somebody listens to. */
  #listen(added) {
    if (this.#closing || !this.#native.isOpen) return;
    let bits = 0;
    for (const [name, bit] of Object.entries(EVENT_BITS)) {
      if (name === added || this.listenerCount(name) > 0) bits |= bit;
    }
    native(() => this.#native.listen(bits));
    const watch = (bits & EVENT_BITS.candles) !== 0;
    if (watch && !this.#watcher)
      this.#watcher = setInterval(watchOthers, WATCH_MS, new WeakRef(this)).unref();
    if (!watch && this.#watcher) {
      clearInterval(this.#watcher);
      this.#watcher = null;
    }
  }

  #lookForOthers() {
    if (this.#closing || !this.#native.isOpen) return;
    this.#take();
    let changes;
    try {
      changes = native(() => this.#native.foreignChanges());
    } catch (error) {
      // There is no call of anybody's to fail: it is told as what goes wrong in the background is.
      tell(this, 'store-error', error);
      return;
    }
    for (const event of changes) this.#emit(event, 'other');
  }

  #minutes(table) {
    const minutes = this.#tables.get(table);
    if (minutes !== undefined) return minutes;
    const known = [...this.#tables.keys()].filter((key) => typeof key === 'string').join(', ');
    throw new CandleStoreError(
      'UNKNOWN_TABLE',
      `the store has no table ${args.shown(table)}; it has ${known} (option timeframes)`,
      { table: String(typeof table === 'string' ? table.slice(0, 64) : table) },
    );
  }

  static {
    // For callbacks that must not keep a store from being collected.
    takeOutcomes = (store) => store.#take();
    lookForOthers = (store) => store.#lookForOthers();
    isStore = (value) => typeof value === 'object' && value !== null && #native in value;
    insideOf = (store) => ({
      native: store.#native,
      /** Takes back what a job's run has written and has not begun. */
      withdraw: (job, makeError) => {
        store.#room.reject(job, makeError);
        for (const id of store.#native.withdrawJob(job)) store.#pending.reject(id, makeError());
      },
      inTransaction: () => store.#transaction.open || store.#native.inTransaction,
      /** Asks by the queue whether the database takes a write: how long that had to wait, in milliseconds, or an error. */
      probe: (timeoutMs) => {
        const id = store.#pending.nextId();
        const sequence = native(() => store.#native.probe(id, timeoutMs));
        return {
          answer: store.#pending.wait(id).then(({ queuedMs }) => queuedMs),
          callOff: () => store.#native.withdraw(sequence),
        };
      },
    });
  }
}

function watchOthers(reference) {
  const store = reference.deref();
  if (store) lookForOthers(store);
  else clearInterval(this);
}

/** Opens the native store; what wakes JS knows the store only weakly. */
function openNative(store, location, options) {
  const path = checkLocation(location);
  args.checkObject('options', options);
  const reference = new WeakRef(store);
  const wake = () => {
    const woken = reference.deref();
    if (woken) takeOutcomes(woken);
  };
  return {
    native: native(() => NativeStore.open(path, optionsText(options), wake)),
    name: path,
    readOnly: options.readOnly ?? false,
    // In the order of the native side.
    timeframes: [...(options.timeframes ?? [15, 60, 240, 1440])].sort((one, other) => one - other),
    maxBatchRows: options.maxBatchRows ?? 5_000,
    readTimeoutMs: options.readTimeoutMs ?? 30_000,
    whenFull: options.whenFull ?? 'reject',
    tailCacheBytes: options.tailCacheBytes ?? 33_554_432,
  };
}

/** Options as JSON; values that JSON cannot hold become text, which the native side refuses by name. */
function optionsText(options) {
  const held = (_key, value) =>
    ['function', 'bigint', 'symbol'].includes(typeof value) ||
    (typeof value === 'number' && !Number.isFinite(value))
      ? String(value)
      : value;
  try {
    return JSON.stringify(options, held);
  } catch (cause) {
    throw new CandleStoreError('INVALID_OPTION', `options cannot be read: ${cause.message}`, { cause });
  }
}

function checkLocation(location) {
  if (location instanceof URL && location.protocol === 'file:') return fileURLToPath(location);
  if (typeof location !== 'string' || location.length === 0 || location.includes('\0')) {
    throw invalidArgument(
      `location must be the path of a database file or ':memory:', got ${args.shown(location)}`,
    );
  }
  if (/^postgres(ql)?:/i.test(location)) {
    throw invalidArgument('location: this version of candlestore stores in SQLite files only');
  }
  return location;
}

function checkCandles(candles) {
  if (!Array.isArray(candles)) throw invalidArgument(`candles must be an array, got ${args.shown(candles)}`);
}

function checkRange(range) {
  args.checkObject('range', range);
  args.checkKeys('range', range, ['after', 'before']);
  return { after: args.checkBound('after', range.after), before: args.checkBound('before', range.before) };
}

/** Candles packed in parts of at most `rows` rows, all of them checked before the first is written. */
function packSlices(candles, rows, where) {
  const { length } = candles;
  const parts = [];
  for (let start = 0; start < length; start += rows) {
    const end = Math.min(start + rows, length);
    const part = new Packed(end - start);
    part.addAll(candles, where, start, end);
    parts.push(part);
  }
  return parts;
}

/** A limit by which it is seen whether there are more candles than so many. */
function oneMore(limit) {
  return Math.min(limit + 1, args.MOST_LIMIT);
}

/** Waits for all before it reports the first failure: nothing may still be on its way then. */
async function settleAll(promises) {
  const outcomes = await Promise.allSettled(promises);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
  return outcomes.map((outcome) => outcome.value);
}

function addOutcomes(sum, next) {
  return {
    sequence: next.sequence,
    inserted: sum.inserted + next.inserted,
    updated: sum.updated + next.updated,
    unchanged: sum.unchanged + next.unchanged,
    coalesced: sum.coalesced + next.coalesced,
    queuedMs: Math.max(sum.queuedMs, next.queuedMs),
    commitMs: sum.commitMs + next.commitMs,
  };
}

function writtenRows({ deleted: _deleted, ...outcome }) {
  return outcome;
}

function writtenDelete({ sequence, deleted, queuedMs, commitMs }) {
  return { sequence, deleted, queuedMs, commitMs };
}

function statementOutcome(result) {
  const { changes, lastInsertRowid, columns } = result;
  return columns.length > 0
    ? { changes, lastInsertRowid, rows: rowsAsObjects(result) }
    : { changes, lastInsertRowid };
}

function closedError() {
  return new CandleStoreError(
    'CLOSED',
    'the store is closed: open it again with openStore() before using it',
    {
      written: 'no',
    },
  );
}

function closedInside() {
  return new CandleStoreError(
    'SELF_DEADLOCK',
    'close() inside db.transaction() would wait for its own transaction',
  );
}

/** Opens a store. See index.d.ts. */
function openStore(location, options = {}) {
  return new CandleStore(location, options);
}

module.exports = { CandleStore, insideOf, isStore, openStore };
