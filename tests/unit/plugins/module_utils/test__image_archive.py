# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import (
    Layer,
    image_config,
    loaded_image,
    read_layer,
    write_archive,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import PLATFORMS, Platform

ID = f"sha256:{'a' * 64}"


@pytest.fixture(name="layer")
def layer_fixture(tmp_path: Path) -> Layer:
    path = tmp_path / "layer.tar"
    path.write_bytes(b"x" * 3_000_000)
    return read_layer(str(path))


def test_a_layer_is_known_by_the_digest_of_its_bytes(layer: Layer) -> None:
    assert (layer.digest, layer.size) == (hashlib.sha256(b"x" * 3_000_000).hexdigest(), 3_000_000)


def test_the_configuration_names_the_layer_and_is_canonical(layer: Layer) -> None:
    config = image_config(layer, "made", 0, {"b": "1", "a": "2"}, {"PATH": "/bin"})
    assert json.loads(config)["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{layer.digest}"]}
    assert json.loads(config)["created"] == "1970-01-01T00:00:00Z"
    assert config == image_config(layer, "made", 0, {"a": "2", "b": "1"}, {"PATH": "/bin"})


FOREIGN = [
    pytest.param(PLATFORMS[1], ("arm64", None), id="arm64"),
    pytest.param(PLATFORMS[2], ("arm", "v7"), id="a variant"),
]


@pytest.mark.parametrize(("platform", "said"), FOREIGN)
def test_the_configuration_says_what_the_programs_are_for(
    layer: Layer, platform: Platform, said: tuple[str, str | None]
) -> None:
    config = json.loads(image_config(layer, "made", 0, {}, {}, platform))
    assert (config["os"], config["architecture"], config.get("variant")) == ("linux", *said)


def test_without_a_foreign_platform_they_are_for_this_machine(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    config = json.loads(image_config(layer, "made", 0, {}, {}))
    assert (config["architecture"], "variant" in config) == ("arm64", False)


def test_half_an_archive_names_no_image(layer: Layer) -> None:
    buffer = io.BytesIO()
    write_archive(buffer, [layer], b"{}")
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        names = tar.getnames()
        manifest = json.load(t.cast("t.IO[bytes]", tar.extractfile("manifest.json")))
    assert names[-1] == "manifest.json"
    assert manifest == [{"Config": names[1], "RepoTags": None, "Layers": [names[0]]}]
    assert names[1] == f"{hashlib.sha256(b'{}').hexdigest()}.json"


ANSWERS = [
    pytest.param(f"Loaded image ID: {ID}\n", ID, id="the classic store"),
    pytest.param(f"Loaded image: {ID}\n", ID, id="the containerd store"),
    pytest.param("Loaded image: name:tag\n", None, id="another image"),
    pytest.param("", None, id="nothing"),
]


@pytest.mark.parametrize(("output", "image"), ANSWERS)
def test_the_loaded_image_is_read_from_what_docker_says(output: str, image: str | None) -> None:
    assert loaded_image(output) == image
