/**
 * candlestore keeps market candles in SQLite behind one serialized write queue per process.
 *
 * Times are milliseconds since 1970 (UTC), the open time of a candle. Durations are milliseconds and say so in their
 * names. `get*`, `upsert*` and `deleteCandles` are synchronous; `read*`, `query`, `enqueue*`, `flush`, `ready` and
 * `close` return promises, and what is wrong with their arguments rejects.
 */

import { EventEmitter } from 'node:events';

/**
 * Opens a store.
 *
 * The file is opened and checked at once; missing tables are made, and nothing is written where nothing is missing.
 * Neither a thread nor the writing connection is started before the first write. Stores on the same file in one
 * process, worker threads included, share one writer, queue and readers.
 *
 * @param location path of a database file, a `file:` URL, or `':memory:'` for a database of its own in memory
 * @throws CandleStoreError `NOT_FOUND` (no such file or folder), `NOT_A_DATABASE` (another kind of file, a
 *   directory), `PERMISSION`, `NETWORK_FILE_SYSTEM`, `INVALID_OPTION`, `OPTIONS_CONFLICT`, `SQLITE_TOO_OLD`, `CORRUPT`,
 *   `TIMEOUT` (another process kept the file locked)
 */
export function openStore(location: string | URL, options?: StoreOptions): CandleStore;

/** Options of `openStore`; an unknown one is `INVALID_OPTION`, and so is a value out of its bounds. */
export interface StoreOptions {
  /** Opens the file for reading only; writes throw `READ_ONLY`. Default false. */
  readOnly?: boolean;
  /** Refuses to create the file. Default false. */
  fileMustExist?: boolean;
  /** Minutes of the candles kept, each in a table `candles_<minutes>`; 1 to 64 of 1 to 527,040. Default [15, 60, 240, 1440]. */
  timeframes?: number[];
  /**
   * `'normal'`: a commit survives the death of the process at once, and power loss once it has been checkpointed.
   * `'full'`: each commit is flushed to the disk and survives power loss. Default 'normal'.
   */
  synchronous?: 'normal' | 'full';
  /** How long a synchronous write waits for the write lock before `TIMEOUT`; 0 to 3,600,000. Default 5,000. */
  busyTimeoutMs?: number;
  /** Memory for pages of the database, for all connections together; 256 to 204,800. Default 32,768. */
  cacheSizeKiB?: number;
  /** Where SQLite sorts and keeps temporary tables. Default 'memory'. */
  tempStore?: 'memory' | 'file';
  /** Rows that may wait in the queue; 1 to 10,000,000. Default 200,000. */
  queueCapacityRows?: number;
  /** Bytes that may wait in the queue; 65,536 to 1,073,741,824. Default 67,108,864. */
  queueCapacityBytes?: number;
  /** A full queue rejects with `QUEUE_FULL`, or lets the caller wait for room. Default 'reject'. */
  whenFull?: 'reject' | 'wait';
  /** Largest batch that is written as one; 1 to 100,000. Default 5,000. */
  maxBatchRows?: number;
  /** Time after which a group takes no further writes and is committed; 1 to 1,000. Default 20. */
  groupBudgetMs?: number;
  /** Threads that read in the background; 1 to 64. Default 4. */
  maxReaders?: number;
  /**
   * After so long without use a reading connection and its thread are closed, but for one connection that synchronous
   * reads have used; 100 to 86,400,000. Default 60,000.
   */
  readerIdleMs?: number;
  /**
   * A read in the background that lasts longer is interrupted with `TIMEOUT`, and a transaction that stays open on
   * `dbReadOnly` for longer is rolled back: an old read keeps the write-ahead log from starting over, so that it grows
   * with every write of every process. 100 to 86,400,000. Default 30,000.
   */
  readTimeoutMs?: number;
  /**
   * Memory for what was read: half of it keeps the newest candles of the series in use, for all stores on the file, the
   * other half this store's ready JSON answers. Nothing in it is ever older than the newest commit, whoever made it. 0 keeps
   * nothing. 0 to 209,715,200. Default 33,554,432.
   */
  tailCacheBytes?: number;
  /** Counting that takes longer is done in the background; 0 to 10,000. Default 20. See `getStats`. */
  statsBudgetMs?: number;
  /**
   * Pauses between attempts at a group of queued writes that lost its lock half-way, that the disk refused, or that got no
   * lock for 10 s. A live or a synchronous write ends a pause.
   */
  retry?: {
    /** First pause; 1 to 60,000. Default 50. */
    baseMs?: number;
    /** Factor from one pause to the next; 1 to 10. Default 2. */
    factor?: number;
    /** Longest pause; 1 to 600,000. Default 2,000. */
    capMs?: number;
    /** Random part added to each pause; 0 to 60,000. Default 50. */
    jitterMs?: number;
  };
  /**
   * When to stop trying to write to a disk that refuses: a full disk opens the circuit breaker at once. While it is open,
   * queued writes stay in the queue, new ones are refused with `BREAKER_OPEN`, and reads go on. Waiting for locks never
   * opens it.
   */
  breaker?: {
    /** I/O errors in a row that open it; 1 to 1,000. Default 3. */
    threshold?: number;
    /**
     * Time until a write is let through as a trial; 100 to 86,400,000. Default 60,000. Besides, the disk is asked every two
     * seconds whether it takes a small write, and if so the trial is at once.
     */
    recoveryMs?: number;
  };
  /** How long `close` without a deadline, `db.close()` and the end of the process wait for queued writes; 0 to 3,600,000. Default 1,200. */
  closeDeadlineMs?: number;
  /** Opens a file on a network or shared file system, where SQLite's locks may not hold. Default false. */
  allowNetworkFileSystem?: boolean;
}

/** A footprint: price level, as text, to what was traded there. */
export type Footprint = Record<
  string,
  {
    /** Bought volume. */
    bid: number;
    /** Sold volume. */
    ask: number;
    delta?: number;
    imbalance?: unknown;
  }
>;

/** A candle to store. Numbers must be finite; -0 is stored as 0. High below low is stored as given. */
export interface CandleInput {
  /** Open time: whole milliseconds (UTC) from the year 2000 to 2099. */
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  /** Volume of takers that bought; absent, null and NaN store 0, as for the three that follow. */
  buyVolume?: number | null;
  /** Volume of takers that sold. */
  sellVolume?: number | null;
  /** Bought less sold volume. */
  delta?: number | null;
  /** Number of trades. */
  tradeCount?: number | null;
  /** Footprint, stored as the text of `JSON.stringify`; a falsy one stores none. */
  clusters?: Footprint | object | null;
}

/** A stored candle. Rows of other programs may hold null, text or Infinity and read as SQLite gives them. */
export interface Candle {
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  buyVolume: number;
  sellVolume: number;
  delta: number;
  tradeCount: number;
  /** The footprint that was stored; `{}` for none, or where another program stored something else than a JSON object. */
  clusters: Footprint;
}

