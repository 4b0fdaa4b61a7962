'use strict';

// A backfill of candlestore's at full speed, for its neighbours to live beside.
//   { file, seconds, count, window }

const { Feeder } = require('./feeder.js');
const { Rows } = require('./rows.js');
const { config, report, begin, main } = require('./worker.js');

main(async () => {
  const { file, seconds, count, window } = config();
  const store = require('candlestore').openStore(file);
  const feeder = new Feeder(store, new Rows('BACKFILL'), { count, window });
  await feeder.fill();
  await begin();
  const start = performance.now();
  await feeder.feed(() => performance.now() - start >= seconds * 1000);
  const { committed } = feeder;
  const rate = committed / ((performance.now() - start) / 1000);
  await feeder.settled();
  const { latencies, errors, firstError, coalesced, stored } = feeder;
  report({ rate, latencies, errors, firstError, coalesced, stored, stats: store.getStats() });
  await store.close();
});
