'use strict';

// Draws bench/results.svg from bench/results.json: how many times as fast as the code replaced, on a logarithmic scale, a
// bar for better-sqlite3 used well and one for candlestore on a file of its own; a ring where it is on a file of the old
// schema, and a thin line from the lowest round to the highest.
// The picture has a ground of its own, dark for who prefers dark, so that it is readable wherever it is put.
//   node bench/chart.js [results.json [results.svg]]

const fs = require('node:fs');
const path = require('node:path');
const { times } = require('./tables.js');

const WIDTH = 900;
const LABELS = 330;
const RIGHT = 58;
const TOP = 92;
const ROW = 36;
const BAR = 11;
const BOTTOM = 58;
const SERIES = [
  { side: 'used well', name: 'better-sqlite3 used well', style: 'well' },
  { side: 'candlestore', name: 'candlestore', style: 'own' },
];
const STYLE = `
    text { font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328; }
    .title { font-size: 16px; font-weight: 600; }
    .quiet { fill: #59636e; }
    .value { font-size: 11px; }
    .ground { fill: #ffffff; stroke: #d1d9e0; }
    .grid { stroke: #d1d9e0; }
    .one { stroke: #59636e; }
    .well { fill: #9aa4af; }
    .own { fill: #1f6feb; }
    .spread { stroke: #1f2328; stroke-width: 1; opacity: 0.7; }
    .old { fill: #ffffff; stroke: #1f2328; stroke-width: 1.5; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .quiet { fill: #9198a1; }
      .ground { fill: #0d1117; stroke: #3d444d; }
      .grid { stroke: #3d444d; }
      .one { stroke: #9198a1; }
      .well { fill: #6e7681; }
      .own { fill: #4493f8; }
      .spread { stroke: #f0f6fc; }
      .old { fill: #0d1117; stroke: #f0f6fc; }
    }`;

const escaped = (text) =>
  String(text).replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[sign]);
const place = (value) => Number(value.toFixed(1));
const text = (x, y, words, style = '', anchor = 'start') =>
  `<text x="${place(x)}" y="${place(y)}"${style && ` class="${style}"`}${
    anchor === 'start' ? '' : ` text-anchor="${anchor}"`
  }>${escaped(words)}</text>`;
const line = (x1, y1, x2, y2, style) =>
  `<line x1="${place(x1)}" y1="${place(y1)}" x2="${place(x2)}" y2="${place(y2)}" class="${style}"/>`;
const ring = (x, y) => `<circle cx="${place(x)}" cy="${place(y)}" r="3.5" class="old"/>`;

const ratioOf = ({ participants }, side, schema) =>
  participants.find((one) => one.side === side && one.schema === schema && !one.apart)?.ratio ?? null;

/** From a ratio to its place; the ends of the scale are round and take in every spread. */
function scaleOf(comparisons) {
  const ratios = comparisons.flatMap((result) =>
    SERIES.flatMap(({ side }) =>
      ['new', 'old'].flatMap((schema) => Object.values(ratioOf(result, side, schema) ?? {})),
    ),
  );
  const lowest = Math.min(1, ...ratios);
  const low = lowest < 1 ? Math.log10(lowest * 0.9) : 0;
  const high = Math.log10(Math.max(10, ...ratios) * 1.1);
  const span = WIDTH - LABELS - RIGHT;
  const scale = (ratio) => LABELS + ((Math.log10(ratio) - low) / (high - low)) * span;
  scale.ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000].filter(
    (tick) => Math.log10(tick) <= high,
  );
  return scale;
}

function gridOf(scale, bottom) {
  return scale.ticks.flatMap((tick) => {
    const decade = Number.isInteger(Math.log10(tick));
    const drawn = decade
      ? [line(scale(tick), TOP - 6, scale(tick), bottom, tick === 1 ? 'one' : 'grid')]
      : [];
    return [...drawn, text(scale(tick), TOP - 12, tick.toLocaleString('en-US'), 'quiet value', 'middle')];
  });
}

function barOf({ side, style }, result, scale, top) {
  const own = ratioOf(result, side, 'new');
  const ratio = own ?? ratioOf(result, side, 'old');
  if (!ratio) return [];
  const middle = top + BAR / 2;
  const [from, to] = [Math.min(scale(1), scale(ratio.median)), Math.max(scale(1), scale(ratio.median))];
  const old = own && side === 'candlestore' ? ratioOf(result, side, 'old') : null;
  const end = Math.max(to, scale(ratio.max), old ? scale(old.median) + 4 : 0);
  return [
    `<rect x="${place(from)}" y="${top}" width="${place(to - from)}" height="${BAR}" rx="2" class="${style}"/>`,
    line(scale(ratio.min), middle, scale(ratio.max), middle, 'spread'),
    ...(old ? [ring(scale(old.median), middle)] : []),
    text(end + 6, top + BAR - 1.5, times(ratio.median), 'value'),
  ];
}

function legend() {
  const entries = [];
  let x = 20;
  for (const { name, style } of SERIES) {
    entries.push(`<rect x="${x}" y="47" width="${BAR}" height="${BAR}" rx="2" class="${style}"/>`);
    entries.push(text(x + 17, 57, name));
    x += 34 + name.length * 6.4;
  }
  entries.push(ring(x + 4, 52.5), text(x + 15, 57, 'candlestore on a file of the older schema'));
  x += 275;
  entries.push(line(x, 52.5, x + 16, 52.5, 'spread'), text(x + 22, 57, 'lowest to highest round'));
  return entries;
}

function draw({ comparisons, machine, versions, rounds }) {
  const scale = scaleOf(comparisons);
  const bottom = TOP + comparisons.length * ROW;
  const rows = comparisons.flatMap((result, index) => {
    const top = TOP + index * ROW + (ROW - 2 * BAR - 2) / 2;
    return [
      text(LABELS - 12, top + BAR + 5, result.name, '', 'end'),
      ...SERIES.flatMap((series, number) => barOf(series, result, scale, top + number * (BAR + 2))),
    ];
  });
  const height = bottom + BOTTOM;
  const about = [
    `Median of ${rounds} rounds in turns on ${machine.cpu}, ${machine.cores} cores; Node ${versions.node}.`,
    `1 is the code replaced: better-sqlite3 ${versions['better-sqlite3']}, a statement prepared for every row, INSERT OR REPLACE. The same durability for all.`,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
  <title>How many times as fast as the code replaced</title>
  <style>${STYLE}
  </style>
  <rect x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="6" class="ground"/>
  ${[
    text(20, 29, 'How many times as fast as the code replaced (logarithmic)', 'title'),
    ...legend(),
    ...gridOf(scale, bottom),
    ...rows,
    ...about.map((words, index) => text(20, bottom + 26 + index * 17, words, 'quiet value')),
  ].join('\n  ')}
</svg>
`;
}

function main([
  from = path.join(__dirname, 'results.json'),
  to = path.join(path.dirname(from), `${path.basename(from, '.json')}.svg`),
]) {
  fs.writeFileSync(to, draw(JSON.parse(fs.readFileSync(from, 'utf8'))));
}

if (require.main === module) main(process.argv.slice(2));

module.exports = { draw };