/** Name of a table, or its minutes. */
export type Table = string | number;

/** A range of open times, both ends exclusive; a falsy end means no bound. */
export interface TimeRange {
  after?: number | null;
  before?: number | null;
}

/** Options of `getCandles`. */
export interface GetCandlesOptions extends TimeRange {
  /** At most so many, the newest ones; a whole number from 0 on, above 1,000,000 it is 1,000,000. Default 100. */
  limit?: number;
  /** Inside the caller's own transaction: false sees its writes, true does not. Default false. */
  readOnly?: boolean;
}

/** Options of `getCandlesColumns`. */
export interface GetColumnsOptions extends GetCandlesOptions {
  /** Whether footprints are read, too. Default false. */
  clusters?: boolean;
}

/**
 * Candles by column, as charting and indicator libraries take them: one array for each, all of the same length, oldest
 * first. They are the caller's own. A cell of another program that is no number is NaN.
 */
export interface CandleColumns {
  /** Open times in milliseconds (UTC). */
  time: Float64Array;
  open: Float64Array;
  high: Float64Array;
  low: Float64Array;
  close: Float64Array;
  volume: Float64Array;
  buyVolume: Float64Array;
  sellVolume: Float64Array;
  delta: Float64Array;
  tradeCount: Float64Array;
  /** Only when asked for. */
  clusters?: Footprint[];
}

/** What is known of an array of candles when what comes after it is to be told. */
export interface JsonPage {
  table: string;
  symbol: string;
  /** Time of the first candle; null when there is none. */
  oldestTime: number | null;
  /** There are older candles inside the range. */
  hasMore: boolean;
}

/** What stands around an array of candles in JSON. */
export interface JsonEnvelope {
  /** Before the array. Default ''. */
  prefix?: string;
  /**
   * After it, or a function that tells it. A function is called when the array is made, not when an answer is given again:
   * it must tell the same for the same page, and be the same function object to be given an answer again.
   */
  suffix?: string | ((page: JsonPage) => string);
}

/** Options of `getCandlesJson`. */
export interface GetJsonOptions extends GetCandlesOptions, JsonEnvelope {}

/** A series, and what one of several wants otherwise than the rest. */
export interface SeriesRequest extends TimeRange {
  table: Table;
  symbol: string;
  limit?: number;
}

/** What all requests of `readCandles` can say. */
export interface ReadCandlesOptions extends TimeRange, ReadOptions {
  /** As for `getCandles`. Default 100. */
  limit?: number;
}

/** A request of `readCandles` for rows of one series. */
export interface ReadCandlesRequest extends ReadCandlesOptions {
  table: Table;
  symbol: string;
  format?: 'rows';
}

/** What ends a read in the background before it is done. */
export interface ReadOptions {
  /** Rejects with `ABORTED` at once; the read is interrupted, or not begun. */
  signal?: AbortSignal;
  /**
   * Rejects with `TIMEOUT` after so long, waiting for a reader included; the read is interrupted, or not begun. From 0
   * on; without it, and where it is longer, `readTimeoutMs` bounds the read from its begin.
   */
  timeoutMs?: number;
}

/** Options of `query`. */
export interface QueryOptions extends ReadOptions {
  /** At most so many rows, the first ones; what follows is not looked for. A whole number from 0 on. Default: all. */
  maxRows?: number;
}

/** Which series are listed. */
export interface ListOptions {
  /** Those of one table; an unknown one is `UNKNOWN_TABLE`. Default: of every timeframe. */
  table?: Table | null;
}

/** Options of `getLatest`. */
export interface GetLatestOptions extends ListOptions {
  /** Inside the caller's own transaction: false sees its writes, true does not. Default false. */
  readOnly?: boolean;
}

/** Options of `readLatest`. */
export interface ReadLatestOptions extends ListOptions, ReadOptions {}

/** Options of `getSeries`. */
export interface GetSeriesOptions extends GetLatestOptions {
  /** false leaves `count` out and makes the call cheap at any time. Default true. */
  counts?: boolean;
}

/** Options of `readSeries`. */
export interface ReadSeriesOptions extends ListOptions, ReadOptions {
  /** As for `getSeries`. Default true. */
  counts?: boolean;
}

/** The newest candle of one series. */
export interface LatestCandle {
  /** Such as `candles_15`. */
  table: string;
  symbol: string;
  candle: Candle;
}

/** One series. */
export interface Series {
  /** Such as `candles_15`. */
  table: string;
  symbol: string;
  /** Times of the oldest and of the newest candle; whatever another program stored where they are no numbers. */
  first: number;
  last: number;
  /** How many candles there are; absent with `counts: false`. */
  count?: number;
}

/** Options of a queued write. */
export interface WriteOptions {
  /** Live writes go before backfill, backfill before maintenance; what has waited a second goes before newer live writes. Default 'live'. */
  priority?: 'live' | 'backfill' | 'maintenance';
  /** Withdraws the write if it has not begun: it rejects with `ABORTED` and is not written. */
  signal?: AbortSignal;
  /** Withdraws the write if it has not begun after so long: it rejects with `TIMEOUT` and is not written. Without it a write waits as long as it takes. */
  timeoutMs?: number;
}

/** Options of `enqueueCandles`. */
export interface EnqueueCandlesOptions extends WriteOptions {
  /** false allows a batch of more than `maxBatchRows`, which is then written in slices, each of them atomic. Default true. */
  atomic?: boolean;
}

/** What a queued write reports once it is committed. */
export interface Committed {
  /** Place in the order of acceptance by this process. */
  sequence: number;
  /** Milliseconds between acceptance and the begin of the group's transaction. */
  queuedMs: number;
  /** Milliseconds the group's transaction took. */
  commitMs: number;
}

/** What a batch of candles did. The four counts add up to the candles given. */
export interface CommittedCandles extends Committed {
  inserted: number;
  /** Stored candles that were replaced by different ones. */
  updated: number;
  /** Stored candles that were equal already. */
  unchanged: number;
  /** Candles left alone because a write accepted later had stored or deleted them before this one's turn came. */
  coalesced: number;
}

/** What a removal did. */
export interface CommittedDelete extends Committed {
  deleted: number;
}

/** What a statement did. */
export interface StatementOutcome {
  changes: number;
  lastInsertRowid: number;
  /** Rows of a statement with RETURNING. */
  rows?: Record<string, SqlValue>[];
}

export type CommittedStatement = Committed & StatementOutcome;

/** What a transaction of several statements did: the sum of changes, the last rowid, and each statement's outcome. */
export interface CommittedTransaction extends Committed {
  changes: number;
  lastInsertRowid: number;
  results: StatementOutcome[];
}

/** A value in a caller's own tables. */
export type SqlValue = number | string | bigint | Uint8Array | null;

/** Parameters of a statement: an array for `?`, an object for `:name`, `@name` and `$name`. */
export type SqlParams = SqlValue[] | Record<string, SqlValue>;

