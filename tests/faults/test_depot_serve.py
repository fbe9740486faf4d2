# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images from a depot into this machine's engine, by its own pull, with everything that goes wrong on the way."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import json
import os
import secrets
import signal
import subprocess
import sys
import tarfile
import threading
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_registry
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_pull import (
    PullPlan,
    find_id,
    name_image,
    pull_image,
    pull_images,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_registry import serving
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Image, Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_routes import Reply
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import DockerCli, default_cli
from ansible_collections.emorobcare.fleet.plugins.modules import model_pull
from ansible_collections.emorobcare.fleet.tests.faults._releases import docker, free_port, run_module
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._served_depot import LABEL, Depot, layer

# Pulls with a stick that hangs after the first piece; says so, and is killed.
HANGS = """
import sys, threading
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_pull import pull_images
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import parse_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_serve import main
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli
class Hangs(Folder):
    def pieces(self, sha256, start=0):
        pieces = super().pieces(sha256, start)
        if self.blob_size(sha256) < 1 << 20:
            yield from pieces
            return
        yield next(pieces)
        yield next(pieces)
        print("hangs", flush=True)
        threading.Event().wait()
source = Hangs(sys.argv[1])
manifest = parse_manifest(source.read("release.json", 1 << 20))
if sys.argv[2:]:
    main([sys.argv[1], "--listen", sys.argv[2]], lambda _source: [manifest], lambda _path: source)
else:
    pull_images(default_cli(), manifest, source)
"""


@dataclass
class Lab:
    """A depot with images of its own, and an engine that forgets them at the end."""

    depot: Depot
    name: str
    docker: DockerCli

    def image(self, tag: str = "1", *layers: bytes) -> Image:
        return self.depot.add_image(f"{self.name}:{tag}", *(layers or (self.layer(), self.layer())))

    def layer(self, size: int = 3 << 20) -> bytes:
        return layer(f"file-{secrets.token_hex(4)}", os.urandom(size))

    def pull(self, source: Source | None = None) -> PullPlan:
        return pull_images(self.docker, self.depot.manifest, source or self.depot.source)

    def refused(self, reason: str, source: Source | None = None) -> DepotError:
        with pytest.raises(DepotError) as caught:
            self.pull(source)
        assert caught.value.reason == reason, caught.value
        assert not self.tags(), "nothing was tagged"
        return caught.value

    def tags(self) -> list[str]:
        return sorted(docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", self.name).split())

    def loopback(self) -> list[str]:
        """The names on loopback that images of this lab have."""
        listed = docker("image", "ls", "--all", "--no-trunc", "--digests", "--format", "{{.Repository}}").split()
        return [name for name in listed if name.startswith("127.0.0.1:") and name.endswith(f"/{self.name}")]

    @contextlib.contextmanager
    def hanging(self, *arguments: str) -> t.Iterator[subprocess.Popen[str]]:
        """Run HANGS; kill it with its children at the end, if a test has not."""
        (self.depot.path / "release.json").write_bytes(self.depot.manifest.encode())
        process = subprocess.Popen(
            [sys.executable, "-c", HANGS, str(self.depot.path), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        with process:
            try:
                yield process
            finally:
                kill(process)

    def forget(self) -> None:
        for image in self.depot.images:
            docker("image", "rm", "--force", f"sha256:{image.config}", check=False)


@pytest.fixture(name="lab")
def lab_fixture(tmp_path: Path) -> t.Iterator[Lab]:
    lab = Lab(Depot(tmp_path / "depot"), f"fleet-serve-{secrets.token_hex(4)}", default_cli())
    try:
        yield lab
    finally:
        every = list(lab.depot.images)
        lab.forget()
        assert not [image for image in every if find_id(lab.docker, image)]


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process with its children, as a power cut or systemd would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(process: subprocess.Popen[str], beginning: str) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.startswith(beginning):
            return
    raise AssertionError("it ended")


class Elsewhere:
    """A registry in another process, of which no more is known than where it is."""

    trouble: DepotError | None = None

    def __init__(self, place: str, source: Source) -> None:
        self.place = place
        self.source = source


class Counting(Folder):
    """Counts the bytes that are read of blobs."""

    read_bytes = 0

    def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
        for piece in super().pieces(sha256, start):
            self.read_bytes += len(piece)
            yield piece


def saved(lab: Lab, reference: str) -> Image:
    """Put an image of the engine's into the depot, and remove it from the engine."""
    with tarfile.open(fileobj=io.BytesIO(_save(reference))) as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(name)
            assert file is not None
            return file.read()

        listed = json.loads(read("manifest.json"))[0]
        layers = [read(name) for name in listed["Layers"]]
        image = lab.depot.add_image(reference, *layers, config=read(listed["Config"]))
    docker("image", "rm", reference)
    return image


def _save(reference: str) -> bytes:
    return subprocess.run(["docker", "image", "save", reference], capture_output=True, check=True).stdout


def test_an_image_that_the_engine_made_comes_back_under_the_same_id(lab: Lab) -> None:
    reference = f"{lab.name}:made"
    docker("image", "import", "--change", f"LABEL {LABEL}=serve", "-", reference, content=lab.layer())
    made = docker("image", "inspect", "--format", "{{.Id}}", reference)
    image = saved(lab, reference)
    assert made == f"sha256:{image.config}"
    assert find_id(lab.docker, image) is None
    assert lab.pull().changes == (reference,)
    assert docker("image", "inspect", "--format", "{{.Id}}", reference) == made
    assert not lab.loopback()
    # As it is saved now, so it was: nothing of it was lost on the way.
    assert saved(lab, reference) == image


def test_a_second_run_pulls_nothing_and_needs_no_depot(lab: Lab) -> None:
    lab.image()
    lab.pull()
    assert lab.pull(Folder("/nonexistent")) == PullPlan()


def test_an_update_copies_the_layer_that_changed_and_nothing_else(lab: Lab) -> None:
    base, before, after = lab.layer(4 << 20), lab.layer(1 << 20), lab.layer(1 << 20)
    lab.image("1", base, before)
    lab.pull()
    old = lab.depot.images[0]
    updated = lab.image("2", base, after)
    source = Counting(str(lab.depot.path))
    plan = lab.pull(source)
    assert plan.bytes == len(after)
    read = {"layer": len(after), "config": lab.depot.sizes[updated.config]}
    # The manifest is asked for by HEAD and by GET, as engines please.
    rest = source.read_bytes - sum(read.values())
    assert 0 < rest <= 3 * lab.depot.sizes[updated.manifest]
    assert lab.tags() == [f"{lab.name}:1", f"{lab.name}:2"]
    assert find_id(lab.docker, old)


def test_a_flipped_byte_in_a_layer_is_told_at_once_and_nothing_is_tagged(lab: Lab) -> None:
    good = lab.image("1")
    bad = lab.image("2")
    manifest = lab.depot.manifest
    lab.depot.flip(bad.layers[1])
    with pytest.raises(DepotError, match="Write the depot again with verify_held") as caught:
        pull_images(lab.docker, manifest, lab.depot.source)
    assert (caught.value.reason, caught.value.details) == ("blob_corrupt", {"blob": bad.layers[1]})
    assert not lab.tags()
    assert find_id(lab.docker, bad) is None
    assert find_id(lab.docker, good), "what was through is kept, for the next run"


@pytest.mark.slow  # an engine tries five times before it gives up
def test_a_flipped_byte_that_no_registry_finds_is_found_by_the_engine(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(source: Source, reply: Reply) -> t.Iterator[bytes]:
        return source.pieces(reply.blob, reply.start)

    monkeypatch.setattr(_depot_registry, "_checked", unchecked)
    image = lab.image()
    manifest = lab.depot.manifest
    lab.depot.flip(image.layers[0])
    with pytest.raises(DepotError, match="verification failed") as caught:
        pull_images(lab.docker, manifest, lab.depot.source)
    assert caught.value.reason == "image_unavailable"
    assert not lab.tags()
    assert find_id(lab.docker, image) is None


def test_a_layer_that_is_missing_is_refused_before_anything_is_pulled(lab: Lab) -> None:
    first, second = lab.image("1"), lab.image("2")
    lab.depot.blob(second.layers[1]).unlink()
    assert lab.refused("blob_missing").details == {"blob": second.layers[1]}
    assert find_id(lab.docker, first) is None


def test_a_stick_that_is_pulled_ends_the_pull_at_once(lab: Lab) -> None:
    class Pulled(Folder):
        def pieces(self, sha256: str, start: int = 0) -> t.Iterator[bytes]:
            for number, piece in enumerate(super().pieces(sha256, start)):
                if number:
                    raise DepotError("the stick was pulled", reason="io_error")
                yield piece

    image = lab.image()
    assert str(lab.refused("io_error", Pulled(str(lab.depot.path)))) == "the stick was pulled"
    assert find_id(lab.docker, image) is None
    lab.pull()
    assert lab.tags() == [f"{lab.name}:1"]


def test_a_registry_that_is_killed_and_comes_back_is_gone_on_with_from_where_it_was(lab: Lab) -> None:
    image = lab.image("1", lab.layer(8 << 20))
    port = free_port()
    place = f"127.0.0.1:{port}"

    with concurrent.futures.ThreadPoolExecutor() as pool, lab.hanging(place) as process:
        wait_for(process, "serving")
        pulling = pool.submit(pull_image, lab.docker, image, Elsewhere(place, lab.depot.source))
        wait_for(process, "hangs")
        kill(process)
        source = Counting(str(lab.depot.path))
        with serving(source, [lab.depot.manifest], _depot_registry.Listen(port=port)):
            pulling.result()
    assert source.read_bytes < 8 << 20, "what had come before was not copied again"
    name_image(lab.docker, image)
    assert (lab.tags(), lab.loopback()) == ([f"{lab.name}:1"], [])


@pytest.mark.slow  # an engine tries five times before it gives up
def test_a_registry_that_is_killed_for_good_is_told_with_the_engines_words(lab: Lab) -> None:
    image = lab.image("1", lab.layer(8 << 20))
    place = f"127.0.0.1:{free_port()}"

    with concurrent.futures.ThreadPoolExecutor() as pool, lab.hanging(place) as process:
        wait_for(process, "serving")
        pulling = pool.submit(pull_image, lab.docker, image, Elsewhere(place, lab.depot.source))
        wait_for(process, "hangs")
        kill(process)
        with pytest.raises(DepotError, match="connection refused") as caught:
            pulling.result()
    assert caught.value.reason == "image_unavailable"
    assert not lab.tags()


def test_a_run_that_is_killed_in_a_pull_is_finished_by_the_next_one(lab: Lab) -> None:
    first = lab.image("1", *(lab.layer(900 << 10) for _number in range(10)))  # the larger one, in pieces that pass
    lab.image("2", lab.layer(8 << 20))
    with lab.hanging() as process:
        wait_for(process, "hangs")
        kill(process)
    assert not lab.tags()
    assert find_id(lab.docker, first)
    plan = lab.pull()
    assert plan.names == (first,)
    assert (lab.tags(), lab.loopback()) == ([f"{lab.name}:1", f"{lab.name}:2"], [])


def test_runs_side_by_side_that_share_images_all_end_well(lab: Lab) -> None:
    base = lab.layer()
    for tag in ("1", "2", "3"):
        lab.image(tag, base, lab.layer(1 << 20))
    barrier = threading.Barrier(3)

    def run() -> None:
        barrier.wait()
        lab.pull()

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for future in [pool.submit(run) for _number in range(3)]:
            future.result()
    assert lab.tags() == [f"{lab.name}:{tag}" for tag in ("1", "2", "3")]
    assert not lab.loopback()


def test_a_name_moves_to_the_new_image_while_a_container_holds_the_old_one(lab: Lab) -> None:
    old = lab.image("stable")
    lab.pull()
    container = docker("container", "create", "--label", f"{LABEL}=serve", f"{lab.name}:stable", "/none")
    try:
        new = lab.image("stable")
        lab.pull()
        assert docker("image", "inspect", "--format", "{{.Id}}", f"{lab.name}:stable") == f"sha256:{new.config}"
        assert find_id(lab.docker, old)
    finally:
        docker("container", "rm", container)
        docker("image", "rm", "--force", f"sha256:{old.config}")


def test_a_reference_with_a_digest_cannot_be_made_and_is_refused_before_anything_is_pulled(lab: Lab) -> None:
    first = lab.image("1")
    pinned = lab.depot.add_image(f"{lab.name}:2@sha256:{'e' * 64}", lab.layer())
    assert f"Write {lab.name}:2" in str(lab.refused("image_unavailable"))
    assert find_id(lab.docker, first) is None
    lab.depot.images.remove(pinned)
    lab.pull()
    # What the refusal says of engines is so.
    target = f"{lab.name}@sha256:{first.manifest}"
    done = subprocess.run(["docker", "image", "tag", f"{lab.name}:1", target], capture_output=True, check=False)
    assert done.returncode != 0
    assert b"digest reference" in done.stderr


def test_model_pull_gets_a_model_through_the_registry(lab: Lab, tmp_path: Path) -> None:
    weights = os.urandom(40 << 20)
    model = lab.depot.add_model("Tiny", "1", {"sub/model.bin": weights})
    manifest: Manifest = lab.depot.manifest
    with serving(lab.depot.source, [manifest]) as registry:
        source = f"oci://{registry.place}/models/tiny@sha256:{model.manifest}!/sub/model.bin"
        wanted = {"path": "sub/model.bin", "sha256": model.files["sub/model.bin"], "source": source}
        options = {"name": "tiny", "version": "1", "root": str(tmp_path / "root"), "files": [wanted]}
        result = run_module(model_pull.main, options)
    assert not result.get("failed"), result.get("msg")
    assert (tmp_path / "root/models/tiny/1/sub/model.bin").read_bytes() == weights
