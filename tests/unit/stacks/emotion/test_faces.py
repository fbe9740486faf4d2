# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from emotion_app.emotions import EMOTIONS, MAX_PIXELS, STRESS, Face, read_picture
from emotion_app.errors import ModelError, PictureError
from emotion_app.faces import Box, Grey, load_cascade
from PIL import Image

# One stage of one stump: the upper half of the window is darker than the lower one.
CASCADE = """<?xml version="1.0"?><opencv_storage><half type_id="opencv-haar-classifier"><size>24 24</size><stages><_>
<trees><_><_><feature><rects><_>0 0 24 24 -1.</_><_>0 12 24 12 2.</_></rects><tilted>0</tilted></feature>
<threshold>0.9</threshold><left_val>-1.</left_val><right_val>1.</right_val></_></_></trees>
<stage_threshold>0.5</stage_threshold><parent>-1</parent><next>-1</next></_></stages></half></opencv_storage>"""


@pytest.fixture(name="cascade_file")
def cascade_file_fixture(tmp_path: Path) -> Path:
    file = tmp_path / "cascade.xml"
    file.write_text(CASCADE)
    return file


def half_dark(side: int, at: tuple[int, int], size: int) -> Grey:
    """A restless picture with a square whose upper half is dark and whose lower half is bright."""
    ys, xs = np.mgrid[0:side, 0:side]
    picture: Grey = ((xs // 4 + ys // 4) % 2 * 255).astype(np.uint8)
    left, top = at
    picture[top : top + size // 2, left : left + size] = 0
    picture[top + size // 2 : top + size, left : left + size] = 255
    return picture


def test_what_the_cascade_knows_is_found_where_it_is(cascade_file: Path) -> None:
    found = load_cascade(cascade_file).find(half_dark(160, (60, 40), 48))
    assert found
    for box in found:
        assert abs(box.left + box.size / 2 - 84) <= 14
        assert abs(box.top + box.size / 2 - 64) <= 4


@pytest.mark.parametrize("picture", [np.zeros((100, 100), np.uint8), np.full((30, 200), 255, np.uint8)])
def test_nothing_is_found_where_nothing_is(cascade_file: Path, picture: Grey) -> None:
    assert load_cascade(cascade_file).find(picture) == []


def test_a_picture_smaller_than_the_window_has_no_face(cascade_file: Path) -> None:
    assert load_cascade(cascade_file).find(np.zeros((10, 10), np.uint8)) == []


BAD = [
    pytest.param("", id="empty"),
    pytest.param("<a/>", id="something else"),
    pytest.param(CASCADE.replace("0 0 24 24 -1.", "0 0 x"), id="damaged"),
    pytest.param('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', id="with entities"),
]


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_cascade_is_refused_by_its_path(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cascade.xml"
    file.write_text(text)
    with pytest.raises(ModelError, match=r"cascade\.xml is no cascade"):
        load_cascade(file)


def face(**shares: float) -> Face:
    return Face(Box(0, 0, 10), {name: shares.get(name, 0.0) for name in EMOTIONS})


def test_stress_is_the_mean_of_the_emotions_weights() -> None:
    assert face(happy=1.0).stress == 0.0
    assert face(fear=0.5, happy=0.5).stress == 0.5
    assert set(STRESS) == set(EMOTIONS)


@pytest.mark.parametrize(
    ("shares", "level"), [({"happy": 1.0}, "low"), ({"sad": 0.5, "happy": 0.5}, "medium"), ({"angry": 1.0}, "high")]
)
def test_stress_has_three_levels(shares: dict[str, float], level: str) -> None:
    assert face(**shares).stress_level == level


def png(size: tuple[int, int], mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 0).save(file, "PNG")
    return file.getvalue()


def test_a_picture_becomes_grey_pixels() -> None:
    assert read_picture(png((7, 5))).shape == (5, 7)


PICTURES = [
    pytest.param(b"", "no picture in one of JPEG, PNG, WEBP", id="nothing"),
    pytest.param(b"GIF89a" + bytes(100), "no picture in one of", id="another format"),
    pytest.param(png((50, 50))[:-30], "no picture in one of", id="half a picture"),
    pytest.param(png((4000, 4000), "1"), f"4000 x 4000 pixels; allowed are {MAX_PIXELS}", id="a bomb"),
]


@pytest.mark.parametrize(("body", "message"), PICTURES)
def test_what_is_no_picture_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(PictureError, match=message):
        read_picture(body)