/** What waits in one priority of the queue. */
export interface QueueDepth {
  batches: number;
  rows: number;
  bytes: number;
  /** Age of the oldest write, 0 when there is none. */
  oldestAgeMs: number;
}

/** Queued writes, and their rows: candles, statements, or 1 for a removal. */
export interface Amount {
  commands: number;
  rows: number;
}

/** Durations in milliseconds, all 0 where there was none. The percentiles are at most an eighth too high. */
export interface Durations {
  count: number;
  meanMs: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

/** What the breaker says of itself: whether the store tries to write to a disk that has refused. */
export interface BreakerState {
  state: 'closed' | 'open' | 'half-open';
  /** Failures in a row. */
  failures: number;
  /** Milliseconds until the next trial; null while it is closed. */
  nextTrialMs: number | null;
}

/**
 * What the queue has done since the store was opened by the first of its users in this process. At every moment
 * `accepted = committed + coalesced + failed + queued + inFlight`, in commands and in rows. Synchronous writes and
 * transactions do not go through the queue and are not counted here.
 */
export interface QueueStats {
  accepted: Amount;
  /** Committed, without the rows that were left out because a newer write had the same candles. */
  committed: Amount;
  /** Those rows, and the writes of which no row was left. Their promises resolve as those of other writes. */
  coalesced: Amount;
  /** Accepted and not committed, whatever the reason: an error, a time-out, a signal, the end of the store. */
  failed: Amount;
  /** A part of `failed`: what was given up before it began. */
  withdrawn: Amount;
  /** What waits now. */
  queued: Amount;
  /** What is being written now. */
  inFlight: Amount;
  /** Calls refused with `QUEUE_FULL` or `BREAKER_OPEN`; they were never accepted. */
  rejected: number;
  /** Groups committed, each by one transaction. */
  groups: number;
  /** How often a group was tried again, after it had begun or after an attempt at the lock was given up. */
  retries: number;
  /** Rows of the writes in a committed group. */
  rowsPerGroup: { mean: number; max: number };
  /** Time of a committed group from holding the file's lock to the end of its COMMIT. */
  commitMs: Durations;
  /** Waits for the file's lock, of groups and of synchronous writes and transactions; `count` is `lockWaitCount`. */
  lockWaitMs: Durations;
  /** Time of committed writes from acceptance to their group's holding the lock. */
  queueWaitMs: { live: Durations; backfill: Durations; maintenance: Durations };
  /** `lockTimeoutCount` of `getStats`. */
  lockTimeouts: number;
  breaker: BreakerState;
}

/** What waits in the queue, by priority, at the moment it was asked for. */
export interface Queue {
  readonly live: QueueDepth;
  readonly backfill: QueueDepth;
  readonly maintenance: QueueDepth;
  /** What the queue has done so far. */
  stats(): QueueStats;
}

/**
 * Numbers of the store: the count of each table under its name, and what the queue and the locks have done; see
 * `QueueStats` for the meaning of what is told there, too.
 */
export interface Stats {
  /** Candles in a table, such as `candles_15`. */
  [table: `candles_${number}`]: number;
  /** When the counts were known to be right, in milliseconds since 1970. */
  countsAt: number;
  /** Groups and synchronous writes of this process that found the write lock taken and waited. */
  lockWaitCount: number;
  /** Writes given up because of it: synchronous ones, and queued ones whose `timeoutMs` was over. */
  lockTimeoutCount: number;
  /** How long was waited; the percentiles are at most an eighth too high, here and below. */
  lockWaitMeanMs: number;
  lockWaitP50Ms: number;
  lockWaitP99Ms: number;
  lockWaitMaxMs: number;
  /** Groups committed by the queue, and how often one was tried again. */
  groups: number;
  retries: number;
  /** Mean of the rows of the writes in a group. */
  rowsPerGroup: number;
  /** Time of a group from holding the lock to the end of its COMMIT. */
  commitMeanMs: number;
  commitP99Ms: number;
  commitMaxMs: number;
  /** Time of committed writes from acceptance to their group's holding the lock. */
  queueWaitLiveP99Ms: number;
  queueWaitBackfillP99Ms: number;
  queueWaitMaintenanceP99Ms: number;
  /** Queued writes accepted, and their rows: the sum of those committed, coalesced, failed, queued and in flight. */
  accepted: number;
  acceptedRows: number;
  committed: number;
  committedRows: number;
  coalesced: number;
  coalescedRows: number;
  failed: number;
  failedRows: number;
  /** A part of those failed: given up before they began. */
  withdrawn: number;
  withdrawnRows: number;
  /** Calls refused, never accepted. */
  rejected: number;
  /** Writes and rows in the queue now, and those being written. */
  queuedBatches: number;
  queuedRows: number;
  inFlight: number;
  inFlightRows: number;
  /** Whether the store tries to write to a disk that has refused. */
  breaker: 'closed' | 'open' | 'half-open';
}

/** Candles of one series were committed. */
export interface CandlesEvent {
  table: string;
  symbol: string;
  /** Oldest and newest time written. */
  from: number;
  to: number;
  /** Candles written; not those left out because a newer write had them. */
  count: number;
  /**
   * `'local'`: by this process. `'other'`: by another one; then only changes of a series' newest candle are noticed,
   * within 100 ms, and `count` is 1.
   */
  source: 'local' | 'other';
}

/**
 * Waits for the file's lock since the last such event, by groups of the queue and by synchronous writes. A wait that
 * goes on is told of once it lasts a second, and counted in both events when it goes on after one.
 */
export interface LockWaitEvent {
  /** How many waits. */
  count: number;
  /** How long they lasted together, as far as no event has told before. */
  totalMs: number;
  /** The longest of them. */
  longestMs: number;
  /** The process that held the lock, seen while waiting; null where that cannot be known. */
  holderPid: number | null;
}

/** A write that took more than a second from wanting its turn and the lock to its end, however it ended. */
export interface SlowWriteEvent {
  /** A group of the queue, a synchronous write, or a transaction that the caller had open. */
  kind: 'group' | 'write' | 'transaction';
  /** How long it waited for its turn and for the file's lock; a part of `tookMs`. */
  waitedMs: number;
  tookMs: number;
  /** How often it tried to get the lock. */
  attempts: number;
  /** The statement that was run, or that began the transaction (its first 1,000 characters); null for candles. */
  sql: string | null;
}

/** The breaker has changed its state. */
export interface BreakerEvent extends BreakerState {
  /** The failure that opened it or kept it open; null when it closed. */
  error: CandleStoreError | null;
}

/** Events of a store. Listeners keep no process alive, and one that throws harms no other call. */
export interface StoreEvents {
  /** After a commit. May be told twice for one commit, never not at all. */
  candles: [CandlesEvent];
  /** The queue has become empty. */
  drained: [];
  /** The store has stopped writing: see `POISONED`. */
  'store-error': [CandleStoreError];
  /** Somebody else held the lock; at most one each 5 seconds. */
  'lock-wait': [LockWaitEvent];
  'slow-write': [SlowWriteEvent];
  breaker: [BreakerEvent];
}

/** An open store. */
export class CandleStore extends EventEmitter<StoreEvents> {
  private constructor();

