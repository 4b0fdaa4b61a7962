'use strict';

// From the reports of a run's processes to the figures that are printed.

const { summary } = require('../load/latency.js');

const sum = (values) => values.reduce((total, value) => total + value, 0);
const sorted = (values) => [...values].sort((a, b) => a - b);
const median = (values) => sorted(values)[Math.floor(values.length / 2)];

/** Jain's index: 1 when all have the same share, 1/n when one has everything. */
const fairness = (shares) => sum(shares) ** 2 / (shares.length * sum(shares.map((share) => share ** 2)));

/** The lock waits that getStats() of several processes tells, as one. */
function lockWaits(stats) {
  const told = stats.filter(Boolean);
  if (told.length === 0) return null;
  const count = sum(told.map(({ lockWaitCount }) => lockWaitCount));
  const total = sum(told.map(({ lockWaitCount, lockWaitMeanMs }) => lockWaitCount * lockWaitMeanMs));
  const groups = sum(told.map((one) => one.groups));
  const retries = told.every((one) => Number.isFinite(one.retries))
    ? sum(told.map((one) => one.retries))
    : null;
  return {
    count,
    timeouts: sum(told.map(({ lockTimeoutCount }) => lockTimeoutCount)),
    meanMs: count > 0 ? total / count : 0,
    maxMs: Math.max(...told.map(({ lockWaitMaxMs }) => lockWaitMaxMs)),
    groups,
    retries,
    retriesPerGroup: retries !== null && groups > 0 ? retries / groups : null,
  };
}

function contentionFigures(writers, readers, seconds) {
  const shares = writers.map(({ rowsInTime }) => rowsInTime);
  const of = (field) => sum(writers.map((writer) => writer[field]));
  return {
    rowsPerSecond: sum(shares) / seconds,
    fairness: fairness(shares),
    locked: of('locked'),
    otherErrors: of('otherErrors') + sum(readers.map(({ errors }) => errors)),
    firstError: [...writers, ...readers].find(({ firstError }) => firstError)?.firstError,
    success: of('committed') / of('attempts'),
    live: summary(writers.flatMap(({ latencies }) => latencies.live)),
    // Who waits writes less, and so counts for less in the figure of all.
    liveOfWorst: Math.max(...writers.map(({ latencies }) => summary(latencies.live).p99)),
    history: summary(writers.flatMap(({ latencies }) => latencies.history)),
    read: summary(readers.flatMap(({ latencies }) => latencies)),
    coalesced: of('coalesced'),
    lockWaits: lockWaits(writers.map(({ stats }) => stats)),
    cpuSeconds: of('cpuSeconds'),
  };
}

/** The median of the rounds, number by number; of errors, coalesced rows and longest times the worst. */
function overRounds(rounds) {
  const worst = new Set([
    'locked',
    'otherErrors',
    'coalesced',
    'longest',
    'maxMs',
    'timeouts',
    'different',
    'liveOfWorst',
  ]);
  const lowest = new Set(['fairness', 'success']);
  const join = (values, name) => {
    const first = values.find((value) => value != null);
    if (first == null) return first;
    if (typeof first === 'object')
      return Object.fromEntries(
        Object.keys(first).map((key) => [
          key,
          join(
            values.map((value) => value?.[key]),
            key,
          ),
        ]),
      );
    if (typeof first !== 'number') return first;
    if (worst.has(name)) return Math.max(...values);
    if (lowest.has(name)) return Math.min(...values);
    return median(values);
  };
  return join(rounds);
}

const whole = (value) => Math.round(value).toLocaleString('en-US');
const ms = (value) => (value == null ? 'not told' : `${value.toFixed(value < 10 ? 2 : 0)} ms`);
const threeOf = ({ p50, p99, longest }) => `${ms(p50)}, ${ms(p99)}, ${ms(longest)}`;

module.exports = { contentionFigures, overRounds, lockWaits, median, sum, summary, whole, ms, threeOf };
