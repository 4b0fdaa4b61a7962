'use strict';

// What every process of a run says and hears, one line of JSON each: its configuration is its argument; it says that it
// is ready, hears when all begin, and reports. Programs in Python speak the same.

const { once } = require('node:events');
const { setTimeout: pause } = require('node:timers/promises');

const config = () => JSON.parse(process.argv[2]);

const report = (result) => process.stdout.write(`${JSON.stringify(result)}\n`);

/** Waits for the moment at which all begin. */
async function begin() {
  report({ ready: true });
  const [line] = await once(process.stdin, 'data');
  process.stdin.destroy();
  await pause(Math.max(0, JSON.parse(line).at - Date.now()));
}

/** Runs a worker; what it throws ends the process, and with it the run. */
function main(work) {
  work().catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  });
}

module.exports = { config, report, begin, main };