  /**
   * Stores one candle; when this returns it is committed and every process can read it. Inside `db.transaction` it
   * belongs to that transaction: it is checked at once and stored with the others.
   * @throws CandleStoreError `INVALID_CANDLE`, `INVALID_ARGUMENT`, `UNKNOWN_TABLE`, `TIMEOUT`, `READ_ONLY`, `CLOSED`,
   *   `DISK_FULL`, `IO_ERROR`, `CONSTRAINT`, `SELF_DEADLOCK`, `POISONED`
   */
  upsertCandle(table: Table, symbol: string, candle: CandleInput): void;

  /** Stores candles in one transaction, all or none. Throws as `upsertCandle`. */
  upsertCandles(table: Table, symbol: string, candles: readonly CandleInput[]): void;

  /** Removes the candles in a range, or all of a series; returns how many. Throws as `upsertCandle`. */
  deleteCandles(table: Table, symbol: string, range?: TimeRange): number;

  /**
   * The newest `limit` candles with `time < before`, ascending. Reads the newest commit and never waits for a writer;
   * inside the caller's own open transaction it sees that transaction's writes, unless `readOnly`.
   * @param limit a whole number from 0 on, above 1,000,000 it is 1,000,000; default 100
   * @param before exclusive; any falsy value means no bound
   */
  getCandles(
    table: Table,
    symbol: string,
    limit?: number,
    before?: number | null,
    readOnly?: boolean,
  ): Candle[];
  getCandles(table: Table, symbol: string, options: GetCandlesOptions): Candle[];

  /**
   * The same candles by column. Takes the arguments of `getCandles`, and `clusters`.
   */
  getCandlesColumns(
    table: Table,
    symbol: string,
    limit?: number,
    before?: number | null,
    readOnly?: boolean,
  ): CandleColumns;
  getCandlesColumns(table: Table, symbol: string, options: GetColumnsOptions): CandleColumns;

  /**
   * The bytes of `JSON.stringify(getCandles(...))`, made without the objects; with `prefix` and `suffix` a whole answer.
   * The store never writes to them again. As long as the bytes are the same, the same Buffer may be given again for the same
   * range, limit and envelope, if it is not too large to be kept (an eighth of `tailCacheBytes`): callers must not write to
   * it, and may keep by it what they make of it, such as its gzip form in a WeakMap.
   * @throws CandleStoreError as `getCandles`; `INVALID_ARGUMENT` for a suffix that is no string
   */
  getCandlesJson(
    table: Table,
    symbol: string,
    limit?: number,
    before?: number | null,
    readOnly?: boolean,
  ): Buffer;
  getCandlesJson(table: Table, symbol: string, options: GetJsonOptions): Buffer;

  /** Candles of several series, in their order; each may have a range and limit of its own. */
  getCandlesOf(series: readonly SeriesRequest[], options?: GetCandlesOptions): Candle[][];

  /** Time of the newest candle of a series, or null. */
  getLastCandleTime(table: Table, symbol: string): number | null;

  /**
   * The newest candle of every series, from the shortest timeframe to the longest and by symbol. It takes a few seeks in
   * an index for each series, and no scan. Reads as `getCandles` does. Rows whose symbol another program made something
   * else than text belong to no series.
   * @throws CandleStoreError `INVALID_ARGUMENT`, `UNKNOWN_TABLE`, `CLOSED`, `TIMEOUT` (in memory, while a write goes on)
   */
  getLatest(options?: GetLatestOptions): LatestCandle[];

  /**
   * Every series with its first and last time and how many candles it has, in the order of `getLatest`. The times take a
   * few seeks in an index. The counts are exact, and remembered until anybody commits anything to the file; the next
   * call then counts over the index, at about 40 ns a candle. Inside the caller's own transaction, and in memory, every
   * call counts. With `counts: false` nothing is counted.
   * @throws CandleStoreError as `getLatest`
   */
  getSeries(options?: GetSeriesOptions): Series[];

  /**
   * Numbers of the store. Counts are exact for this process's own commits. After commits of others they are counted
   * again at once if that took less than `statsBudgetMs` last time, else in the background, at most once a second.
   * Counting that takes more than 1 ms is given at most a fifth of the time, so that polling stays cheap while others
   * commit; `countsAt` tells how old the counts are.
   * @param options `exact: true` counts now, however long it takes
   */
  getStats(options?: { exact?: boolean }): Stats;

  /** What waits in the queue, by priority; `queue.stats()` tells what it has done. */
  readonly queue: Queue;

  /**
   * Hands a batch to the write queue; settles after the commit. The input is copied before this returns. A batch is
   * written as one, or with `{ atomic: false }` in slices of `maxBatchRows`.
   * Rejects with `BATCH_TOO_LARGE`, `QUEUE_FULL`, `TIMEOUT`, `ABORTED` and what `upsertCandle` throws.
   */
  enqueueCandles(
    table: Table,
    symbol: string,
    candles: readonly CandleInput[],
    options?: EnqueueCandlesOptions,
  ): Promise<CommittedCandles>;

  /** Removes the candles in a range by the queue. */
  enqueueDelete(
    table: Table,
    symbol: string,
    range?: TimeRange,
    options?: WriteOptions,
  ): Promise<CommittedDelete>;

  /**
   * Runs one statement on the caller's own tables by the queue. Transaction control, PRAGMA, ATTACH, DETACH, VACUUM
   * and several statements in one text are `INVALID_SQL`.
   */
  enqueueWrite(sql: string, params?: SqlParams | null, options?: WriteOptions): Promise<CommittedStatement>;

  /** Runs several statements by the queue, all or none. */
  enqueueTransaction(
    statements: readonly (string | { sql: string; params?: SqlParams | null })[],
    options?: WriteOptions,
  ): Promise<CommittedTransaction>;

  /** Resolves when everything accepted before is settled. */
  flush(): Promise<void>;

  /**
   * Reads candles of one series off the event loop, or of several (`series`), whose results come in their order.
   * @param request `format`: 'rows' (default) as `getCandles`, 'columns' as `getCandlesColumns`, 'json' as `getCandlesJson`
   */
  readCandles(request: ReadCandlesRequest): Promise<Candle[]>;
  readCandles(
    request: ReadCandlesOptions & {
      table: Table;
      symbol: string;
      format: 'columns';
      clusters?: boolean;
    },
  ): Promise<CandleColumns>;
  readCandles(
    request: ReadCandlesOptions & JsonEnvelope & { table: Table; symbol: string; format: 'json' },
  ): Promise<Buffer>;
  readCandles(
    request: ReadCandlesOptions & { series: readonly SeriesRequest[]; format?: 'rows' },
  ): Promise<Candle[][]>;
  readCandles(
    request: ReadCandlesOptions & {
      series: readonly SeriesRequest[];
      format: 'columns';
      clusters?: boolean;
    },
  ): Promise<CandleColumns[]>;
  readCandles(
    request: ReadCandlesOptions & JsonEnvelope & { series: readonly SeriesRequest[]; format: 'json' },
  ): Promise<Buffer[]>;

