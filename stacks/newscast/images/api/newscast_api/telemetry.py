# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Request metrics and a limit on request bodies, as plain ASGI."""

from __future__ import annotations

import json
import time

import prometheus_client
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """What ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self.requests = prometheus_client.Counter(
            "http_requests", "Requests answered.", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = prometheus_client.Histogram(
            "http_request_seconds", "Time to answer a request.", ["route"], buckets=BUCKETS, registry=self.registry
        )
        self.ready = prometheus_client.Gauge(
            "part_ready", "1 if the part was ready when last asked.", ["part"], registry=self.registry
        )

    def text(self) -> bytes:
        return prometheus_client.generate_latest(self.registry)


class Observe:
    """Count and time every request, and refuse a body of more than ``max_body`` bytes with 413."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            if self._declared(scope) > self._max_body:
                await self._refuse(watched_send)
            else:
                await self._app(scope, receive, watched_send)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")  # never the raw path: it has no end of values
            self._metrics.requests.labels(scope["method"], route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _declared(self, scope: Scope) -> int:
        headers = dict(scope["headers"])
        if b"transfer-encoding" in headers:
            return self._max_body + 1  # of unknown length: no client of this API needs it
        length = headers.get(b"content-length", b"0")
        return int(length) if length.isdigit() else self._max_body + 1

    async def _refuse(self, send: Send) -> None:
        body = json.dumps({"detail": f"the body is larger than {self._max_body} bytes, or of unknown length"}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def metrics_type() -> str:
    """The content type of ``Metrics.text``."""
    return prometheus_client.CONTENT_TYPE_LATEST
