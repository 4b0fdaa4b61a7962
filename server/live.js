'use strict';

// The live feed: a client subscribes to a series, gets its history, and from then on each candle that is committed.
//
// Who wrote the candle does not matter: this process, another one, or Python. `PRAGMA data_version` on a connection
// that never writes tells that somebody has committed; it is asked every 100 ms, and only while anyone is subscribed.
// Then each series that is subscribed to is read once, from the newest candle its subscribers have, and each of them is
// sent what differs.
//
// A subscription remembers no more than the newest candle it was sent. What a slow socket misses is not kept: it is
// read again when the socket has drained, which gives the latest state. So memory per socket is bounded.
// Nothing is missed between history and first candle: the version is read before the history is.

const { WebSocketServer } = require('ws');
const { BadRequest, page, quoted, seriesFrom } = require('./series');

const LIMITS = {
  pollMs: 100,
  pingMs: 30_000,
  historyCandles: 500,
  /** Further behind than this, a subscriber gets a new history instead of every single candle. */
  catchUpCandles: 5000,
  subscriptionsPerSocket: 100,
  messageBytes: 4096,
  /** With more than this waiting in a socket, nothing further is put into it. */
  socketBytes: 1024 * 1024,
};

class LiveFeed {
  #db;
  #limits;
  #sockets;
  /** `table symbol` -> { named, members: Set of subscriptions } */
  #series = new Map();
  #version = null;
  #polling = null;
  #pinging;

