'use strict';

// Numbers from a seed, the same in every run.

function randomOf(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (end) => Math.floor(random() * end);
  return { below, chance: (part) => random() < part, pick: (list) => list[below(list.length)] };
}

module.exports = { randomOf };
