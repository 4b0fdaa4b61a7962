'use strict';

// The two routes of the API around any db.js, given by its path, so that both sides of a load run answer with the same
// code. It is not the server of this project (server/api.js), which does more.

const express = require('express');
const { summary } = require('./latency.js');

const db = require(process.argv[2]);

// The API process of the contract loads the collector's module, and with it this line.
db.db.transaction((table, symbol, candles) => {
  for (const c of candles) db.upsertCandle(table, symbol, c);
});

/** How long the store itself kept the event loop, apart from HTTP and JSON. */
const spent = { getCandles: [], getStats: [] };

function timed(name, ...args) {
  const start = performance.now();
  const result = db[name](...args);
  spent[name].push(performance.now() - start);
  return result;
}

const app = express();
app.disable('x-powered-by');

app.get('/api/candles', (request, response) => {
  const { symbol, exchange, tf, limit, before } = request.query;
  const candles = timed(
    'getCandles',
    `candles_${tf}`,
    `${exchange}:${symbol}`.toUpperCase(),
    Number(limit),
    Number(before) || null,
    true,
  );
  response.json({
    candles,
    exchange,
    symbol,
    oldestTime: candles[0]?.time ?? null,
    hasMore: candles.length === Number(limit),
  });
});

app.get('/api/health', (_request, response) => {
  response.json({ status: 'ok', timestamp: Date.now(), ...timed('getStats') });
});

const server = app.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));

process.once('message', () => {
  process.send({
    stats: db.getStats(),
    getCandles: summary(spent.getCandles),
    getStats: summary(spent.getStats),
    peakMiB: process.resourceUsage().maxRSS / 1024,
  });
  server.closeAllConnections();
  server.close(() => process.exit());
});
