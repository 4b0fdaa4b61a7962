"""Looks at a database with Python's own SQLite: prints its integrity check, then count and newest time of a symbol."""

import json
import sqlite3
import sys

path, table = sys.argv[1:3]
db = sqlite3.connect(path, timeout=5)
print(
    json.dumps(
        {
            "integrity": db.execute("PRAGMA integrity_check").fetchone()[0],
            "series": {
                symbol: {"count": count, "newest": newest}
                for symbol, count, newest in db.execute(
                    f"SELECT symbol, count(*), max(time) FROM {table} GROUP BY symbol"
                )
            },
        }
    )
)
