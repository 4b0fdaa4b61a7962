'use strict';

// What `npm run bench` prints of its results.

const { whole } = require('./contention/figures.js');

const times = (value) => (value < 10 ? value.toFixed(2) : value < 100 ? value.toFixed(1) : whole(value));
const ratioText = ({ median, min, max }) => `${times(median)} (${times(min)}..${times(max)})`;
const rateText = ({ median, min, max }) => `${whole(median)} (${whole(min)}..${whole(max)})`;
const barText = (bar) => (typeof bar === 'number' ? times(bar) : (bar ?? '-'));

const labelOf = ({ side, schema, apart }) =>
  side === 'orig' ? side : `${side}${apart ? ` ${apart}` : ''}${schema === 'none' ? '' : `, ${schema} file`}`;

/** One line of a result, told when it is there. */
const line = ({ name, participants }) =>
  `${name}: ${participants
    .filter(({ side }) => side !== 'orig')
    .map((one) => `${labelOf(one)} ${times(one.ratio.median)} x`)
    .join('; ')}\n`;

/** Ratios to the code replaced, a table for each schema. */
function show({ comparisons, rounds }, schemas) {
  for (const schema of schemas) {
    process.stdout.write(
      `\n${schema} file: ratio to orig, median of ${rounds} rounds (lowest..highest); orig itself in units\n`,
    );
    const table = {};
    for (const { name, unit, bar, participants, floor } of comparisons) {
      const of = (wanted) =>
        participants.find(
          ({ side, apart, schema: its }) => side === wanted && !apart && (its === schema || side === 'orig'),
        );
      table[name] = {
        orig: `${rateText(of('orig').rate)} ${unit}`,
        'used well': ratioText(of('used well').ratio),
        candlestore: ratioText(of('candlestore').ratio),
        bar: barText(bar?.[schema]),
        'Rust only': floor && schema === 'new' ? ratioText(floor.ratio) : '-',
      };
      const others = participants.filter(({ apart, schema: its }) => apart && its === schema);
      for (const { apart, ratio } of others) table[`${name}: ${apart}`] = { candlestore: ratioText(ratio) };
    }
    console.table(table);
  }
  showHttp(comparisons.filter(({ participants }) => participants.some(({ p99Ms }) => p99Ms)));
}

function showHttp(results) {
  for (const { name, participants, connections } of results) {
    process.stdout.write(`\n${name}, ${connections} connections\n`);
    console.table(
      Object.fromEntries(
        participants.map((one) => [
          labelOf(one),
          {
            'requests/s': rateText(one.rate),
            'ratio to orig': ratioText(one.ratio),
            'p99, ms': rateText(one.p99Ms),
            'MB/s': rateText(one.mbPerSecond),
          },
        ]),
      ),
    );
  }
}

function showMemory({ name, participants }) {
  process.stdout.write(`\n${name}, MiB\n`);
  console.table(
    Object.fromEntries(
      participants.map((one) => [
        one.side === 'none' ? 'making the candles alone' : labelOf(one),
        { 'peak memory': rateText(one.peakMiB) },
      ]),
    ),
  );
}

module.exports = { line, rateText, ratioText, show, showMemory, times };
