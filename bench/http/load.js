'use strict';

// The load of the HTTP comparison, in a process of its own: autocannon asks for the paths in turn, and tells how many
// answers came in a second and how long 99 of 100 took at most. Anything but an answer is an error, and ends the run.
//   { url, paths, connections, seconds, headers }

const autocannon = require('autocannon');
const { config, report, main } = require('../contention/worker.js');

/** The body of an answer would be put together as text, which takes longer than many an answer, above all of gzip. */
function dropBodies(client) {
  client.pipelinedRequests.addBody = () => {};
}

main(async () => {
  const { url, paths, connections, seconds, headers } = config();
  const found = await autocannon({
    url,
    connections,
    duration: seconds,
    requests: paths.map((path) => ({ path, headers })),
    setupClient: dropBodies,
  });
  const failed = found.errors + found.timeouts + found.non2xx;
  if (failed > 0) throw new Error(`${failed} requests to ${url} failed`);
  report({
    perSecond: found['2xx'] / found.duration,
    p99Ms: found.latency.p99,
    bytesPerSecond: found.throughput.average,
  });
});
