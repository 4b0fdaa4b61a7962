// The page: one chart, live over the WebSocket, older candles over HTTP when the chart is moved to the left.
// It holds no state but what is drawn; after a lost connection it subscribes anew and gets its history anew.

import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  createChart,
} from '/vendor/lightweight-charts.mjs';

const OLDER_CANDLES = 1000;
const NEAR_THE_LEFT_EDGE = 60;
const RECONNECT_MS = [500, 1000, 2000, 5000];
const TIMEFRAME_NAMES = { 15: '15m', 60: '1h', 240: '4h', 1440: '1d' };
const style = getComputedStyle(document.documentElement);
const color = (name) => style.getPropertyValue(`--${name}`).trim();
const element = (id) => document.getElementById(id);

const chart = createChart(element('chart'), {
  autoSize: true,
  layout: {
    background: { type: ColorType.Solid, color: color('ground') },
    textColor: color('quiet'),
    fontFamily: getComputedStyle(document.body).fontFamily,
  },
  grid: { vertLines: { color: '#1a2330' }, horzLines: { color: '#1a2330' } },
  crosshair: { mode: CrosshairMode.Normal },
  rightPriceScale: { borderColor: color('line') },
  timeScale: { borderColor: color('line'), timeVisible: true, secondsVisible: false, rightOffset: 6 },
});
const prices = chart.addSeries(CandlestickSeries, {
  upColor: color('up'),
  downColor: color('down'),
  wickUpColor: color('up'),
  wickDownColor: color('down'),
  borderVisible: false,
});
const volumes = chart.addSeries(HistogramSeries, {
  priceFormat: { type: 'volume' },
  priceScaleId: 'volume',
  lastValueVisible: false,
  priceLineVisible: false,
});
prices.priceScale().applyOptions({ scaleMargins: { top: 0.1, bottom: 0.24 } });
volumes.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });

/** What is shown: the series, and its candles ascending by time. */
let shown = { exchange: 'BINANCE', symbol: 'BTCUSDT', tf: 15 };
let candles = [];
let hasMore = false;
let loadingOlder = false;

const bar = ({ time, open, high, low, close }) => ({ time: time / 1000, open, high, low, close });
const volume = (candle) => ({
  time: candle.time / 1000,
  value: candle.volume,
  color: candle.close >= candle.open ? '#26b39a66' : '#ef5b5b66',
});
const isShown = ({ exchange, symbol, tf }) =>
  exchange === shown.exchange && symbol === shown.symbol && tf === shown.tf;

/** Decimals that this price level wants: 1 for bitcoin, 5 for a fraction of a cent. */
function decimals(price) {
  if (price >= 1000) return 2;
  if (price >= 10) return 3;
  return price >= 0.1 ? 4 : 6;
}

function drawAll() {
  const last = candles.at(-1);
  if (last) {
    const precision = decimals(last.close);
    prices.applyOptions({ priceFormat: { type: 'price', precision, minMove: 10 ** -precision } });
  }
  prices.setData(candles.map(bar));
  volumes.setData(candles.map(volume));
  element('empty').hidden = candles.length > 0;
  drawPrice();
}

function drawPrice() {
  const last = candles.at(-1);
  const price = element('price');
  if (!last) {
    price.textContent = '';
    return;
  }
  price.textContent = last.close.toLocaleString('en', { minimumFractionDigits: decimals(last.close) });
  price.className = last.close >= last.open ? 'up' : 'down';
  document.title = `${price.textContent} ${shown.symbol} - candlestore`;
  drawLegend(last);
}

function drawLegend(candle) {
  const legend = element('legend');
  legend.replaceChildren();
  if (!candle) return;
  const add = (name, value, className = '') => {
    const strong = document.createElement('b');
    strong.textContent = value;
    strong.className = className;
    legend.append(`${name} `, strong);
  };
  const direction = candle.close >= candle.open ? 'up' : 'down';
  for (const [name, field] of Object.entries({ O: 'open', H: 'high', L: 'low', C: 'close' })) {
    add(name, candle[field].toLocaleString('en', { maximumFractionDigits: 8 }), direction);
  }
  add('Volume', candle.volume.toLocaleString('en', { maximumFractionDigits: 2 }));
  if (candle.buyVolume > 0) {
    add(
      'Delta',
      candle.delta.toLocaleString('en', { maximumFractionDigits: 2 }),
      candle.delta >= 0 ? 'up' : 'down',
    );
  }
}

chart.subscribeCrosshairMove(({ time }) => {
  drawLegend(time === undefined ? candles.at(-1) : candles.find((candle) => candle.time === time * 1000));
});

chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
  if (range && range.from < NEAR_THE_LEFT_EDGE) loadOlder();
});

