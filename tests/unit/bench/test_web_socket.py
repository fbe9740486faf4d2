# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io

import pytest

from ansible_collections.emorobcare.fleet.bench.release.images.api import app

MASK = bytes.fromhex("37fa213d")


def test_the_answer_to_a_key_is_that_of_the_standard() -> None:
    assert app.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("mask", "frame"),
    [
        pytest.param(b"", "810548656c6c6f", id="a server's"),
        pytest.param(MASK, "818537fa213d7f9f4d5158", id="a client's"),
    ],
)
def test_frames_are_those_of_the_standards_examples(mask: bytes, frame: str) -> None:
    assert app.encode_frame(app.TEXT, b"Hello", mask).hex() == frame
    assert app.read_frame(io.BytesIO(bytes.fromhex(frame))) == (app.TEXT, b"Hello")


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("mask", [b"", MASK])
def test_frames_of_any_size_are_read_as_they_were_written(size: int, mask: bytes) -> None:
    payload = bytes(place % 251 for place in range(size))
    stream = io.BytesIO(app.encode_frame(app.PING, payload, mask) + b"more")
    assert app.read_frame(stream) == (app.PING, payload)
    assert stream.read() == b"more"


@pytest.mark.parametrize("frame", ["", "81", "8105", "8105486c", "817e00"])
def test_a_frame_that_ends_early_is_the_end_of_the_connection(frame: str) -> None:
    with pytest.raises(EOFError):
        app.read_frame(io.BytesIO(bytes.fromhex(frame)))


def test_a_message_in_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="parts"):
        app.read_frame(io.BytesIO(bytes.fromhex("010548656c6c6f")))
