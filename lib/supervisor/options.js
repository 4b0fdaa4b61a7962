'use strict';

// Options of a supervisor and of its jobs, checked and completed.

const args = require('../arguments');
const { CandleStoreError, invalidArgument } = require('../errors');

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
const LEAST_MS = 10;
const USUAL_TIMES_SLOWER = 5;
const USUAL_TIMES_LONGER = 10;
const USUAL_LIMIT_MS = 60_000;
const MOST_NAME = 100;

function invalidOption(message) {
  return new CandleStoreError('INVALID_OPTION', message);
}

/** A number within bounds; `usual` where none is given. */
function number(name, value, usual, least, most, isWhole = false) {
  const given = value ?? usual;
  if (
    typeof given !== 'number' ||
    !(given >= least && given <= most) ||
    (isWhole && !Number.isInteger(given))
  ) {
    const kind = isWhole ? 'a whole number' : 'a number';
    throw invalidOption(`${name} must be ${kind} from ${least} to ${most}, got ${args.shown(given)}`);
  }
  return given;
}

const LOCK_NAME = /^[A-Za-z0-9._:-]{1,64}$/;

/** A name that is held between processes; null for none. */
function lockName(option, name) {
  if (name === null || (typeof name === 'string' && LOCK_NAME.test(name))) return name;
  throw invalidOption(
    `${option} must be 1 to 64 letters, digits, '.', '_', ':' or '-', got ${args.shown(name)}`,
  );
}

const SUPERVISOR = [
  ...['failureThreshold', 'databaseFailureThreshold', 'cooldownMs', 'maxCooldownMs', 'probeIntervalMs'],
  ...['lockWaitThresholdMs', 'leader'],
];

function supervisorOptions(given) {
  args.checkObject('options', given);
  args.checkKeys('options', given, SUPERVISOR, invalidOption);
  const cooldownMs = number('cooldownMs', given.cooldownMs, 60_000, LEAST_MS, DAY_MS);
  const usualMost = Math.max(cooldownMs, 600_000);
  return {
    failureThreshold: number('failureThreshold', given.failureThreshold, 5, 1, 1_000, true),
    databaseFailureThreshold: number(
      'databaseFailureThreshold',
      given.databaseFailureThreshold,
      3,
      1,
      1_000,
      true,
    ),
    cooldownMs,
    maxCooldownMs: number('maxCooldownMs', given.maxCooldownMs, usualMost, cooldownMs, DAY_MS),
    probeIntervalMs: number('probeIntervalMs', given.probeIntervalMs, 1_000, LEAST_MS, 2_000),
    lockWaitThresholdMs: number('lockWaitThresholdMs', given.lockWaitThresholdMs, 50, 1, 60_000),
    leader: lockName('leader', given.leader ?? null),
  };
}

const JOB = ['everyMs', 'minEveryMs', 'maxEveryMs', 'priority', 'exclusive', 'timeLimitMs'];

function jobOptions(given) {
  args.checkObject('options', given);
  args.checkKeys('options', given, JOB, invalidOption);
  const { priority = 'live', exclusive = null } = given;
  const everyMs = number('everyMs', given.everyMs, undefined, LEAST_MS, DAY_MS);
  const usualMost = Math.max(everyMs, Math.min(USUAL_TIMES_SLOWER * everyMs, HOUR_MS));
  const usualLimit = Math.max(USUAL_TIMES_LONGER * everyMs, USUAL_LIMIT_MS);
  if (!args.PRIORITIES.includes(priority)) {
    throw invalidOption(`priority must be ${args.PRIORITIES.join(', ')}, got ${args.shown(priority)}`);
  }
  return {
    everyMs,
    minEveryMs: number('minEveryMs', given.minEveryMs, everyMs, LEAST_MS, everyMs),
    maxEveryMs: number('maxEveryMs', given.maxEveryMs, usualMost, everyMs, WEEK_MS),
    priority,
    exclusive: lockName('exclusive', exclusive),
    timeLimitMs:
      given.timeLimitMs === null
        ? null
        : number('timeLimitMs', given.timeLimitMs, Math.min(usualLimit, WEEK_MS), LEAST_MS, WEEK_MS),
  };
}

function jobName(name) {
  if (typeof name !== 'string' || name === '' || name.length > MOST_NAME) {
    throw invalidArgument(
      `a job's name must be text of 1 to ${MOST_NAME} characters, got ${args.shown(name)}`,
    );
  }
  return name;
}

module.exports = { jobName, jobOptions, supervisorOptions };
