'use strict';

// What the comparisons say about the machine they ran on.

const os = require('node:os');

const machine = () => ({
  cpu: os.cpus()[0].model,
  cores: os.cpus().length,
  memoryGiB: Number((os.totalmem() / 2 ** 30).toFixed(1)),
  kernel: `${os.type()} ${os.release()}`,
  architecture: os.arch(),
});

module.exports = { machine };