  constructor(server, db, limits = {}) {
    this.#db = db;
    this.#limits = { ...LIMITS, ...limits };
    this.#sockets = new WebSocketServer({
      server,
      maxPayload: this.#limits.messageBytes,
      perMessageDeflate: false, // candles are small, and a compressor per socket is not
      autoPong: false,
    });
    this.#sockets.on('connection', (socket) => this.#welcome(socket));
    this.#sockets.on('error', () => {}); // the HTTP server's errors, which api.js reports
    this.#pinging = setInterval(() => this.#ping(), this.#limits.pingMs);
    this.#pinging.unref();
  }

  get subscriptions() {
    return [...this.#series.values()].reduce((sum, { members }) => sum + members.size, 0);
  }

  get polling() {
    return this.#polling !== null;
  }

  close() {
    clearInterval(this.#pinging);
    clearInterval(this.#polling);
    this.#polling = null;
    for (const socket of this.#sockets.clients) {
      socket.close(1001, 'The server is stopping.');
      setTimeout(() => socket.terminate(), 200).unref();
    }
    this.#sockets.close();
  }

  #welcome(socket) {
    socket.subscriptions = new Map();
    socket.alive = true;
    socket.waiting = null;
    socket.on('pong', () => (socket.alive = true));
    socket.on('ping', () => this.#hasRoom(socket) && socket.pong());
    socket.on('error', () => {}); // a broken connection or an oversized message: `close` follows
    socket.on('close', () => {
      for (const key of [...socket.subscriptions.keys()]) this.#leave(socket, key);
    });
    socket.on('message', (text, binary) => {
      try {
        this.#receive(socket, text, binary);
      } catch (error) {
        if (!(error instanceof BadRequest)) console.error(`WebSocket: ${error.stack ?? error}`);
        if (this.#hasRoom(socket)) this.#send(socket, { type: 'error', message: error.message });
      }
    });
  }

  /** A socket that answered no ping since the last one, or took in nothing of a full buffer, is gone, whatever TCP says. */
  #ping() {
    for (const socket of this.#sockets.clients) {
      const waiting = socket.bufferedAmount;
      const full = !this.#hasRoom(socket);
      if (!socket.alive || (full && waiting === socket.waiting)) {
        socket.terminate();
        continue;
      }
      socket.waiting = full ? waiting : null;
      if (full) continue;
      socket.alive = false;
      socket.ping();
    }
  }

  #receive(socket, text, binary) {
    let message;
    try {
      message = binary ? null : JSON.parse(text);
    } catch {
      throw new BadRequest(`The message is not JSON: ${quoted(text.toString('utf8', 0, 80))}`);
    }
    if (message === null || typeof message !== 'object') {
      throw new BadRequest('A message must be a JSON object with type, exchange, symbol and tf.');
    }
    const { type, exchange, symbol, tf } = message;
    if (type !== 'subscribe' && type !== 'unsubscribe') {
      throw new BadRequest(`type is ${quoted(type)}; expected subscribe or unsubscribe.`);
    }
    const named = seriesFrom({ exchange, symbol, tf });
    const key = `${named.table} ${named.stored}`;
    if (type === 'unsubscribe') this.#leave(socket, key);
    else this.#join(socket, key, named);
  }

  #join(socket, key, named) {
    const { subscriptionsPerSocket } = this.#limits;
    if (!socket.subscriptions.has(key) && socket.subscriptions.size >= subscriptionsPerSocket) {
      throw new BadRequest(
        `This connection has ${subscriptionsPerSocket} subscriptions, which is the most; unsubscribe first.`,
      );
    }
    if (!this.#series.has(key)) this.#series.set(key, { named, members: new Set() });
    let subscription = socket.subscriptions.get(key);
    if (!subscription) {
      subscription = { socket, newestTime: null, newestText: null, behind: true };
      socket.subscriptions.set(key, subscription);
      this.#series.get(key).members.add(subscription);
    }
    // Subscribed again: the history again, as a client that lost count expects.
    subscription.newestTime = null;
    subscription.behind = true;
    if (this.#polling === null) {
      this.#version = this.#readVersion(); // before the history is read
      this.#polling = setInterval(() => this.#poll(), this.#limits.pollMs);
    }
    if (this.#hasRoom(socket)) this.#sendHistory(named, subscription);
  }

  #leave(socket, key) {
    const series = this.#series.get(key);
    const subscription = socket.subscriptions.get(key);
    if (!subscription) return;
    socket.subscriptions.delete(key);
    series.members.delete(subscription);
    if (series.members.size === 0) this.#series.delete(key);
    if (this.#series.size === 0) {
      clearInterval(this.#polling);
      this.#polling = null;
    }
  }

  #readVersion() {
    return this.#db.dbReadOnly.pragma('data_version', { simple: true });
  }

  #poll() {
    let changed;
    try {
      const version = this.#readVersion(); // before the candles are read: a commit in between counts as the next change
      changed = version !== this.#version;
      this.#version = version;
    } catch (error) {
      console.error(`Live feed: ${error.message}`);
      return; // the version stands as it was: the next poll finds the same change
    }
    for (const series of this.#series.values()) {
      const due = [];
      for (const subscription of series.members) {
        if (changed) subscription.behind = true;
        if (subscription.behind && this.#hasRoom(subscription.socket)) due.push(subscription);
      }
      if (due.length === 0) continue;
      try {
        this.#bringUp(series.named, due);
      } catch (error) {
        console.error(`Live feed, ${series.named.stored}: ${error.message}`); // still behind: the next poll tries again
      }
    }
  }

  /** Reads the series once and sends each of the subscriptions what it has not yet. */
  #bringUp(named, due) {
    const current = [];
    for (const subscription of due) {
      if (subscription.newestTime === null) this.#sendHistory(named, subscription);
      else current.push(subscription);
    }
    if (current.length === 0) return;

    const { catchUpCandles } = this.#limits;
    const since = Math.min(...current.map(({ newestTime }) => newestTime));
    const candles = this.#db
      .getCandles(named.table, named.stored, {
        after: Math.max(since - 1, 0),
        limit: catchUpCandles + 1,
        readOnly: true,
      })
      .map((candle) => ({ time: candle.time, text: JSON.stringify(candle) }))
      .filter(({ time }) => time >= since);
    const tooMany = candles.length > catchUpCandles;
    const { exchange, symbol, tf } = named;
    const head = `{"type":"candle","exchange":${JSON.stringify(exchange)},"symbol":${JSON.stringify(symbol)},"tf":${tf},"candle":`;

    for (const subscription of current) {
      if (tooMany) {
        this.#sendHistory(named, subscription);
        continue;
      }
      subscription.behind = false;
      for (const { time, text } of candles) {
        if (time < subscription.newestTime) continue;
        if (time === subscription.newestTime && text === subscription.newestText) continue;
        subscription.newestTime = time;
        subscription.newestText = text;
        subscription.socket.send(`${head}${text}}`);
      }
    }
  }

  #sendHistory(named, subscription) {
    const { tf } = named;
    const { candles, exchange, symbol, ...rest } = page(this.#db, named, this.#limits.historyCandles, null);
    this.#send(subscription.socket, { type: 'history', exchange, symbol, tf, ...rest, candles });
    const newest = candles.at(-1);
    // Of an empty series everything that comes is new.
    subscription.newestTime = newest ? newest.time : 0;
    subscription.newestText = newest ? JSON.stringify(newest) : null;
    subscription.behind = false;
  }

  #hasRoom(socket) {
    return socket.readyState === socket.OPEN && socket.bufferedAmount <= this.#limits.socketBytes;
  }

  #send(socket, message) {
    socket.send(JSON.stringify(message));
  }
}

module.exports = { LiveFeed };