  /**
   * Runs one statement that only reads, on the caller's tables or those of the candles, off the event loop; resolves with
   * all rows as objects, values as `db.prepare(sql).all()` gives them, of several columns of one name the last. It reads
   * the newest commit, also inside the caller's own transaction; in memory, where there is only one connection, it waits
   * for that transaction to end, and writes wait for the query.
   *
   * Everything else is `INVALID_SQL`: what could write, transaction control, PRAGMA, ATTACH, DETACH, VACUUM, several
   * statements in one text, and none.
   * Rejects also with `INVALID_ARGUMENT` (parameters that do not fit), `SQL_ERROR`, `READ_ONLY` (a function that writes),
   * `ABORTED`, `TIMEOUT`, `CLOSED`.
   * @param params as for `enqueueWrite`
   */
  query<Row = Record<string, SqlValue>>(
    sql: string,
    params?: SqlParams | null,
    options?: QueryOptions,
  ): Promise<Row[]>;

  /** As `getLatest`, off the event loop and of the newest commit. Rejects also with `ABORTED` and `TIMEOUT`. */
  readLatest(options?: ReadLatestOptions): Promise<LatestCandle[]>;

  /** As `getSeries`, off the event loop and of the newest commit. Rejects also with `ABORTED` and `TIMEOUT`. */
  readSeries(options?: ReadSeriesOptions): Promise<Series[]>;

  /** Resolves when the store can be used: a file always can. */
  ready(): Promise<void>;

  /**
   * Closes the store: no new work, what was accepted is written or read until the deadline and fails with `CLOSED` after
   * it.
   * Idempotent. Rejects with `SELF_DEADLOCK` inside `db.transaction`.
   */
  close(options?: { deadlineMs?: number }): Promise<void>;

  [Symbol.asyncDispose](): Promise<void>;

  /**
   * A `Database` on the writing session of the store, which other stores on the file in this process share: what only reads
   * runs on a reading connection that never waits for a writer, unless a transaction is open, or temporary objects, attached
   * databases or pragmas make it matter which connection reads. `close()` closes the whole store and waits for it, at most
   * `closeDeadlineMs`; inside `transaction` it throws.
   */
  readonly db: Database;

  /**
   * A `Database` that only reads, on one connection of its own. A transaction that is left open on it for longer than
   * `readTimeoutMs` is rolled back; what is sent in it then throws `SQLITE_ABORT_ROLLBACK`, until ROLLBACK, COMMIT (which
   * throws, too) or another BEGIN is sent. `close()` closes this handle only.
   */
  readonly dbReadOnly: Database;
}

/** Options of `new Database()`. */
export interface DatabaseOptions {
  /** Opens the file, which must be there, for reading only. Default false. */
  readonly?: boolean;
  /** Throws instead of making a file that is not there. Default false. */
  fileMustExist?: boolean;
  /** How long a statement waits for a lock, in milliseconds, an integer from 0 to 2147483647. Default 5000. */
  timeout?: number;
  /** Called with the text of each statement before it runs, values in the places of its parameters. */
  verbose?: ((sql: string) => void) | null;
}

/**
 * A connection to a SQLite database that behaves as the public documentation of better-sqlite3 13 says, but for the
 * differences in README. `store.db` and `store.dbReadOnly` are such handles on the connections of a store; one that is made
 * with `new` has a connection of its own, and the file stays as it is: no tables are made in it, and its journal mode is kept.
 *
 * Errors: `SqliteError` for what SQLite or the store refuses, `TypeError` for arguments of a wrong type and for calls in a wrong
 * state ("The database connection is not open", "This database connection is busy executing a query"), `RangeError` for
 * texts that do not hold exactly one statement and for parameters that are too few, too many or too big.
 */
export class Database {
  /**
   * @param filename a path (default '': a temporary database that goes with its connection), `':memory:'`, or the bytes of a
   * database file, as `serialize()` gives them, for a database in memory
   */
  constructor(filename?: string | Buffer, options?: DatabaseOptions);
  /** The error of this class. */
  static readonly SqliteError: typeof SqliteError;

  readonly open: boolean;
  /** Whether a transaction of this handle is open. */
  readonly inTransaction: boolean;
  /** What it was opened with. */
  readonly name: string;
  readonly readonly: boolean;
  /** Whether it is in memory or temporary. */
  readonly memory: boolean;

  /** Prepares one statement. */
  prepare<Row = Record<string, SqlValue>>(sql: string): Statement<Row>;

  /**
   * Runs the statements of a text one after the other, up to the first that fails. BEGIN holds the write lock until COMMIT or
   * ROLLBACK, across turns of the event loop.
   */
  exec(sql: string): this;

  /** Runs `PRAGMA source`; the rows, or with `simple` the first value. */
  pragma(source: string, options?: { simple?: boolean }): unknown;

  /** The rows of `EXPLAIN source`, with NULL for each parameter. */
  explain(source: string): Record<string, SqlValue>[];

  /**
   * Wraps a function so that each call is one transaction; a call inside another is a savepoint. A throw rolls back; a
   * function that returns a promise is refused. Every variant takes the write lock when it begins; `default` and `deferred`
   * of `store.db` take it with the first statement that needs it.
   */
  transaction<This, Args extends unknown[], Result>(
    run: (this: This, ...args: Args) => Result,
  ): Transaction<This, Args, Result>;

  /**
   * Copies the database into a file while it is in use; what is in the file is replaced. `progress` is called before and
   * between the steps, and may return how many pages the next ones copy (100 unless told, 0 pauses). On `store.db` the copy is
   * the state of the moment at which it began, and is made on another thread; else writes of this handle meanwhile are copied,
   * too, and it begins anew after those of others.
   * @param options.attached the name of an attached database, instead of 'main'
   */
  backup(
    filename: string,
    options?: {
      attached?: string;
      progress?: ((progress: BackupProgress) => number | void) | null;
    },
  ): Promise<BackupProgress>;

  /** The bytes of a database file with what this handle sees. */
  serialize(options?: { attached?: string }): Buffer;

  /** INTEGER comes as a bigint from statements prepared from here on. */
  defaultSafeIntegers(on?: boolean): this;

  /** Allows writes while an iterator is open, and what may damage the file, such as `PRAGMA writable_schema`. */
  unsafeMode(on?: boolean): this;

  /** Closes the connection; throws while an iterator is open. An open transaction is rolled back. */
  close(): this;

