#!/usr/bin/env node
'use strict';

// The command line of candlestore: finds the command and leaves with its exit code.

const { version } = require('../package.json');

const HELP = `Usage: candlestore <command>

  import <file...>   store candles from CSV files (candlestore import --help)
  --version
  --help
`;

async function main([command, ...rest]) {
  if (command === 'import') return require('./import.js').run(rest);
  if (command === '--version') process.stdout.write(`${version}\n`);
  else if (command === '--help' || command === undefined) process.stdout.write(HELP);
  else process.stderr.write(`Unknown command ${command}.\n${HELP}`);
  return command === undefined || !['--version', '--help'].includes(command) ? 2 : 0;
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  },
);
