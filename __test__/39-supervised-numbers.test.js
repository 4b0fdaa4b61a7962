'use strict';

// What a supervisor reckons, by a clock that is passed in: availability, intervals, health.

const { judge } = require('../lib/supervisor/health');
const { Pace } = require('../lib/supervisor/pace');
const { Uptime } = require('../lib/supervisor/uptime');

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('availability', () => {
  test('is the share of the time since the job was made, and of the last hour once that is over', () => {
    const uptime = new Uptime(0);
    expect(uptime.share(0)).toBe(1);
    uptime.down(30 * MINUTE);
    expect(uptime.share(40 * MINUTE)).toBeCloseTo(0.75);
    expect(uptime.up(45 * MINUTE)).toBe(15 * MINUTE);
    expect(uptime.share(HOUR)).toBeCloseTo(0.75);
    expect(uptime.share(HOUR + 40 * MINUTE)).toBeCloseTo(1 - 5 / 60);
    expect(uptime.share(2 * HOUR)).toBe(1);
  });

  test('counts what is down now, however long it has been so', () => {
    const uptime = new Uptime(0);
    uptime.down(MINUTE);
    uptime.down(5 * MINUTE);
    expect(uptime.share(10 * HOUR)).toBe(0);
    expect(uptime.up(10 * HOUR)).toBe(10 * HOUR - MINUTE);
    expect(uptime.up(10 * HOUR)).toBeNull();
    expect(uptime.share(10 * HOUR + 30 * MINUTE)).toBeCloseTo(0.5);
  });

  test('adds up many short times, with nothing to remember of each', () => {
    const uptime = new Uptime(0);
    for (let at = 0; at < 3 * HOUR; at += 1000) {
      uptime.down(at);
      uptime.up(at + 250);
    }
    expect(uptime.share(3 * HOUR)).toBeCloseTo(0.75, 2);
  });
});

describe('the interval', () => {
  const pace = () => new Pace({ everyMs: 1000, minEveryMs: 800, maxEveryMs: 2000 });
  const ran = (of, writes, lockWaits, atOnce = writes - lockWaits) => of.ran({ writes, lockWaits, atOnce });

  test.each([
    ['more than a tenth had to wait', 100, 11, 89, 1500],
    ['a tenth had to wait', 100, 10, 90, 1000],
    ['95 % went through at once', 100, 5, 95, 1000],
    ['more than 95 % went through at once', 100, 4, 96, 900],
    ['none had to wait and a tenth failed', 100, 0, 90, 1000],
    ['nothing was written', 0, 0, 0, 1000],
  ])('when %s', (_what, writes, lockWaits, atOnce, expected) => {
    const of = pace();
    expect(ran(of, writes, lockWaits, atOnce)).toBe(expected !== 1000);
    expect(of.everyMs).toBe(expected);
  });

  test('goes to its bounds and no further, and says why', () => {
    const of = pace();
    expect([ran(of, 2, 1), ran(of, 2, 1), ran(of, 2, 1)]).toEqual([true, true, false]);
    expect([of.everyMs, of.rate]).toEqual([2000, 0.5]);
    expect(of.why).toMatch(/^longest: 1 of the last run's 2 writes had to wait/);
    for (let run = 0; run < 20; run++) ran(of, 2, 0);
    expect([of.everyMs, of.rate]).toEqual([800, 0]);
    expect(of.why).toMatch(/^shortest: 0 of/);
  });
});

describe('health', () => {
  const of = (fields) =>
    judge({
      database: 'working',
      standby: null,
      jobs: { job: { state: 'waiting', priority: 'live', failuresInRow: 0, everyMs: 1000, ...fields } },
    }).checks['job:job'];

  test('warns of a job that has waited for its exclusive name for a minute and ten of its intervals', () => {
    const blocked = (minutes, everyMs) =>
      of({
        state: 'blocked',
        exclusive: 'pools',
        blockedBy: 4711,
        blockedSince: Date.now() - minutes * MINUTE - 1,
        everyMs,
      });
    expect(blocked(0.9, 1000).status).toBe('pass');
    expect(blocked(5, MINUTE).status).toBe('pass');
    expect(blocked(10, MINUTE).status).toBe('warn');
    expect(blocked(1, 1000)).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/waited .* for its exclusive name pools, which process 4711 has$/),
    });
  });
});
