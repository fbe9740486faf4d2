# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the backend: ``python -m samplemind``."""

from __future__ import annotations

import logging
import os
import sys
import typing as t

import celery
import redis
import uvicorn

from .app import Parts, create_app
from .errors import SettingsError, StoreError
from .index import Index
from .library import open_library
from .settings import read_settings

PORT = 8000
GRACE_SECONDS = 5  # for requests that run when the service is told to stop
TASK = "samplemind.analyse"  # worker.py has it


class Queue:
    """Asks the worker."""

    def __init__(self, url: str) -> None:
        self._app = celery.Celery("samplemind", broker=url)
        self._app.conf.update(broker_transport_options={"socket_timeout": 3, "socket_connect_timeout": 3})
        self._redis: t.Any = redis.Redis.from_url(url, socket_timeout=3, socket_connect_timeout=3)

    def ask(self, sample_id: str) -> None:
        """Raises StoreError if the queue does not take it."""
        try:
            self._app.send_task(TASK, [sample_id], retry=False, ignore_result=True)
        except Exception as error:  # the transport raises its own kinds
            raise StoreError(f"the queue does not answer: {error}") from error

    def check(self) -> None:
        try:
            self._redis.ping()
        except redis.RedisError as error:
            raise StoreError(f"the queue does not answer: {error}") from error


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"samplemind: {error}", file=sys.stderr)
        return 78  # EX_CONFIG
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    uvicorn.run(
        create_app(lambda: Parts(open_library(settings), Index(settings.index_url), Queue(settings.queue_url))),
        host="0.0.0.0",
        port=PORT,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,  # the health checks alone would fill it; /metrics counts requests
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
