# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_range import (
    Asked,
    Part,
    range_headers,
    read_part,
    told_by_head,
    told_by_refusal,
    validator_of,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._http_wire import Head
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Told

DATE = "Mon, 23 Nov 2026 23:47:55 GMT"


def head(status: int = 200, **headers: str) -> Head:
    return Head(status, "", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("asked", "validator", "headers"),
    [
        (Asked(), "", {}),
        (Asked(), '"v1"', {}),
        (Asked(0, 10), "", {"Range": "bytes=0-9"}),
        (Asked(5), '"v1"', {"Range": "bytes=5-", "If-Range": '"v1"'}),
        (Asked(5, 6), DATE, {"Range": "bytes=5-5", "If-Range": DATE}),
        (Asked(5, 6), 'W/"v1"', {"Range": "bytes=5-5"}),
    ],
)
def test_a_range_is_asked_for_of_one_version(asked: Asked, validator: str, headers: dict[str, str]) -> None:
    assert range_headers(asked, validator) == headers


@pytest.mark.parametrize(
    ("answer", "validator"),
    [
        (head(etag='"v1"', last_modified=DATE), '"v1"'),
        (head(etag='W/"v1"', last_modified=DATE), DATE),
        (head(etag="v1", last_modified=DATE), DATE),
        (head(etag='W/"v1"'), ""),
        (head(), ""),
    ],
)
def test_only_a_strong_validator_tells_versions_apart(answer: Head, validator: str) -> None:
    assert validator_of(answer) == validator


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (head(content_length="7", etag='"v1"', accept_ranges="bytes"), Told(7, '"v1"', True)),
        (head(content_length="7"), Told(7, "", True)),
        (head(content_length="7", accept_ranges="None"), Told(7, "", False)),
        (head(), Told(None, "", True)),
        (head(content_length="many"), Told(None, "", True)),
    ],
)
def test_a_head_tells_size_version_and_ranges(answer: Head, told: Told) -> None:
    assert told_by_head(answer) == told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (head(416, content_range="bytes */0", etag='"v1"'), Told(0, '"v1"', True)),
        (head(416, content_range="bytes */*"), None),
        (head(416), None),
    ],
)
def test_an_empty_file_is_told_by_its_refusal(answer: Head, told: Told | None) -> None:
    assert told_by_refusal(answer) == told


PARTS = [
    pytest.param(head(), 7, Asked(), Part(Told(7, "", True), 0, 7), id="the whole"),
    pytest.param(head(), None, Asked(), Part(Told(None, "", True), 0, None), id="the whole, without length"),
    pytest.param(head(accept_ranges="none"), 7, Asked(), Part(Told(7, "", False), 0, 7), id="no ranges here"),
    pytest.param(head(), 7, Asked(2, 4), Part(Told(7, "", False), 0, 7), id="range ignored"),
    pytest.param(head(), 7, Asked(0, 4), Part(Told(7, "", False), 0, 7), id="range from 0 ignored"),
    pytest.param(
        head(206, content_range="bytes 2-3/7", etag='"v"'), 2, Asked(2, 4), Part(Told(7, '"v"', True), 2, 2), id="range"
    ),
    pytest.param(
        head(206, content_range="bytes 2-6/7"), None, Asked(2), Part(Told(7, "", True), 2, 5), id="to the end, chunked"
    ),
    pytest.param(
        head(206, content_range="Bytes 2-3/*"), 2, Asked(2, 4), Part(Told(None, "", True), 2, 2), id="size not said"
    ),
    pytest.param(head(206, content_range="bytes 2-2/7"), 1, Asked(2, 4), Part(Told(7, "", True), 2, 1), id="less"),
    pytest.param(head(206, content_range="bytes 2-6/7"), 5, Asked(2, 4), Part(Told(7, "", True), 2, 2), id="more"),
]


@pytest.mark.parametrize(("answer", "length", "asked", "part"), PARTS)
def test_an_answer_tells_which_bytes_it_brings(answer: Head, length: int | None, asked: Asked, part: Part) -> None:
    assert read_part(answer, length, asked, "x") == part


@pytest.mark.parametrize(
    ("answer", "length", "asked", "says"),
    [
        (head(206, content_range="bytes 3-4/7"), 2, Asked(2, 4), "bytes 3-4"),
        (head(206, content_range="bytes 2-3/3"), 2, Asked(2, 4), "cannot be"),
        (head(206, content_range="bytes 2-1/7"), 0, Asked(2, 4), "cannot be"),
        (head(206, content_range="bytes 2-3/7"), 7, Asked(2, 4), "with 7 bytes, which cannot be"),
        (head(206, content_range="bytes */7"), 2, Asked(2, 4), "cannot be placed"),
        (head(206, content_range="pages 2-3/7"), 2, Asked(2, 4), "'pages 2-3/7'"),
        (head(206, content_type="multipart/byteranges; boundary=x"), 99, Asked(2, 4), "multipart/byteranges"),
        (head(206), 2, Asked(2, 4), "no Content-Range"),
        (head(206, content_range="bytes 0-6/7"), 7, Asked(), "asked for the whole file"),
    ],
)
def test_an_answer_that_lies_about_its_range_is_refused(answer: Head, length: int, asked: Asked, says: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_part(answer, length, asked, "https://h/x")
    assert says in str(caught.value)
    assert str(caught.value).startswith("https://h/x: asked for ")
    assert (caught.value.reason, caught.value.transient) == ("unavailable", False)
