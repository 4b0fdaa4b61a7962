'use strict';

// better-sqlite3 with the fault that the environment variable FAULT names, to show that the storm finds it:
//   aborts   takes the process down now and then
//   torn     db.transaction() begins none
//   lost     db.transaction() takes back what it says is committed, now and then
//   garbled  close() writes over the file, now and then

const fs = require('node:fs');
const Original = require(require('./storm-provider.js').ORIGINAL);

const NOW_AND_THEN = 0.2;
const now = () => Math.random() < NOW_AND_THEN;

const FAULTS = {
  aborts: (work) => {
    if (now()) process.kill(process.pid, 'SIGABRT');
    return work;
  },
  lost: (work, db) => () => {
    work();
    if (now()) db.exec('ROLLBACK; BEGIN');
  },
  garbled: (work) => work,
};

class Faulty extends Original {
  close() {
    super.close();
    if (process.env.FAULT !== 'garbled' || this.memory || !now()) return this;
    const file = fs.openSync(this.name, 'r+');
    // All pages behind the first.
    const rest = fs.fstatSync(file).size - 4096;
    fs.writeSync(file, Buffer.alloc(rest, 7), 0, rest, 4096);
    fs.closeSync(file);
    return this;
  }

  transaction(work) {
    const fault = process.env.FAULT;
    if (fault !== 'torn') return super.transaction(FAULTS[fault](work, this));
    const none = () => work();
    return Object.assign(none, { deferred: none, immediate: none, exclusive: none });
  }
}

module.exports = Faulty;
