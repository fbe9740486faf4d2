# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._ingress_files import (
    IngressPlaces,
    install,
    remove_certificates,
    saved_colour,
    write_certificate,
)


@pytest.fixture(name="places")
def places_fixture(tmp_path: pathlib.Path) -> IngressPlaces:
    return IngressPlaces(str(tmp_path / "stacks" / "demo" / "ingress"))


def mode(path: str) -> int:
    return pathlib.Path(path).stat().st_mode & 0o777


def test_it_is_installed_once(places: IngressPlaces) -> None:
    assert install(places, "global\n", "green")
    assert not install(places, "global\n", "green")
    assert saved_colour(places) == "green"
    assert [mode(path) for path in (places.folder, places.config, places.run)] == [0o700, 0o755, 0o700]


def test_no_colour_and_no_file_are_no_colour(places: IngressPlaces) -> None:
    assert saved_colour(places) is None
    install(places, "", None)
    assert saved_colour(places) is None


def test_a_certificate_has_a_name_of_its_content_and_one_reader(places: IngressPlaces) -> None:
    one, other = write_certificate(places, b"one"), write_certificate(places, b"other")
    assert one != other
    assert write_certificate(places, b"one") == one
    assert mode(f"{places.config}/{one}") == 0o400


def test_certificates_go_when_neither_configuration_names_them(places: IngressPlaces) -> None:
    names = [write_certificate(places, content) for content in (b"1", b"2", b"3")]
    pathlib.Path(places.previous).write_text(f"crt {names[1]}")
    remove_certificates(places, f"crt {names[2]}")
    left = {path.name for path in pathlib.Path(places.config).glob("tls-*")}
    assert left == {names[1], names[2]}
