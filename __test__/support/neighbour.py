"""A Python process on the file that candlestore writes: `write` stores rows in small transactions of its own, `trickle`
one row at a time with a pause after each, `read` runs the query of the paper trader until its standard input ends. Any error ends it with a traceback and code 1."""

import json
import select
import sqlite3
import sys
import time

QUERY = (
    "SELECT time, open, high, low, close, volume, delta FROM candles_15 "
    "WHERE symbol = ? ORDER BY time DESC LIMIT ?"
)


def write(path, symbol, rows):
    db = sqlite3.connect(path, timeout=5)
    for first in range(0, rows, 10):
        with db:
            db.executemany(
                "INSERT OR REPLACE INTO candles_15"
                " (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count)"
                " VALUES (?, ?, 1.5, 2.5, 0.5, 2, ?, 0, 0, 0, 0)",
                [(symbol, 1704067200000 + n * 900000, n / 8) for n in range(first, first + 10)],
            )
    return rows


def trickle(path, symbol, rows):
    db = sqlite3.connect(path, timeout=5, isolation_level=None)
    for n in range(rows):
        db.execute(
            "INSERT INTO candles_15 (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count)"
            " VALUES (?, ?, 1.5, 2.5, 0.5, 2, ?, 0, 0, 0, 0)",
            [symbol, 1704067200000 + n * 900000, n / 8],
        )
        time.sleep(0.03)
    return rows


def read(path, symbol, limit):
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    queries = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        rows = db.execute(QUERY, (symbol, limit)).fetchall()
        times = [row[0] for row in rows]
        assert times == sorted(times, reverse=True), "not in descending order"
        queries += 1
    return queries


job, path, symbol, number = sys.argv[1:]
print(json.dumps({"write": write, "trickle": trickle, "read": read}[job](path, symbol, int(number))))
