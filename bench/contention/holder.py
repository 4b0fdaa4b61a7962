"""Holds the write lock of a database, as a foreign program that writes for long: BEGIN IMMEDIATE, hold, roll back,
rest, until its input ends. It speaks the lines of worker.js.
    {"file", "holdSeconds", "restSeconds"}
"""

import json
import select
import sqlite3
import sys
import time

config = json.loads(sys.argv[1])


def say(message):
    print(json.dumps(message), flush=True)


def told_to_stop(seconds):
    return bool(select.select([sys.stdin], [], [], seconds)[0])


connection = sqlite3.connect(config["file"], isolation_level=None, timeout=30)
result = {"held": 0, "heldSeconds": 0.0, "waitedSeconds": 0.0, "errors": 0}
say({"ready": True})
begin = json.loads(sys.stdin.readline())["at"] / 1000
time.sleep(max(0.0, begin - time.time()))
stop = False
while not stop:
    asked = time.monotonic()
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        result["errors"] += 1
        result.setdefault("firstError", str(error))
        stop = told_to_stop(0)
        continue
    held = time.monotonic()
    stop = told_to_stop(config["holdSeconds"])
    connection.execute("ROLLBACK")
    result["held"] += 1
    result["waitedSeconds"] += held - asked
    result["heldSeconds"] += time.monotonic() - held
    stop = stop or told_to_stop(config["restSeconds"])
connection.close()
say(result)
