'use strict';

// The HTTP side of the API: candles, health, symbols, and the page with its chart library.
// It only reads. Live candles go over the WebSocket (live.js).

const path = require('node:path');
const express = require('express');
const compression = require('compression');
const cors = require('cors');
const { sendJson } = require('./answer');
const { BadRequest, beforeFrom, limitFrom, pageJson, seriesFrom } = require('./series');
const { TIMEFRAMES } = require('./config');

const CHARTS = path.join(
  path.dirname(require.resolve('lightweight-charts/package.json')),
  'dist/lightweight-charts.standalone.production.mjs',
);

/** Every symbol in the database with its timeframes, found by hopping from one to the next through the index. */
function symbolsOf(handle) {
  const known = handle.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?");
  const found = new Map();
  for (const timeframe of TIMEFRAMES) {
    if (!known.get(`candles_${timeframe}`)) continue;
    const next = handle.prepare(`SELECT MIN(symbol) AS symbol FROM candles_${timeframe} WHERE symbol > ?`);
    for (let at = next.get('').symbol; at !== null; at = next.get(at).symbol) {
      if (!found.has(at)) found.set(at, []);
      found.get(at).push(timeframe);
    }
  }
  return [...found]
    .filter(([stored]) => stored.includes(':'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([stored, timeframes]) => {
      const [exchange, symbol] = stored.split(/:(.*)/s);
      return { exchange, symbol, timeframes };
    });
}

/** The Express application on the exports of db.js. */
function createApp(db) {
  const app = express();
  app.disable('x-powered-by');
  app.set('etag', false); // these answers differ each time: a hash of them is work for nothing
  app.use(cors());

  // Before the compression of all others: it keeps its own.
  app.get('/api/candles', (req, res) => {
    res.vary('Accept-Encoding');
    const { query } = req;
    const series = seriesFrom(query);
    return sendJson(req, res, pageJson(db, series, limitFrom(query.limit), beforeFrom(query.before)));
  });

  app.use(compression({ level: 1, threshold: 4096 }));

  app.get('/api/health', (req, res) => {
    res.json({ status: 'ok', timestamp: Date.now(), ...db.getStats() });
  });

  app.get('/api/symbols', (req, res) => {
    res.json({ symbols: symbolsOf(db.dbReadOnly), timeframes: TIMEFRAMES });
  });

  app.get('/vendor/lightweight-charts.mjs', (req, res) => res.sendFile(CHARTS));
  app.use(express.static(path.join(__dirname, 'public')));

  app.use((req, res) => {
    res.status(404).json({
      error: `There is nothing at ${req.method} ${req.path.slice(0, 200)}. There are GET /api/candles, /api/health and /api/symbols.`,
    });
  });
  // Express tells an error handler by its four parameters.
  app.use((error, req, res, _next) => {
    const mine = error instanceof BadRequest || (error.status >= 400 && error.status < 500);
    // The raw handles tell by the cause what the store knows.
    const isBusy = error.retryable ?? error.cause?.retryable;
    const status = mine ? (error.status ?? 400) : isBusy ? 503 : 500;
    if (!mine) console.error(`${req.method} ${req.originalUrl}: ${error.stack ?? error}`);
    const code = typeof error.code === 'string' && !mine ? { code: error.code } : {};
    res.status(status).json({ error: error.message, ...code });
  });
  return app;
}

module.exports = { createApp };
