'use strict';

// Health: what is wrong with the jobs of a supervisor, from what is known of them.

const { adviceFor, said } = require('./failure');

const PASS = { status: 'pass', message: '', advice: '' };
/** So long a job may wait for its exclusive name without being worth a word. */
const LONG_MS = 60_000;
const WORST_FIRST = ['fail', 'warn', 'pass'];

function judge({ database, standby, jobs }) {
  const checks = { database: database === 'working' ? PASS : DATABASE, leader: ofLeader(standby) };
  for (const [name, job] of Object.entries(jobs)) checks[`job:${name}`] = ofJob(name, job);
  const found = Object.values(checks).map((check) => check.status);
  const status = WORST_FIRST.find((level) => found.includes(level));
  return {
    status,
    checks: Object.fromEntries(Object.entries(checks).map(([name, one]) => [name, { ...one }])),
  };
}

const DATABASE = {
  status: 'fail',
  message:
    'the database takes no writes: jobs fail because of it, or wait for its lock; it is tried until it does',
  advice: adviceFor('database'),
};

/** Another one that leads is as good. */
function ofLeader(standby) {
  if (!standby?.error) return PASS;
  return {
    status: 'fail',
    message: `no job runs, because it cannot be told which supervisor leads: ${said(standby.error)}`,
    advice: 'do what the error says; the jobs run as soon as the name can be taken',
  };
}

function ofJob(name, job) {
  if (job.state === 'hung' || job.state === 'disabled') {
    const status = job.priority === 'live' || job.state === 'hung' ? 'fail' : 'warn';
    const message =
      job.state === 'hung'
        ? `the job "${name}" hangs since its run of ${new Date(job.runningSince).toISOString()}`
        : `the job "${name}" is disabled until ${new Date(job.disabledUntil).toISOString()}: ${job.message}`;
    return { status, message, advice: adviceFor(job.cause, job.error) };
  }
  if (job.state === 'blocked' && Date.now() - job.blockedSince > Math.max(LONG_MS, 10 * job.everyMs)) {
    return {
      status: 'warn',
      message: `the job "${name}" has waited since ${new Date(job.blockedSince).toISOString()} for its exclusive name ${job.exclusive}, which ${holder(job.blockedBy)} has`,
      advice: 'see whether what has the name still works, or give the jobs names of their own',
    };
  }
  if (job.failuresInRow > 0) {
    return {
      status: 'warn',
      message: `${job.failuresInRow} runs of the job "${name}" in a row have failed: ${job.message}`,
      advice: adviceFor(job.cause, job.error),
    };
  }
  if (job.everyMs === job.maxEveryMs && job.maxEveryMs > job.minEveryMs && job.lockWaitRate > 0) {
    return {
      status: 'warn',
      message: `the job "${name}" runs at its longest interval, every ${job.everyMs} ms: ${job.why}`,
      advice:
        'see who else writes to the file (event lock-wait tells the process), or let the job write less often',
    };
  }
  return PASS;
}

function holder(heldBy) {
  return typeof heldBy === 'number' ? `process ${heldBy}` : (heldBy ?? 'somebody else');
}

module.exports = { judge };
