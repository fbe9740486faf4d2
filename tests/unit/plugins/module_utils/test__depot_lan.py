# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One host with the stick serves it, and others read it from there as they would from the stick."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Folder, read_blob
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    LAYOUT,
    encode_index,
    part_name,
    release_artifact,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_registry import serving
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_trust import (
    Host,
    choose,
    open_depot,
    read_release,
    releases_here,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_verify import verify
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_web import open_source
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._depot import NOW, Depot, at, make_host

CONTENTS = [b'{"schema": 1}', b"services: {}\n", b"x" * 5000]


def test_a_host_trusts_and_verifies_a_depot_that_another_one_serves(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "depot")
    depot.release(1, CONTENTS)
    depot.publish()
    first, second = make_host(tmp_path / "first"), make_host(tmp_path / "second")
    folder = Folder(str(depot.path))
    manifest = choose(folder, open_depot(folder, first, at(NOW)), first, Host("amd64"))
    with serving(folder, [manifest]) as registry:
        source = open_source(registry.base)
        trusted = open_depot(source, second, at(NOW))
        assert read_release(source, trusted, "demo", 1) == manifest
        verified = verify(source, [manifest])
        source.close()
    assert verified.problems == ()
    assert verified.blobs == len(CONTENTS)


def test_releases_that_only_other_media_have_are_passed_over(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "depot")
    old = depot.release(1, [b"{}", b"old"])
    new = depot.release(2, [b"{}", b"new"])
    host, folder = make_host(tmp_path / "host"), Folder(str(depot.path))
    trusted = open_depot(folder, host, at(NOW))
    assert releases_here(folder, trusted) == [old, new]
    (depot.path / "blobs" / "sha256" / hashlib.sha256(old.encode()).hexdigest()).unlink()
    assert releases_here(folder, trusted) == [new]
    assert releases_here(folder, trusted, "other") == []


def test_what_the_serving_host_does_not_trust_is_not_given_on(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "depot")
    depot.release(1, CONTENTS)
    depot.publish()
    stranger = b"not signed"
    name = hashlib.sha256(stranger).hexdigest()
    (depot.path / "blobs" / "sha256" / name).write_bytes(stranger)
    host, folder = make_host(tmp_path / "host"), Folder(str(depot.path))
    manifest = choose(folder, open_depot(folder, host, at(NOW)), host, Host("amd64"))
    with serving(folder, [manifest]) as registry:
        source = open_source(registry.base)
        assert source.blob_size(name) is None
        assert source.read(LAYOUT, 4096) is not None
        assert source.read("metadata/99.root.json", 4096) is None
        source.close()


def test_a_blob_in_parts_is_served_whole(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "depot")
    depot.release(1, CONTENTS)
    depot.publish()
    name = hashlib.sha256(CONTENTS[2]).hexdigest()
    for number in range(5):
        (depot.path / part_name(name, number)).write_bytes(CONTENTS[2][number * 1000 : number * 1000 + 1000])
    (depot.path / "blobs" / "sha256" / name).unlink()
    host, folder = make_host(tmp_path / "host"), Folder(str(depot.path))
    manifest = choose(folder, open_depot(folder, host, at(NOW)), host, Host("amd64"))
    with serving(folder, [manifest]) as registry:
        source = open_source(registry.base)
        assert read_blob(source, name, 5000, 5000) == CONTENTS[2]
        source.close()


def test_what_index_json_lists_is_served_too(tmp_path: Path) -> None:
    depot = Depot(tmp_path / "depot")
    manifest = depot.release(1, CONTENTS)
    document = manifest.encode()
    artifact = release_artifact(depot.put(b"{}"), (hashlib.sha256(document).hexdigest(), len(document)))
    named = {"releases/demo:1": (depot.put(artifact), len(artifact))}
    (depot.path / "index.json").write_bytes(encode_index(named))
    with serving(Folder(str(depot.path)), [manifest]) as registry:
        source = open_source(registry.base)
        assert verify(source, [manifest]).problems == ()
        source.close()
