'use strict';

// The other servers of the HTTP comparison, with the checks of server/routes.js of what is asked for. Started by fork;
// says `{ type: 'listening', url }` as server/api.js does, and ends when told to.
//   { side, file }    the route as it was: candles from the store of this side, `res.json` of them, and compressed
//   { bodies }        the route with nothing behind it, in the Express set-up of server/routes.js and with the headers
//                     of its answers: Buffers from this file, made before, and gzipped before for who takes gzip.
//                     What it does is what Express, Node and the network take.

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

/** The routes of an application, put into it. */
function fromStore(app) {
  const store = SIDES[side](file);
  app.use(compression({ level: 1, threshold: 4096 }));
  app.get('/api/candles', (req, res) => {
    const { limit, before, ...named } = req.query;
    res.json(page(store, seriesFrom(named), limitFrom(limit), beforeFrom(before)));
  });
}

function fromMemory(app) {
  const texts = Object.entries(JSON.parse(fs.readFileSync(bodies, 'utf8')));
  const plain = new Map(texts.map(([stored, text]) => [stored, Buffer.from(text)]));
  const packed = new Map([...plain].map(([stored, body]) => [stored, zlib.gzipSync(body, { level: 1 })]));
  app.get('/api/candles', (req, res) => {
    const { limit, before, ...named } = req.query;
    const { stored } = seriesFrom(named);
    limitFrom(limit);
    beforeFrom(before);
    res.vary('Accept-Encoding');
    res.setHeader('ETag', '"constant"');
    res.setHeader('Cache-Control', 'no-cache');
    const takesGzip = req.headers['accept-encoding'] && req.acceptsEncodings('gzip', 'identity') === 'gzip';
    if (takesGzip) res.setHeader('Content-Encoding', 'gzip');
    const body = (takesGzip ? packed : plain).get(stored);
    res.setHeader('Content-Type', 'application/json; charset=utf-8');
    res.setHeader('Content-Length', body.length);
    res.end(body);
  });
}

const app = express();
app.disable('x-powered-by');
app.set('etag', false);
app.use(cors());
if (bodies) fromMemory(app);
else fromStore(app);

const server = http.createServer(app).listen(0, '127.0.0.1', () => {
  process.send({ type: 'listening', url: `http://127.0.0.1:${server.address().port}` });
});
process.once('disconnect', () => process.exit());
