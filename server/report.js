'use strict';

// What the collector says of its jobs: what failed and when it is tried again, alerts, and who does them instead. The same is said
// once, not at each interval.

const { isFatal } = require('./backfill');

const seconds = (ms) => (Math.max(0, ms) / 1000).toFixed(1);

/** Prints what happens to the jobs of an exchange; `onFatal(error)` is called when the database can be used no more. */
function report(supervisor, name, progress, onFatal) {
  const said = new Map();
  const once = (job, text, line = text) => {
    if (said.get(job) === text) return;
    said.set(job, text);
    progress.line(line);
  };

  supervisor.on('job-failed', ({ job, error }) => {
    if (isFatal(error)) return onFatal(error);
    const { nextRunAt } = supervisor.status().jobs[job];
    const again = nextRunAt === null ? '' : `; trying again in ${seconds(nextRunAt - Date.now())} s`;
    once(job, error.message, `${job}: ${error.message}${again}`);
  });
  supervisor.on('job-disabled', ({ message, advice }) => progress.line(`ALERT ${message}; ${advice}`));
  supervisor.on('job-recovered', ({ job, downMs }) =>
    progress.line(`${job} works again, after ${seconds(downMs)} s`),
  );
  supervisor.on('job-succeeded', ({ job }) => said.delete(job));
  supervisor.on('standby', ({ heldBy, error }) => {
    const who = heldBy === null ? 'another process' : `process ${heldBy}`;
    const why = error ? `it cannot be told who collects it: ${error.message}` : `${who} collects it`;
    progress.line(`${name} stands by: ${why}`);
    if (error && isFatal(error)) onFatal(error);
  });
  supervisor.on('job-interval', ({ job, toMs }) => {
    const { why } = supervisor.status().jobs[job];
    once(job, `${job}: every ${seconds(toMs)} s from now on (${why})`);
  });
}

module.exports = { report };
