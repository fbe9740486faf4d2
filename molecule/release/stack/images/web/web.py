"""Counts, or tells what counts; with `probe`, asks the one that runs."""

from __future__ import annotations

import http.server
import json
import os
import sys
import urllib.request

COUNT = "/data/count"


def ask(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=2) as answer:
        return dict(json.loads(answer.read()))


def count() -> dict[str, object]:
    with open(COUNT, encoding="ascii") as file:
        number = int(file.read()) + 1
    with open(f"{COUNT}.new", "w", encoding="ascii") as file:
        file.write(str(number))
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{COUNT}.new", COUNT)
    return {"count": number}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        counter = os.environ.get("COUNTER")
        body = json.dumps({**ask(counter), "text": os.environ["TEXT"]} if counter else count()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    if "probe" in sys.argv:
        ask("http://127.0.0.1:8000/")
    else:
        http.server.HTTPServer(("", 8000), Handler).serve_forever()
