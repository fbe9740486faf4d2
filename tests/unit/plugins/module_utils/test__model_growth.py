# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_growth import Growth
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import parse_source
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_transfer import BLOCK
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_wanted import WantedFile


def asked(growth: Growth, *times: tuple[float, int, int, int]) -> list[bool]:
    """Ask at each time, with workers, bytes received, and waits for a buffer."""
    return [growth.due(workers, received, waits, now) for now, workers, received, waits in times]


GROWTHS: list[t.Any] = [
    pytest.param([(0, 1, 0, 0), (0.9, 1, 900, 0), (1.0, 1, 1000, 0)], [False, False, True], id="after a second"),
    pytest.param(
        [(0, 1, 0, 0), (1, 1, 100, 0), (2, 2, 300, 0), (3, 3, 630, 0)], [False, True, True, True], id="each brings more"
    ),
    pytest.param(
        [(0, 1, 0, 0), (1, 1, 100, 0), (2, 2, 205, 0), (3, 2, 305, 0), (11.9, 2, 999, 0), (13, 2, 1999, 0)],
        [False, True, False, False, False, True],
        id="one brought nothing: rest, then try again",
    ),
    pytest.param(
        [(0, 1, 0, 0), (1, 1, 100, 3), (2, 1, 200, 3)], [False, False, True], id="not while this host is what limits"
    ),
    pytest.param([(0, 4, 0, 0), (1, 4, 100, 0), (9, 4, 999, 0)], [False, False, False], id="never above the limit"),
    pytest.param([(5, 1, 700, 0), (6, 1, 700, 0)], [False, True], id="nothing came: perhaps another one has luck"),
]


@pytest.mark.parametrize(("times", "due"), GROWTHS)
def test_one_more_worker_comes_while_the_one_before_has_brought_something(
    times: list[tuple[float, int, int, int]], due: list[bool]
) -> None:
    assert asked(Growth(4), *times) == due


@pytest.mark.parametrize(
    ("sizes", "limit", "processors", "workers"),
    [
        ([], 8, 2, 0),
        ([1], 8, 2, 1),
        ([1] * 9, 8, 2, 4),
        ([1] * 9, 2, 2, 2),
        ([BLOCK + 1] * 9, 8, 1, 1),
        ([BLOCK + 1] * 9, 8, 2, 2),
        ([BLOCK + 1] * 9, 8, 64, 4),
        ([BLOCK + 1], 8, 64, 1),
        ([BLOCK + 1, 1, 1], 8, 2, 3),
    ],
)
def test_it_begins_with_few_workers(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], limit: int, processors: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(processors)))
    files = [WantedFile(str(size), "a" * 64, size, (parse_source("https://h/m", "m"),)) for size in sizes]
    assert Growth(limit).start(files) == workers
