# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Celery's side: ``celery --app samplemind.worker worker | beat | flower``.

The worker analyses what is asked for; beat asks again, each minute, for what nobody finished.
"""

from __future__ import annotations

import os
import sys
import time
import typing as t

import celery

from .analysis import finish
from .errors import SettingsError, StoreError
from .index import Index
from .library import Library, open_library
from .settings import read_settings

UNFINISHED_SECONDS = 60.0
TASK = "samplemind.analyse"

try:
    SETTINGS = read_settings(os.environ)
except SettingsError as fault:
    print(f"samplemind: {fault}", file=sys.stderr)
    sys.exit(78)  # EX_CONFIG

app = celery.Celery("samplemind", broker=SETTINGS.queue_url, backend=SETTINGS.queue_url)
app.conf.update(
    # A task that a dying worker had in hand is given to another one: it may be done twice, which changes nothing.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    result_expires=3600,
    worker_hijack_root_logger=False,
    task_time_limit=120,
    timezone="UTC",
    beat_schedule={"unfinished": {"task": "samplemind.unfinished", "schedule": UNFINISHED_SECONDS}},
)

_parts: list[t.Any] = []


def parts() -> tuple[Library, Index]:
    """The library and the index, opened by the first task of a process. Raises StoreError."""
    if not _parts:
        _parts.extend([open_library(SETTINGS), Index(SETTINGS.index_url)])
    return _parts[0], _parts[1]


@app.task(name=TASK, autoretry_for=(StoreError,), retry_backoff=1, retry_backoff_max=30, max_retries=20)
def analyse(sample_id: str) -> bool:
    return finish(*parts(), sample_id)


@app.task(name="samplemind.unfinished")
def unfinished() -> int:
    """Ask again for the samples that wait for longer than they should; return how many there are."""
    library, _index = parts()
    waiting = library.unfinished(time.time() - UNFINISHED_SECONDS)
    for sample_id in waiting:
        analyse.delay(sample_id)
    return len(waiting)