  /** `close()`. */
  [Symbol.dispose](): void;
}

/** How far a copy is, in pages. */
export interface BackupProgress {
  totalPages: number;
  remainingPages: number;
}

/** A function that runs in a transaction, and its variants. */
export interface Transaction<This, Args extends unknown[], Result> {
  (this: This, ...args: Args): Result;
  readonly default: Transaction<This, Args, Result>;
  readonly deferred: Transaction<This, Args, Result>;
  readonly immediate: Transaction<This, Args, Result>;
  readonly exclusive: Transaction<This, Args, Result>;
  readonly database: Database;
}

/**
 * Parameters of a statement: values for `?` one by one or in arrays, and one object for named ones (`:a`, `@a`, `$a`, `?1`)
 * anywhere among them. Numbers are bound as REAL, bigints as INTEGER, typed arrays as BLOB, undefined as NULL.
 */
export type StatementParameters = readonly unknown[];

/** A prepared statement. */
export interface Statement<Row = Record<string, SqlValue>> {
  readonly database: Database;
  readonly source: string;
  /** It gives rows. */
  readonly reader: boolean;
  /** It makes no direct change to the database; true also for BEGIN and COMMIT. */
  readonly readonly: boolean;
  /** An iterator of it is open. */
  readonly busy: boolean;
  /** Runs it; `changes` are the rows that it has inserted, updated or deleted itself. */
  run(...parameters: StatementParameters): RunResult;
  /** The first row, if there is one. */
  get(...parameters: StatementParameters): Row | undefined;
  all(...parameters: StatementParameters): Row[];
  /**
   * The rows one by one. While the iterator is open, from this call until its last row or `return()`, nothing may be written on
   * the handle, unless in unsafe mode; it keeps the state that it reads, and so the write-ahead log, but holds up no writer.
   */
  iterate(...parameters: StatementParameters): IterableIterator<Row>;
  /** Gives the first column only. Ends `raw` and `expand`, and they it. */
  pluck(on?: boolean): this;
  /** Gives rows as objects of the tables that the columns come from, `$` for what comes from none. */
  expand(on?: boolean): this;
  /** Gives rows as arrays. */
  raw(on?: boolean): this;
  /** Where the columns come from; null for what is no column of a table. */
  columns(): ColumnDefinition[];
  /** Binds parameters for good. */
  bind(...parameters: StatementParameters): this;
  /** INTEGER comes as a bigint. */
  safeIntegers(on?: boolean): this;
  /** The text, with values in it if `bind` has given them. */
  toString(): string;
}

export interface RunResult {
  changes: number;
  /** A bigint with `safeIntegers`. */
  lastInsertRowid: number | bigint;
}

export interface ColumnDefinition {
  name: string;
  column: string | null;
  table: string | null;
  database: string | null;
  /** As it was declared. */
  type: string | null;
}

/** What SQLite, or the store in its place, refuses on a `Database` and its statements. */
export class SqliteError extends Error {
  constructor(message: string, code: string, options?: ErrorOptions);
  readonly name: 'SqliteError';
  /**
   * SQLite's name of the extended result code, such as `SQLITE_CONSTRAINT_UNIQUE` (https://www.sqlite.org/rescode.html). A lock
   * that was waited for in vain is `SQLITE_BUSY`.
   */
  code: string;
  /** What the store knows: its own code, how long was waited, who holds the lock, whether it is written. */
  readonly cause?: CandleStoreError;
}

/**
 * Makes a supervisor for the jobs of a collector that write into one store: none overlaps itself, each paces itself by
 * what its writes had to wait, and one that fails is taken out, tried again and brought back. Nothing runs before
 * `start()`.
 *
 * @throws CandleStoreError `INVALID_OPTION`, `INVALID_ARGUMENT`
 */
export function createCollectorSupervisor(
  store: CandleStore,
  options?: SupervisorOptions,
): CollectorSupervisor;

/** Options of `createCollectorSupervisor`; an unknown one is `INVALID_OPTION`, and so is a value out of its bounds. */
export interface SupervisorOptions {
  /** Runs that fail in a row until their job is disabled; 1 to 1,000. Default 5. */
  failureThreshold?: number;
  /**
   * The same for runs that fail because of the database (see `JobFailureCause`), which come faster: such a job is run
   * again as soon as the database works. 1 to 1,000. Default 3.
   */
  databaseFailureThreshold?: number;
  /**
   * How long a disabled job is left alone before one run of it is tried, twice as long after each trial that fails; 10 to
   * 86,400,000. Default 60,000.
   */
  cooldownMs?: number;
  /** The longest such time; from `cooldownMs` to 86,400,000. Default 600,000, or `cooldownMs` where that is longer. */
  maxCooldownMs?: number;
  /**
   * How often the database is probed, by a live write that changes nothing, while jobs fail because of it; behind a lock
   * one such write waits for up to 10 s and is answered when the lock is free. As soon as it is committed they run,
   * whatever is left of their cool-down, but not before 0.5 s after their last failure, then 1, 2 and 3 s. One that goes
   * on failing though the database works is left to its cool-down after three such runs. 10 to 2,000. Default 1,000.
   */
  probeIntervalMs?: number;
  /**
   * A write counts as one that had to wait when the file's lock, whoever had it, kept it for longer; 1 to 60,000. Default
   * 50.
   */
  lockWaitThresholdMs?: number;
  /**
   * Of all supervisors with the same name here, in all processes that have the file open by candlestore, one runs its
   * jobs: the first that took the name, until it is stopped or its process ends. The others stand by, and one of them
   * goes on then. 1 to 64 characters, as for `exclusive`. Default: none, all run.
   */
  leader?: string | null;
}

/** Options of a job; an unknown one is `INVALID_OPTION`, and so is a value out of its bounds. */
export interface JobOptions {
  /** Time from the begin of one run to the begin of the next; 10 to 86,400,000. */
  everyMs: number;
  /**
   * The bounds within which that time adapts after each run: half as long again when more than 10 % of the run's writes
   * had to wait for the file's lock, a tenth shorter when more than 95 % were committed without; a run without writes
   * changes nothing. `minEveryMs` is from 10 to `everyMs`, by default `everyMs`; `maxEveryMs` from `everyMs` to
   * 604,800,000, by default five times `everyMs`, but no more than an hour or `everyMs`, whichever is longer.
   */
  minEveryMs?: number;
  maxEveryMs?: number;
  /** Priority of its writes, unless they say otherwise; at `start()` live jobs also begin first. Default 'live'. */
  priority?: 'live' | 'backfill' | 'maintenance';
  /**
   * Of all jobs with the same name here, in all processes that have the file open by candlestore, one runs at a time. 1
   * to 64 characters: letters, digits, `.`, `_`, `:` and `-`. Default: none.
   */
  exclusive?: string | null;
  /**
   * A run that lasts longer, as far as the thread could look, has failed: its `signal` is aborted, and its writes are
   * refused from then on. 10 to 604,800,000, or null for no limit. Default: ten times `everyMs`, at least 60,000 and at
   * most 604,800,000.
   */
  timeLimitMs?: number | null;
}

/** What a run of a job is given. */
export interface JobRun {
  /** The name of its job. */
  readonly job: string;
  /**
   * Aborted when the run has reached its time limit, with a `TimeoutError` as its reason as `AbortSignal.timeout()` has,
   * or when the supervisor stops, with an `AbortError`.
   */
  readonly signal: AbortSignal;
  /**
   * The store, for this run: what it writes has the job's priority, is withdrawn at its limit, and counts for the job; so
   * do the synchronous `upsertCandle`, `upsertCandles` and `deleteCandles` outside of transactions, but not what is
   * written by `db`, which is the supervisor's own, as `dbReadOnly` is. Once the run has ended, its writes are refused
   * with `ABORTED`, and the job has failed.
   *
   * The writes of a job that wait may take an equal share of the queue: its capacity divided by one more than the jobs of
   * all started supervisors on the file in this process. More is refused with `QUEUE_FULL`, or waits with `whenFull:
   * 'wait'`, so that a job that floods leaves room for the others; a write larger than the share is taken when none other
   * of the job waits. `close()` is refused.
   */
  readonly store: CandleStore;
}

/** A job of a supervisor. */
export interface SupervisedJob {
  readonly name: string;
  /**
   * Runs it as soon as may be, without waiting for its time: now, or right after the run that goes on. Does nothing for a
   * job that is disabled or blocked, or whose supervisor is not started.
   */
  trigger(): void;
  /**
   * Takes it out of the supervisor: no run begins any more, and one that goes on is stopped at once and waited for. Its name is free
   * then. Not to be waited for inside of its own run.
   */
  remove(): Promise<void>;
}

/** How a run ended. */
export interface JobOutcome {
  /** When it began, in milliseconds since 1970. */
  startedAt: number;
  tookMs: number;
  /** null for a run that succeeded. */
  error: unknown;
  /** What the error says. */
  message: string | null;
}

/**
 * What a job is doing: `stopped` (the supervisor is not started, or stands by, and no run goes on), `waiting` for its
 * time, `blocked` by another job with its `exclusive` name, `running`, `hung` (its run has reached its limit and does not
 * end), `disabled`.
 */
export type JobState = 'stopped' | 'waiting' | 'blocked' | 'running' | 'hung' | 'disabled';

/** What a supervisor knows of a job. Times are milliseconds since 1970. */
export interface JobStatus {
  state: JobState;
  priority: 'live' | 'backfill' | 'maintenance';
  exclusive: string | null;
  /** The last run that has ended, and since when one goes on. */
  lastRun: JobOutcome | null;
  runningSince: number | null;
  /** Since when it waits for its exclusive name, and who has that, as in `JobSkippedEvent`. */
  blockedSince: number | null;
  blockedBy: string | number | null;
  /** When it is to run next, if it may then; null while that is not known: stopped, blocked or hung. */
  nextRunAt: number | null;
  /** The time from run to run now, the bounds within which it adapts, and in words why it is what it is. */
  everyMs: number;
  minEveryMs: number;
  maxEveryMs: number;
  why: string;
  /**
   * Runs that ended well; those that failed, among them those that could not begin because its exclusive name cannot be
   * had, and writes after a run's end; and times at which it could not run. A run that `stop()` ended is in none.
   */
  succeeded: number;
  failed: number;
  skipped: number;
  /** Runs that have failed since one ended well. */
  failuresInRow: number;
  /** What made the last of them fail, and its error; null while there are none. */
  cause: JobFailureCause | null;
  error: unknown;
  message: string | null;
  /** When a disabled job is tried at the latest. */
  disabledUntil: number | null;
  /** Rows committed for it: candles, statements, or 1 for a removal. */
  rowsWritten: number;
  /**
   * Its writes that are settled, or that the queue refused; those of them that had to wait for the file's lock, whatever
   * became of them; and those that were not written.
   */
  writes: number;
  lockWaits: number;
  writesFailed: number;
  /** The share of the writes that had to wait, of the last run that wrote; 0 where none has. */
  lockWaitRate: number;
  /**
   * The share of the last hour, or of the time since it was made, in which it worked: it did not from the end of a run
   * that failed to the end of the next that did not, and while it hung.
   */
  availability: number;
}

/** What a supervisor is doing. */
export interface SupervisorStatus {
  /** It is started. */
  running: boolean;
  /** It is started and runs its jobs: it does not stand by (option `leader`). */
  leading: boolean;
  /**
   * While it stands by: the process that leads, if that can be known, or the error for which nobody can tell; else null.
   */
  standby: { heldBy: number | null; error: CandleStoreError | null } | null;
  /**
   * `'failing'`: jobs have failed because of the database, and it took no write when it was last probed (it is probed until
   * it does); or its lock has kept writes waiting for over 5 s; or the store is closed, which stops the supervisor.
   */
  database: 'working' | 'failing';
  jobs: Record<string, JobStatus>;
}

/** One thing that was judged: `warn` where something is wrong that can wait, `fail` where work is left undone. */
export interface HealthCheck {
  status: 'pass' | 'warn' | 'fail';
  /** What is the matter, and what to do; '' for `pass`. */
  message: string;
  advice: string;
}

/** A judgement of all jobs: that of the worst check. */
export interface SupervisorHealth {
  status: 'pass' | 'warn' | 'fail';
  /**
   * `database`: `fail` while `SupervisorStatus.database` is. `leader`: `fail` while it stands by because of an error.
   * `job:<name>`, for each job: `fail` when it hangs, or a live one is disabled; `warn` when another one is, when its last run
   * failed, when it has waited for its exclusive name for a minute and ten of its intervals, or when its writes have to
   * wait and it runs at the longest of its intervals. A supervisor that is not started, or stands by for another one,
   * passes.
   */
  checks: Record<string, HealthCheck>;
}

/**
 * What made a run fail: what the job did itself, the database (locked, full, failing, closed), or that it did not end.
 */
export type JobFailureCause = 'job' | 'database' | 'hung';

/** A time at which a job could not run. */
export interface JobSkippedEvent {
  job: string;
  /**
   * `running` or `hung`: its last run goes on; `exclusive`: another job with its exclusive name runs; `disabled`;
   * `late`: the process could not look at the time.
   */
  reason: 'running' | 'hung' | 'exclusive' | 'disabled' | 'late';
  /** How many times were missed together; 1 but for `late`. */
  times: number;
  /** For how long that has gone on; with `late`, since the first time that was missed. */
  sinceMs: number;
  /**
   * With `exclusive`: the job of this supervisor that has the name, or is before it; or the process that has it; null if
   * unknown.
   */
  heldBy: string | number | null;
}

/** A run has failed. */
export interface JobFailedEvent {
  job: string;
  cause: JobFailureCause;
  error: unknown;
  /** What the error says. */
  message: string;
  failuresInRow: number;
  tookMs: number;
}

/** An alert: a job was disabled, or hangs. Told once, until it has recovered. */
export interface JobDisabledEvent {
  severity: 'critical';
  job: string;
  cause: JobFailureCause;
  error: unknown;
  failuresInRow: number;
  /** When it is tried at the latest, in milliseconds from now; null for one that hangs, and when the store is closed. */
  retryInMs: number | null;
  message: string;
  advice: string;
}

/** A job that was disabled, or hung, has ended a run well. */
export interface JobRecoveredEvent {
  job: string;
  /** How long it had not worked. */
  downMs: number;
}

/** The time from run to run has changed. */
export interface JobIntervalEvent {
  job: string;
  fromMs: number;
  toMs: number;
  lockWaitRate: number;
}

/** Events of a supervisor. What a listener throws is uncaught, as in any callback, but keeps no job from running. */
export interface SupervisorEvents {
  /** It runs its jobs from now on. */
  leading: [Record<string, never>];
  /**
   * Another supervisor leads, in the process `heldBy` if that can be known; or `error` says why nobody can tell. Told
   * when that changes.
   */
  standby: [{ heldBy: number | null; error: CandleStoreError | null }];
  'job-started': [{ job: string }];
  /** A run ended well. */
  'job-succeeded': [{ job: string; tookMs: number; rows: number }];
  'job-failed': [JobFailedEvent];
  'job-skipped': [JobSkippedEvent];
  'job-disabled': [JobDisabledEvent];
  'job-recovered': [JobRecoveredEvent];
  'job-interval': [JobIntervalEvent];
}

/** Runs the jobs of a collector. Started, it keeps the process alive. */
export class CollectorSupervisor extends EventEmitter<SupervisorEvents> {
  private constructor();

