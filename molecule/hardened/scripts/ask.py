"""Ask a page again and again, each time over a new connection, until a file is there; then tell how often it answered.

Usage: ask.py URL STOP
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request


def main() -> None:
    url, stop = sys.argv[1:3]
    answered, failures, slowest = 0, [], 0.0
    while not os.path.exists(stop):
        began = time.monotonic()
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                answer.read()
            answered += 1
        except OSError as exc:
            failures.append(str(exc))
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.02)
    print(json.dumps({"answered": answered, "failures": failures, "slowest": round(slowest, 2)}))


main()
