# A foreign writer: the standard sqlite3 module, one commit for each line of stdin.
#   in  {"table", "symbol", "candle"}

import json
import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
for line in sys.stdin:
    message = json.loads(line)
    candle = message["candle"]
    connection.execute(
        f"INSERT INTO {message['table']} (symbol, time, open, high, low, close, volume, buy_volume, sell_volume, delta, trade_count)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (symbol, time) DO UPDATE SET open = excluded.open, high = excluded.high, low = excluded.low,"
        " close = excluded.close, volume = excluded.volume, buy_volume = excluded.buy_volume,"
        " sell_volume = excluded.sell_volume, delta = excluded.delta, trade_count = excluded.trade_count",
        [message["symbol"]]
        + [candle[name] for name in ("time", "open", "high", "low", "close", "volume")]
        + [candle[name] for name in ("buyVolume", "sellVolume", "delta", "tradeCount")],
    )
    print("ok", flush=True)