  /**
   * Adds a job; `run` is called at its times and may return a promise, and the run ends when that is settled and
   * everything that it wrote is, too. A write that fails and that nobody waits for makes the run fail. Added after
   * `start()`, it begins at once.
   *
   * A run that never lets go of the thread holds up all of them; only a process of its own helps there.
   * @param name 1 to 100 characters
   * @throws CandleStoreError `INVALID_ARGUMENT` (no name, or one that is taken; no function), `INVALID_OPTION`
   */
  job(name: string, options: JobOptions, run: (run: JobRun) => unknown): SupervisedJob;

  /**
   * Begins: each job runs at once, live ones first, and then at its times; those that were disabled wait for their trial.
   * Does nothing when started.
   */
  start(): void;

  /**
   * Ends; to be called before the store is closed. No run begins, those that go on have their signals aborted, and they and
   * what they have written are waited for, at most `deadlineMs` (from 0 on, default 5,000): do not wait for it inside of a
   * run. What still waits then is withdrawn (`ABORTED`). Exclusive names are free again when their runs have ended. It may be
   * started again.
   * @returns the jobs whose runs go on all the same
   */
  stop(options?: { deadlineMs?: number }): Promise<{ unfinished: string[] }>;

  /** What each job is doing. Cheap: nothing is read from the database. */
  status(): SupervisorStatus;

