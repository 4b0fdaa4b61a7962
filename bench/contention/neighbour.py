"""A foreign program that writes a little: one row into a table of its own every so many milliseconds, by Python's
sqlite3 with its time-out. It speaks the lines of worker.js.
    {"file", "table", "everyMs", "timeoutMs", "seconds"}
"""

import json
import sqlite3
import sys
import time

config = json.loads(sys.argv[1])


def say(message):
    print(json.dumps(message), flush=True)


connection = sqlite3.connect(config["file"], timeout=config["timeoutMs"] / 1000)
connection.execute(f"CREATE TABLE IF NOT EXISTS {config['table']} (number INTEGER PRIMARY KEY, price REAL)")
connection.commit()
latencies, locked, other, written, first_error = [], 0, 0, 0, None
say({"ready": True})
begin = json.loads(sys.stdin.readline())["at"] / 1000
time.sleep(max(0.0, begin - time.time()))
every = config["everyMs"] / 1000
due = time.monotonic()
end = due + config["seconds"]
while time.monotonic() < end:
    asked = time.monotonic()
    try:
        connection.execute(f"INSERT INTO {config['table']} (price) VALUES (?)", (asked,))
        connection.commit()
        written += 1
    except sqlite3.OperationalError as error:
        connection.rollback()
        first_error = first_error or str(error)
        if "locked" in str(error):
            locked += 1
        else:
            other += 1
    now = time.monotonic()
    latencies.append((now - asked) * 1000)
    due = max(due + every, now)
    time.sleep(max(0.0, min(due, end) - time.monotonic()))
stored = connection.execute(f"SELECT COUNT(*) FROM {config['table']}").fetchone()[0]
connection.close()
say(
    {
        "name": "python " + sqlite3.sqlite_version,
        "latencies": latencies,
        "locked": locked,
        "otherErrors": other,
        "firstError": first_error,
        "written": written,
        "stored": stored,
    }
)
