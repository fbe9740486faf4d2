# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gzip
import io
import json
import tarfile
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_archive import (
    ArchiveError,
    read_archive,
    read_layer,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import Entry, LayerFacts
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._audit import member, tar

LOWER = tar(
    member("etc/", mode=0o755, kind=tarfile.DIRTYPE), member("etc/.env", b"A=1\n"), member("bin/su", b"\0x", 0o4755)
)
UPPER = tar(
    member("etc/.wh..env"),
    member("opt/.wh..wh..opq"),
    member("lib", kind=tarfile.SYMTYPE, target="usr/lib", mode=0o777),
    member("bin/sudo", kind=tarfile.LNKTYPE, target="bin/su"),
)
CONFIG = {"rootfs": {"diff_ids": ["sha256:l", "sha256:u"]}, "config": {"User": "app"}, "history": []}


def old_layout() -> list[tuple[tarfile.TarInfo, bytes]]:
    manifest = [{"Config": "c0.json", "RepoTags": ["demo:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}]
    return [
        member("1/layer.tar", LOWER),
        member("1/VERSION", b"1.0"),
        member("2/layer.tar", UPPER),
        member("c0.json", json.dumps(CONFIG).encode()),
        member("manifest.json", json.dumps(manifest).encode()),
    ]


def oci_layout(pack: t.Callable[[bytes], bytes] = bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
    layers = ["blobs/sha256/l", "blobs/sha256/u"]
    manifest = [{"Config": "blobs/sha256/c0", "RepoTags": ["demo:1"], "Layers": layers}]
    return [
        member("manifest.json", json.dumps(manifest).encode()),
        member("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'),
        member("blobs/sha256/c0", json.dumps(CONFIG).encode()),
        member("blobs/sha256/u", pack(UPPER)),
        member("blobs/sha256/l", pack(LOWER)),
    ]


@pytest.mark.parametrize(
    "members", [old_layout(), oci_layout(), oci_layout(gzip.compress)], ids=["old", "OCI", "packed"]
)
def test_images_of_every_layout_are_read(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    (image,) = read_archive(io.BytesIO(tar(*members)))
    assert (image.config_digest, image.references, image.config.user) == ("sha256:c0", ("demo:1",), "app")
    assert [layer.diff_id for layer in image.layers] == ["sha256:l", "sha256:u"]
    lower, upper = image.layers
    assert lower.entries == (
        Entry("/etc", "d", 0o755),
        Entry("/etc/.env", "f", 0o644, 4),
        Entry("/bin/su", "f", 0o4755, 2),
    )
    assert [(entry.path, entry.kind, entry.target) for entry in upper.entries] == [
        ("/etc/.env", "w", ""),
        ("/opt", "o", ""),
        ("/lib", "l", "usr/lib"),
        ("/bin/sudo", "h", "/bin/su"),
    ]
    assert [secret.place for secret in lower.secrets] == ["/etc/.env"]


@pytest.mark.parametrize("members", [old_layout(), oci_layout()], ids=["old", "OCI"])
def test_a_known_layer_is_not_read_where_the_archive_calls_it_so(
    members: list[tuple[tarfile.TarInfo, bytes]],
) -> None:
    known = LayerFacts("sha256:l", (Entry("/known", "d"),))
    (image,) = read_archive(io.BytesIO(tar(*members)), {"sha256:l": known})
    is_named = any(info.name == "blobs/sha256/l" for info, _content in members)
    assert (image.layers[0] == known) is is_named
    assert len(image.layers[1].entries) == 4


def test_a_layer_that_the_old_layout_links_to_another_is_that_one() -> None:
    members = old_layout()
    members[2] = member("2/layer.tar", kind=tarfile.SYMTYPE, target="../1/layer.tar")
    (image,) = read_archive(io.BytesIO(tar(*members)))
    assert image.layers[0].entries == image.layers[1].entries


def test_binary_files_and_large_ones_are_not_searched() -> None:
    secret = b"-----BEGIN " + b"PRIVATE KEY-----\n" + b"A" * 64 + b"\n"
    layer = tar(member("a", b"\0" + secret), member("b", secret + b"x" * 1_000_001), member("c", secret))
    assert [found.place for found in read_layer(io.BytesIO(layer))[1]] == ["/c"]


def test_an_empty_layer_is_a_layer() -> None:
    members = old_layout()
    members[2] = member("2/layer.tar", bytes(1024))
    (image,) = read_archive(io.BytesIO(tar(*members)))
    assert image.layers[1].entries == ()


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (b"", "cannot be read"),
        (b"nonsense" * 200, "cannot be read"),
        (tar(*old_layout())[:4000], "cannot be read|without"),
        (tar(*old_layout()[:-1]), "without 'manifest.json'"),
        (tar(*old_layout()[1:]), "without '1/layer.tar'"),
        (tar(member("blobs/sha256/l", b"\x28\xb5\x2f\xfd" + bytes(600))), "packed by zstd"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused(archive: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message):
        read_archive(io.BytesIO(archive))
