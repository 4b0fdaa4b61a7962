'use strict';

/** Median, 99th percentile and longest of measured milliseconds. */
function summary(milliseconds) {
  const ascending = Float64Array.from(milliseconds).sort();
  const at = (share) =>
    ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? null;
  return { count: ascending.length, p50: at(0.5), p99: at(0.99), longest: ascending.at(-1) ?? null };
}

module.exports = { summary };
