'use strict';

// JSON answers of candles: made by the native side where it can, and kept as long as nothing of their series can have
// changed, which the native side tells by a stamp. The bytes of one are never written to again.

const { MOST_LIMIT, shown } = require('./arguments');
const { invalidArgument } = require('./errors');

/** For a suffix that is not known yet; a longer one costs a copy. */
const ROOM = 1024;
/** What an answer that is kept takes besides its bytes. */
const OVERHEAD = 512;
/** No answer may take more than this part of the memory. */
const SHARE = 4;

/** The newest answers, within a limit of bytes. */
class ReadyAnswers {
  #most;
  #bytes = 0;
  /** In the order of their last use. */
  #answers = new Map();

  constructor(mostBytes) {
    this.#most = mostBytes;
  }

  /** The answer to a request, with the same envelope. */
  get(key, prefix, suffix) {
    const answer = this.#answers.get(key);
    if (answer === undefined || answer.prefix !== prefix || answer.suffix !== suffix) return undefined;
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    return answer;
  }

  put(key, prefix, suffix, stamp, bytes) {
    // Of a transaction that is open: what was committed may be the newest again when it ends.
    if (stamp === 0) return;
    this.forget(key);
    const size = bytes.length + OVERHEAD;
    if (size > this.#most / SHARE) return;
    this.#answers.set(key, { prefix, suffix, stamp, bytes });
    this.#bytes += size;
    for (const oldest of this.#answers.keys()) {
      if (this.#bytes <= this.#most) break;
      this.forget(oldest);
    }
  }

  /** Lets go of everything, for good. */
  end() {
    this.#most = 0;
    this.#answers.clear();
    this.#bytes = 0;
  }

  /** Lets go of an answer. */
  forget(key) {
    const answer = this.#answers.get(key);
    if (answer === undefined) return;
    this.#answers.delete(key);
    this.#bytes -= answer.bytes.length + OVERHEAD;
  }
}

/** Places in the facts that come with the bytes. */
const FACTS = { NEEDS_JAVASCRIPT: 0, STAMP: 1, HAS_OLDER: 2, OLDEST: 3, USED: 4 };

/** Room behind the array for what comes after it. */
function roomFor(suffix) {
  return typeof suffix === 'function' ? ROOM : Buffer.byteLength(suffix);
}

/** Whether a footprint has to go through JSON.parse and JSON.stringify, or the oldest time is no number. */
function needsJavaScript({ facts }) {
  return facts[FACTS.NEEDS_JAVASCRIPT] === 1;
}

function stampOf({ facts }) {
  return facts[FACTS.STAMP];
}

/** The whole answer, of what the native side has made. */
function answerOfBytes({ bytes, facts }, series, suffix) {
  const oldest = facts[FACTS.OLDEST];
  const oldestTime = Number.isNaN(oldest) ? null : oldest;
  const end = endOf(suffix, series, oldestTime, facts[FACTS.HAS_OLDER] === 1);
  const used = facts[FACTS.USED];
  const length = Buffer.byteLength(end);
  if (used + length > bytes.length) return Buffer.concat([bytes.subarray(0, used), Buffer.from(end)]);
  bytes.write(end, used);
  return used + length === bytes.length ? bytes : bytes.subarray(0, used + length);
}

/** The whole answer, of candles of which one more was read than is wanted, where that may be asked for. */
function answerOfCandles({ facts }, candles, limit, series, prefix, suffix) {
  const isOneMore = candles.length > limit;
  if (isOneMore) candles.shift();
  const hasMore = isOneMore || (limit === MOST_LIMIT && facts[FACTS.HAS_OLDER] === 1);
  const oldestTime = candles.length > 0 ? candles[0].time : null;
  return Buffer.from(prefix + JSON.stringify(candles) + endOf(suffix, series, oldestTime, hasMore));
}

function endOf(suffix, series, oldestTime, hasMore) {
  if (typeof suffix !== 'function') return suffix;
  const end = suffix({ ...series, oldestTime, hasMore });
  if (typeof end !== 'string') throw invalidArgument(`suffix must return a string, got ${shown(end)}`);
  return end;
}

/** What stands before and after an array: texts, or for the end a function that makes one. */
function checkEnvelope({ prefix = '', suffix = '' }) {
  if (typeof prefix !== 'string') throw invalidArgument(`prefix must be a string, got ${shown(prefix)}`);
  if (typeof suffix !== 'string' && typeof suffix !== 'function') {
    throw invalidArgument(`suffix must be a string or a function, got ${shown(suffix)}`);
  }
  return { prefix, suffix };
}

module.exports = {
  ReadyAnswers,
  answerOfBytes,
  answerOfCandles,
  checkEnvelope,
  needsJavaScript,
  roomFor,
  stampOf,
};