  /** Whether all is well. Cheap. */
  health(): SupervisorHealth;
}

/** What went wrong. */
export type ErrorCode =
  /** An argument has the wrong type or value. */
  | 'INVALID_ARGUMENT'
  /** An option is unknown or out of its bounds. */
  | 'INVALID_OPTION'
  /** A candle cannot be stored; nothing of its batch is. Has `index` and `field`. */
  | 'INVALID_CANDLE'
  /** A statement that the queue, or `query`, does not run. */
  | 'INVALID_SQL'
  /** More candles than `maxBatchRows`. */
  | 'BATCH_TOO_LARGE'
  /** The file is open in this process with other options. */
  | 'OPTIONS_CONFLICT'
  /** The table is not that of a configured timeframe. */
  | 'UNKNOWN_TABLE'
  /** The store is closed. */
  | 'CLOSED'
  /** The queue has no room. Retryable. */
  | 'QUEUE_FULL'
  /** The deadline passed before the work began, or before a read was done; nothing was written. Retryable. */
  | 'TIMEOUT'
  /** The signal withdrew the work before it began, or interrupted a read. */
  | 'ABORTED'
  /** Writing is suspended because the disk refuses; nothing was written. Has `retryInMs`. Retryable. See option `breaker`. */
  | 'BREAKER_OPEN'
  /** A constraint or a trigger of the database refused the row. */
  | 'CONSTRAINT'
  /** SQLite refused the statement. */
  | 'SQL_ERROR'
  /** A write on a store, a handle or a file that is read-only. */
  | 'READ_ONLY'
  /** The disk or its quota is full. Retryable. Queued writes do not get it: they wait until there is room. */
  | 'DISK_FULL'
  /** The operating system failed to read or write. Retryable, unless `written` is 'unknown'. */
  | 'IO_ERROR'
  /** The database is damaged. */
  | 'CORRUPT'
  /** The file is something else. */
  | 'NOT_A_DATABASE'
  /** The file or its folder does not exist. */
  | 'NOT_FOUND'
  /** The process may not open the file or what belongs to it. */
  | 'PERMISSION'
  /** The file is on a network or shared file system. */
  | 'NETWORK_FILE_SYSTEM'
  /** This process has the file open by something else, such as another SQLite library. */
  | 'FOREIGN_LIBRARY'
  /** The call would wait for its own thread. */
  | 'SELF_DEADLOCK'
  /** The SQLite library is too old to be safe. */
  | 'SQLITE_TOO_OLD'
  /** A failure that cannot be judged stopped all writing: close, check the file, open again. */
  | 'POISONED'
  /** The call exists on SQLite only. */
  | 'SQLITE_ONLY'
  /** The connection to the database server broke. Retryable. Reserved. */
  | 'CONNECTION_LOST';

/** The error of every failed call. */
export class CandleStoreError extends Error {
  constructor(code: ErrorCode, message: string, details?: object);
  readonly name: 'CandleStoreError';
  readonly code: ErrorCode;
  /** Whether the same call may succeed later without any change. */
  readonly retryable: boolean;
  /** Of writes: `'no'`, certainly not written; `'unknown'`, a commit or its flush failed and nobody can tell. */
  readonly written?: 'no' | 'unknown';
  /** SQLite's name of the error, such as `SQLITE_BUSY`. */
  readonly sqliteCode?: string;
  readonly table?: string;
  readonly symbol?: string;
  /** Place of the refused candle in its batch. */
  readonly index?: number;
  /** Field of the refused candle. */
  readonly field?: string;
  /** What is wrong with the refused candle, without saying which it is. */
  readonly reason?: string;
  /** How long the call waited, and how often it tried. */
  readonly waitedMs?: number;
  readonly attempts?: number;
  /** The process that holds the write lock, where that can be known. */
  readonly holderPid?: number;
  /** With `BREAKER_OPEN`: when the next write is let through, in milliseconds from now. */
  readonly retryInMs?: number;
}
