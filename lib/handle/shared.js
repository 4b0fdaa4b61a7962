'use strict';

// Memory that the raw handles of one thread share with the native side: parameters are packed into it before a call, and rows
// are found in it afterwards. All calls are synchronous, so one is enough for all handles.

/** Doubles at the start in which the outcome of a call is told. */
const HEADER = 16;
/** Places in the header: what came of a call, and what it is to do. */
const AT = {
  rows: 0,
  done: 1,
  changes: 2,
  rowid: 3,
  wideRowid: 4,
  open: 5,
  renamed: 6,
  statement: 7,
  parameters: 8,
  mostRows: 9,
  mostColumns: 10,
  ways: 11,
  kept: 12,
};
/** How a statement is run. */
const WAYS = { keep: 1, safe: 2, more: 4 };
/** As many as SQLite allows parameters. */
const CELLS = 32_768;
const BYTES = 64 << 10;
/** Memory for long texts is given back after the call. */
const MOST_BYTES = 4 << 20;

const shared = {
  cells: null,
  integers: null,
  kinds: null,
  bytes: null,
  /** The bytes take more memory than is kept. */
  isLarge: false,
  /** Counts what was made anew: a handle whose number differs is given the memory again. */
  version: 0,
};

function makeCells() {
  shared.cells = new Float64Array(HEADER + CELLS);
  shared.integers = new BigInt64Array(shared.cells.buffer);
  shared.kinds = new Uint8Array(CELLS);
  makeBytes(BYTES);
}

function makeBytes(length) {
  shared.bytes = Buffer.from(new ArrayBuffer(length));
  shared.isLarge = length > MOST_BYTES;
  shared.version++;
}

/** Makes room for texts and blobs of so many bytes; what is there is kept. */
function growBytes(needed) {
  const before = shared.bytes;
  makeBytes(Math.max(needed, 2 * before.length));
  shared.bytes.set(before);
}

/** After a call. */
function shrinkBytes() {
  if (shared.isLarge) makeBytes(BYTES);
}

/** Tells what the next call is to do. */
function tell(statement, parameters, mostRows, mostColumns, ways) {
  const { cells } = shared;
  cells[AT.statement] = statement;
  cells[AT.parameters] = parameters;
  cells[AT.mostRows] = mostRows;
  cells[AT.mostColumns] = mostColumns;
  cells[AT.ways] = ways;
}

const collect = (...values) => values;

/** Sees to it that a native handle has the memory. */
function share(session) {
  if (shared.cells === null) makeCells();
  if (session.version === shared.version) return;
  session.native.share(shared.cells, shared.kinds, shared.bytes, collect);
  session.runner ??= session.native.runner();
  session.version = shared.version;
}

module.exports = { AT, HEADER, WAYS, growBytes, share, shared, shrinkBytes, tell };
