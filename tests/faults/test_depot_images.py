# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of this machine's engine in a depot: what other tools make of them, and what is not written twice."""

from __future__ import annotations

import json
import random
import secrets
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_images
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest, parse_manifest
from ansible_collections.emorobcare.fleet.tests.faults._debian_tools import debian_tools
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot_writing import Builder, Result

LABEL = "org.emorobcare.fleet.lab=write"
SIZE = 300_000  # bytes in a layer


class Images:
    """Images of files, a layer each, which are gone after the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"fleet-test-{secrets.token_hex(4)}/api"
        self.made: list[str] = []

    def make(self, tag: str, *seeds: int) -> str:
        reference = f"{self.name}:{tag}"
        context = self.folder / tag
        context.mkdir()
        for number, seed in enumerate(seeds):
            (context / str(number)).write_bytes(random.Random(seed).randbytes(SIZE))
        steps = ["FROM scratch", *(f"COPY {number} /{number}" for number in range(len(seeds))), 'CMD ["/0"]']
        (context / "Dockerfile").write_text("\n".join(steps))
        docker("image", "build", "--quiet", "--label", LABEL, "--tag", reference, str(context))
        self.made.append(reference)
        return reference

    def inspect(self, reference: str) -> dict[str, t.Any]:
        return t.cast("dict[str, t.Any]", json.loads(docker("image", "inspect", reference))[0])


@pytest.fixture(name="images")
def images_fixture(tmp_path: Path) -> t.Iterator[Images]:
    (tmp_path / "contexts").mkdir()
    images = Images(tmp_path / "contexts")
    try:
        yield images
    finally:
        docker("image", "rm", "--", *images.made)


@pytest.fixture(name="builder")
def builder_fixture(tmp_path: Path) -> Builder:
    return Builder(tmp_path)


def write(builder: Builder, *references: str, **more: t.Any) -> Result:
    result = builder.content({}, images=list(references), **more)
    assert not result.get("failed"), result["msg"]
    return result


def manifest_of(builder: Builder, result: Result) -> Manifest:
    return parse_manifest((builder.depot / "blobs" / "sha256" / result["target"]["sha256"]).read_bytes())


def test_an_image_is_in_the_depot_by_its_configuration_and_its_diff_ids(images: Images, builder: Builder) -> None:
    reference = images.make("1", 1, 2)
    result = write(builder, reference)
    (image,) = manifest_of(builder, result).images
    told = images.inspect(reference)
    assert image.reference == reference
    assert [f"sha256:{one}" for one in image.layers] == told["RootFS"]["Layers"]
    config = json.loads((builder.depot / "blobs" / "sha256" / image.config).read_bytes())
    assert config["rootfs"]["diff_ids"] == told["RootFS"]["Layers"]
    assert config["config"]["Cmd"] == ["/0"]
    builder.publish(1, result["target"])
    assert builder.release_of() == 1


def test_the_second_run_asks_the_engine_for_no_archive(
    images: Images, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = images.make("1", 1, 2)
    builder.publish(1, write(builder, reference)["target"])

    def save(*_args: t.Any) -> t.Any:
        raise AssertionError("it was saved again")

    monkeypatch.setattr(_depot_images, "save", save)
    for check_mode in (True, False):
        assert not write(builder, reference, _ansible_check_mode=check_mode)["changed"]


def test_a_layer_that_the_depot_has_is_not_written_again(images: Images, builder: Builder) -> None:
    old, new = images.make("1", 1, 2), images.make("2", 1, 3)
    builder.publish(1, write(builder, old)["target"])
    told = write(builder, new, _ansible_check_mode=True)
    done = write(builder, new)
    assert SIZE < told["bytes"] == done["bytes"] == done["written"] < 2 * SIZE


def test_images_of_one_release_share_their_layers(images: Images, builder: Builder) -> None:
    result = write(builder, images.make("1", 1, 2), images.make("2", 1, 3), images.make("3", 1, 1))
    first, second, third = manifest_of(builder, result).images
    assert first.layers[0] == second.layers[0] == third.layers[0]
    assert result["bytes"] < 5 * SIZE


def test_a_differential_depot_lacks_the_layers_that_hosts_hold(images: Images, builder: Builder) -> None:
    old, new = images.make("1", 1, 2), images.make("2", 1, 3)
    first = write(builder, old)
    held = sorted(manifest_of(builder, first).blobs)
    builder.depot = builder.depot.with_name("other")
    told = {first["target"]["path"]: [first["target"]["sha256"], first["target"]["length"]]}
    second = write(builder, new, held=held, targets=told)
    manifest = manifest_of(builder, second)
    assert manifest.counter == 2
    assert manifest.assumes == {manifest.images[0].layers[0]}
    assert second["bytes"] < 2 * SIZE
    builder.publish(2, second["target"])
    assert builder.release_of() == 2


def test_skopeo_reads_and_copies_what_was_written(images: Images, builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    skopeo = debian_tools(tmp_path / "tools", "skopeo", "libgpgme11", "libassuan0", "libdevmapper1.02.1")
    reference = images.make("1", 1, 2)
    builder.publish(1, write(builder, reference)["target"])
    place = f"oci:{builder.depot}:{reference}"
    told = json.loads(skopeo.start("skopeo", "inspect", place))
    assert told["Labels"] == {LABEL.partition("=")[0]: LABEL.partition("=")[2]}
    assert told["Layers"] == images.inspect(reference)["RootFS"]["Layers"]
    # Copying checks every digest on the way.
    skopeo.start("skopeo", "--insecure-policy", "copy", "--quiet", place, f"dir:{tmp_path / 'copy'}")
    layers = {path.name for path in (tmp_path / "copy").iterdir()}
    assert {one.partition(":")[2] for one in told["Layers"]} <= layers


def test_oras_reads_and_copies_what_was_written(images: Images, builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    oras = debian_tools(tmp_path / "tools", "oras")
    reference = images.make("1", 1, 2)
    result = write(builder, reference)
    builder.publish(1, result["target"])
    (image,) = manifest_of(builder, result).images
    assert reference in oras.start("oras", "repo", "tags", "--oci-layout", builder.depot).splitlines()
    place = f"{builder.depot}@sha256:{image.manifest}"
    told = json.loads(oras.start("oras", "manifest", "fetch", "--oci-layout", place))
    assert [layer["digest"] for layer in told["layers"]] == images.inspect(reference)["RootFS"]["Layers"]
    # Copying checks every digest on the way.
    oras.start("oras", "cp", "--from-oci-layout", place, "--to-oci-layout", f"{tmp_path / 'copy'}:1")
    copied = {path.name for path in (tmp_path / "copy" / "blobs" / "sha256").iterdir()}
    assert copied == {image.manifest, image.config, *image.layers}
