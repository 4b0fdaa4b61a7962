"""A connection of Python's sqlite3 that runs the statements it is told, as lines of JSON, until its input ends.
in  {"sql": "...", "parameters": [...]}
out {"rows": [...]} or {"error": "..."}
"""

import json
import sqlite3
import sys

db = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
for line in sys.stdin:
    told = json.loads(line)
    try:
        answer = {"rows": db.execute(told["sql"], told["parameters"]).fetchall()}
    except sqlite3.Error as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
