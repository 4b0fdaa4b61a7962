'use strict';

// JSON over HTTP from one exchange, politely: a least distance between requests, a time-out for each, and another try
// with growing distance after what may pass (network errors, 5xx, 408, 429, 418, and refusals that the exchange's parser calls
// retryable). A Retry-After holds back every request to that exchange, not just the one that got it.
// Not here: what the answers mean (exchanges/), and when to give up on a series (backfill.js).

const { setTimeout: sleep } = require('node:timers/promises');

/** A request that failed for good, or as often as it may. */
class RequestError extends Error {
  constructor(message, { status = null, retryable = false, retryAfterMs = null, attempts = 1, cause } = {}) {
    super(message, { cause });
    this.name = 'RequestError';
    this.status = status;
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
    this.attempts = attempts;
  }
}

/** Milliseconds that a Retry-After header asks for: seconds or a date; null if it says neither. */
function retryAfterMs(header, now) {
  if (header == null || header.trim() === '') return null;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, date - now);
}

/** The innermost reason of a failed fetch: "fetch failed" alone helps nobody. */
function reason(error) {
  let cause = error;
  while (cause.cause?.message !== undefined) cause = cause.cause;
  if (cause.errors?.length > 0) cause = cause.errors[0]; // one for each address of the name
  return cause.message || cause.code || String(cause);
}

class HttpClient {
  #url;
  #spacingMs;
  #timeoutMs;
  #retry;
  #onRetry;
  #nextStart = 0;

  /** `retry` is the section of that name in config.json; `onRetry({ error, delayMs, attempt })` is told before a wait. */
  constructor({ url, spacingMs = 0, timeoutMs, retry, onRetry = () => {} }) {
    this.#url = url;
    this.#spacingMs = spacingMs;
    this.#timeoutMs = timeoutMs;
    this.#retry = retry;
    this.#onRetry = onRetry;
  }

  get url() {
    return this.#url;
  }

  /** The answer to GET `path`, made sense of by `parse(body)`; rejects with what the last attempt met. */
  async get(path, parse, signal) {
    const { attempts, firstDelayMs, longestDelayMs, longestRetryAfterMs } = this.#retry;
    for (let attempt = 1; ; attempt++) {
      await this.#turn(signal);
      try {
        return parse(await this.#once(path, signal));
      } catch (error) {
        signal?.throwIfAborted();
        error.attempts = attempt;
        if (!error.retryable || attempt >= attempts) throw error;
        if (error.retryAfterMs > longestRetryAfterMs) throw error;
        // Half of the distance is chance, so that several collectors do not come back at the same instant.
        const backoff =
          Math.min(firstDelayMs * 2 ** (attempt - 1), longestDelayMs) * (0.5 + Math.random() / 2);
        const delayMs = Math.max(backoff, error.retryAfterMs ?? 0);
        if (error.retryAfterMs)
          this.#nextStart = Math.max(this.#nextStart, performance.now() + error.retryAfterMs);
        this.#onRetry({ error, delayMs, attempt });
        await sleep(delayMs, undefined, { signal });
      }
    }
  }

  async #turn(signal) {
    for (;;) {
      signal?.throwIfAborted();
      const now = performance.now();
      if (now >= this.#nextStart) {
        this.#nextStart = now + this.#spacingMs;
        return;
      }
      await sleep(this.#nextStart - now, undefined, { signal });
    }
  }

  async #once(path, signal) {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    try {
      const response = await fetch(this.#url + path, {
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
        headers: { accept: 'application/json', 'user-agent': 'candlestore-collector' },
      });
      const text = await response.text();
      if (!response.ok) throw this.#refused(path, response, text);
      try {
        return JSON.parse(text);
      } catch {
        // Half an answer, or a proxy's page: the next try may bring the whole.
        throw new RequestError(
          `${this.#url}${path} answered with something that is not JSON: ${text.slice(0, 120)}`,
          {
            status: response.status,
            retryable: true,
          },
        );
      }
    } catch (error) {
      if (error instanceof RequestError) throw error;
      const why = timeout.aborted ? `no answer within ${this.#timeoutMs} ms` : reason(error);
      throw new RequestError(`${this.#url} cannot be reached: ${why}`, { retryable: true, cause: error });
    }
  }

  #refused(path, response, text) {
    const { status } = response;
    const retryable = status >= 500 || status === 408 || status === 418 || status === 429;
    return new RequestError(`${this.#url}${path} answered ${status}: ${text.slice(0, 200)}`, {
      status,
      retryable,
      retryAfterMs: retryable ? retryAfterMs(response.headers.get('retry-after'), Date.now()) : null,
    });
  }
}

module.exports = { HttpClient, RequestError, retryAfterMs };