async function loadOlder() {
  if (loadingOlder || !hasMore || candles.length === 0) return;
  loadingOlder = true;
  const { exchange, symbol, tf } = shown;
  try {
    const query = new URLSearchParams({
      exchange,
      symbol,
      tf,
      limit: OLDER_CANDLES,
      before: candles[0].time,
    });
    const response = await fetch(`/api/candles?${query}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const older = await response.json();
    // The series may have been changed, or its history replaced, while the answer was on its way.
    if (!isShown({ exchange, symbol, tf })) return;
    candles = [...older.candles.filter(({ time }) => time < candles[0].time), ...candles];
    hasMore = older.hasMore;
    const range = chart.timeScale().getVisibleRange();
    drawAll();
    if (range) chart.timeScale().setVisibleRange(range);
  } catch (error) {
    console.warn(`Older candles: ${error.message}`);
  } finally {
    loadingOlder = false;
  }
}

function showHistory(message) {
  const oldest = message.candles[0]?.time ?? Infinity;
  const first = candles.length === 0;
  // After a reconnection what was loaded further left stays.
  const kept = candles.filter(({ time }) => time < oldest);
  const joins = kept.length > 0 && message.candles.length > 0;
  candles = joins ? [...kept, ...message.candles] : message.candles;
  if (!joins) hasMore = message.hasMore;
  drawAll();
  if (first) chart.timeScale().setVisibleLogicalRange({ from: candles.length - 160, to: candles.length + 6 });
}

function showCandle(candle) {
  const last = candles.at(-1);
  if (last && candle.time < last.time) {
    const at = candles.findIndex(({ time }) => time === candle.time);
    if (at < 0) return;
    candles[at] = candle;
    drawAll();
    return;
  }
  if (last && candle.time === last.time) candles[candles.length - 1] = candle;
  else candles.push(candle);
  if (candles.length === 1) return drawAll();
  prices.update(bar(candle));
  volumes.update(volume(candle));
  return drawPrice();
}

let socket = null;
let failures = 0;

function setState(state, text) {
  element('state').dataset.state = state;
  element('state').textContent = text;
}

function subscribe(type = 'subscribe') {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...shown }));
}

function connect() {
  socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`);
  socket.addEventListener('open', () => {
    failures = 0;
    setState('live', 'live');
    loadSymbols();
    subscribe();
  });
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'error') console.warn(message.message);
    else if (!isShown(message)) return;
    else if (message.type === 'history') showHistory(message);
    else if (message.type === 'candle') showCandle(message.candle);
  });
  socket.addEventListener('close', () => {
    const wait = RECONNECT_MS[Math.min(failures, RECONNECT_MS.length - 1)];
    failures += 1;
    setState('lost', 'connection lost, reconnecting');
    setTimeout(connect, wait);
  });
}

function show(next) {
  subscribe('unsubscribe');
  shown = { ...shown, ...next };
  candles = [];
  hasMore = false;
  drawAll();
  drawLegend(null);
  drawControls();
  history.replaceState(null, '', `#${shown.exchange}:${shown.symbol}:${shown.tf}`);
  subscribe();
}

let symbols = [];
let timeframes = [15, 60, 240, 1440];

function drawControls() {
  const select = element('symbol');
  const names = symbols.map(({ exchange, symbol }) => `${exchange}:${symbol}`);
  const current = `${shown.exchange}:${shown.symbol}`;
  if (!names.includes(current)) names.unshift(current);
  if (names.join() !== [...select.options].map(({ value }) => value).join()) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  select.value = current;

  element('timeframes').replaceChildren(
    ...timeframes.map((tf) => {
      const button = document.createElement('button');
      button.textContent = TIMEFRAME_NAMES[tf] ?? `${tf}m`;
      button.setAttribute('aria-pressed', String(tf === shown.tf));
      button.addEventListener('click', () => show({ tf }));
      return button;
    }),
  );
}

async function loadSymbols() {
  try {
    ({ symbols, timeframes } = await (await fetch('/api/symbols')).json());
    drawControls();
    // The collector may not have stored the first candle of every symbol yet.
    if (symbols.length === 0) setTimeout(loadSymbols, 1000);
  } catch (error) {
    console.warn(`Symbols: ${error.message}`);
  }
}

async function drawTotals() {
  try {
    const health = await (await fetch('/api/health')).json();
    const counts = timeframes.map(
      (tf) => `${TIMEFRAME_NAMES[tf]} ${(health[`candles_${tf}`] ?? 0).toLocaleString('en')}`,
    );
    element('totals').textContent =
      `Stored candles: ${counts.join('  ·  ')}  ·  lock waits ${health.lockWaitCount ?? 0}`;
  } catch {
    element('totals').textContent = '';
  }
}

element('symbol').addEventListener('change', ({ target }) => {
  const [exchange, symbol] = target.value.split(':');
  show({ exchange, symbol });
});

const wanted = location.hash.match(/^#([A-Z0-9_-]+):([A-Z0-9._-]+):(\d+)$/i);
if (wanted) shown = { exchange: wanted[1], symbol: wanted[2], tf: Number(wanted[3]) };
drawControls();
connect();
drawTotals();
setInterval(drawTotals, 5000);
setInterval(loadSymbols, 30_000);
