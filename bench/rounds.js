'use strict';

// Runs one comparison (comparisons.js): the sides in turns, each on files of its own, the order another one in every round, so
// that whatever else the machine does meets all of them. From each round come rates, and their ratios to the code
// replaced in the same round.

const { isDeepStrictEqual } = require('node:util');
const { SIDES } = require('./sides.js');
const { median } = require('./contention/figures.js');

/** A measure of reads is repeated for so long; where another process commits meanwhile, long enough for 20 commits. */
const MEASURE_MS = 250;
const FOREIGN_MS = 1000;
const WARM_RUNS = 3;

/** Who takes part: the code replaced once, since it has one schema, the others on both. */
function participantsOf({ options, also = {} }, schemas) {
  const others = schemas.flatMap((schema) => [
    { side: 'used well', schema },
    { side: 'candlestore', schema, options },
    ...Object.entries(also).map(([name, other]) => ({
      side: 'candlestore',
      schema,
      options: other,
      apart: name,
    })),
  ]);
  return [{ side: 'orig', schema: 'new' }, ...others];
}

const inTurn = (list, round) => {
  const from = round % list.length;
  const turned = [...list.slice(from), ...list.slice(0, from)];
  return round % 2 === 0 ? turned : turned.reverse();
};

function seconds(work) {
  // What others have left behind is not collected within this one's time.
  globalThis.gc?.();
  const begin = process.hrtime.bigint();
  const units = work();
  return { units, taken: Number(process.hrtime.bigint() - begin) / 1e9 };
}

/** A write: a new file each time. */
async function measureOnce(comparison, participant, { files }) {
  const { side, schema, options } = participant;
  const file = await files.copy(side, schema, comparison.content);
  const store = SIDES[side](file, options);
  try {
    const prepared = await comparison.prepare?.(store);
    const { units, taken } = seconds(() => comparison.run(store, prepared));
    return units / taken;
  } finally {
    await store.close();
    files.drop(file);
  }
}

async function measureRepeated(comparison, participant, { foreign }) {
  const { store, prepared, file } = participant;
  const atLeast = comparison.foreign ? FOREIGN_MS : MEASURE_MS;
  if (comparison.foreign) await foreign.begin(file, comparison.foreign);
  const { units, taken } = seconds(() => {
    let done = 0;
    const end = performance.now() + atLeast;
    while (performance.now() < end) done += comparison.run(store, prepared);
    return done;
  });
  // The other process shares the machine and may be late: what it did is told with the results.
  if (comparison.foreign) participant.foreign.push((await foreign.end()) / taken);
  return units / taken;
}

/** Opens everybody's file and keeps it open, checks that all give the same, and lets them warm up. */
async function open(comparison, participants, { files }) {
  let expected;
  for (const participant of participants) {
    const { side, schema, options } = participant;
    participant.file = await files.copy(side, schema, comparison.content);
    participant.store = SIDES[side](participant.file, options);
    participant.prepared = await comparison.prepare?.(participant.store);
    if (comparison.same) {
      const given = comparison.same(participant.store);
      expected ??= given;
      if (!isDeepStrictEqual(given, expected))
        throw new Error(`${side} on a file of the ${schema} schema gives something else than orig`);
    }
    for (let i = 0; i < WARM_RUNS; i += 1) comparison.run(participant.store, participant.prepared);
  }
}

async function close(participants, { files }) {
  for (const { store, file } of participants) {
    await store?.close();
    if (file) files.drop(file);
  }
}

const spread = (values) => ({ median: median(values), min: Math.min(...values), max: Math.max(...values) });

/** Rates and ratios to the first of the list, over the rounds. */
function figures(participants) {
  const [orig] = participants;
  return participants.map(({ side, schema, apart, rates, foreign }) => ({
    side,
    schema,
    ...(apart && { apart }),
    rate: spread(rates),
    ratio: spread(rates.map((rate, round) => rate / orig.rates[round])),
    ...(foreign.length > 0 && { foreignCommitsPerSecond: spread(foreign) }),
  }));
}

/**
 * The result of one comparison. `means` are what runs share: `files`, the `foreign` writer and the `floor`.
 */
async function compare(name, comparison, rounds, schemas, means) {
  const participants = participantsOf(comparison, schemas);
  for (const participant of participants) Object.assign(participant, { rates: [], foreign: [] });
  const floors = [];
  const measure = comparison.once ? measureOnce : measureRepeated;
  try {
    if (!comparison.once) await open(comparison, participants, means);
    for (let round = 0; round < rounds; round += 1) {
      for (const participant of inTurn(participants, round))
        participant.rates.push(await measure(comparison, participant, means));
      if (comparison.floor && means.floor.built) {
        const { file } = participants.find(({ side }) => side === 'candlestore');
        floors.push(await means.floor.rate(file, comparison.floor));
      }
    }
  } finally {
    if (!comparison.once) await close(participants, means);
  }
  const [{ rates }] = participants;
  return {
    name,
    unit: comparison.unit,
    bar: comparison.bar ?? null,
    rounds,
    participants: figures(participants),
    floor:
      floors.length > 0
        ? { rate: spread(floors), ratio: spread(floors.map((rate, round) => rate / rates[round])) }
        : null,
  };
}

module.exports = { compare, inTurn, spread };
