'use strict';

// The other servers of the HTTP comparison, with the Express set-up of server/routes.js and its checks of what is
// asked for. Started by fork; says `{ type: 'listening', url }` as server/api.js does, and ends when told to.
//   { side, file }    the route as it was: candles from the store of this side, `res.json` of them
//   { bodies }        the route with nothing behind it: Buffers from this file, made before, and gzipped before
//                     for who takes gzip. What it does is what Express, Node and the network take.

const fs = require('node:fs');
const http = require('node:http');
const zlib = require('node:zlib');
const express = require('express');
const compression = require('compression');
const cors = require('cors');
const { SIDES } = require('../sides.js');
const { seriesFrom, limitFrom, beforeFrom } = require('../../server/series.js');

const { side, file, bodies } = JSON.parse(process.argv[2]);

/** The newest `limit` candles before `before`, and whether there are older ones. */
function page(store, { table, stored, exchange, symbol }, limit, before) {
  // One more than asked for: its presence says that there is more.
  const candles = store.getCandles(table, stored, limit + 1, before, true);
  const hasMore = candles.length > limit;
  if (hasMore) candles.shift();
  return { candles, exchange, symbol, oldestTime: candles.length > 0 ? candles[0].time : null, hasMore };
}

function fromStore() {
  const store = SIDES[side](file);
  return (res, series, limit, before) => res.json(page(store, series, limit, before));
}

function fromMemory() {
  const texts = Object.entries(JSON.parse(fs.readFileSync(bodies, 'utf8')));
  const plain = new Map(texts.map(([stored, text]) => [stored, Buffer.from(text)]));
  const packed = new Map([...plain].map(([stored, body]) => [stored, zlib.gzipSync(body, { level: 1 })]));
  return (res, series, _limit, _before) => {
    res.type('json');
    if (!res.req.acceptsEncodings('gzip')) return res.send(plain.get(series.stored));
    res.set('Content-Encoding', 'gzip').vary('Accept-Encoding');
    return res.send(packed.get(series.stored));
  };
}

const answer = bodies ? fromMemory() : fromStore();
const app = express();
app.disable('x-powered-by');
app.set('etag', false);
app.use(cors());
app.use(compression({ level: 1, threshold: 4096 }));
app.get('/api/candles', (req, res) => {
  const { limit, before, ...named } = req.query;
  answer(res, seriesFrom(named), limitFrom(limit), beforeFrom(before));
});

const server = http.createServer(app).listen(0, '127.0.0.1', () => {
  process.send({ type: 'listening', url: `http://127.0.0.1:${server.address().port}` });
});
process.once('disconnect', () => process.exit());
