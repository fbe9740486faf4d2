# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Read the archive that docker image save writes, as it passes: each layer once, and none of it on a disk.

Both layouts are read: the one of Docker's own (until 24), and the OCI's (from 25), whose manifest.json is the same.
Since the manifest may come after the layers, what is in a layer is kept by its name in the archive until then.
"""

from __future__ import annotations

import gzip
import json
import posixpath
import stat
import tarfile
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_facts import (
    DIRECTORY,
    FILE,
    HARD_LINK,
    LINK,
    OPAQUE,
    OTHER,
    WHITEOUT,
    Config,
    Entry,
    LayerFacts,
    Secret,
    read_config,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._audit_secrets import (
    LARGEST,
    secret_in_name,
    secrets_in_text,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_archive import Peeked

_BUFFER = 2**20
_HEAD = 512
_LARGEST_JSON = 2**24
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
# Files of these names hold no text; most of an image is such.
_BINARY = (".so", ".pyc", ".gz", ".png", ".jpg", ".woff2", ".zip", ".whl", ".bin", ".dat", ".npy")

Contents = tuple[tuple[Entry, ...], tuple[Secret, ...]]


class ArchiveError(Exception):
    """The archive is not what an engine saves; the message is for the user."""


@dataclass(frozen=True)
class SavedImage:
    """An image of an archive: its configuration's digest, references, configuration and layers."""

    config_digest: str
    references: tuple[str, ...]
    config: Config
    layers: tuple[LayerFacts, ...]


def read_archive(archive: t.IO[bytes], known: t.Mapping[str, LayerFacts] | None = None) -> list[SavedImage]:
    """Return the images of an archive.

    :param known: layers by their diff id, which are passed over where the archive calls them that (the OCI's layout).
    :raises ArchiveError: it is not whole, or not in a form that can be read.
    """
    by_name = {diff_id.partition(":")[2]: (facts.entries, facts.secrets) for diff_id, facts in (known or {}).items()}
    layers: dict[str, Contents] = {}
    documents: dict[str, t.Any] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=archive, mode="r|", bufsize=_BUFFER) as outer:
            for member in outer:
                name = posixpath.normpath(member.name)
                if member.issym() or member.islnk():
                    target = (
                        posixpath.join(posixpath.dirname(name), member.linkname) if member.issym() else member.linkname
                    )
                    links[name] = posixpath.normpath(target)
                content = outer.extractfile(member) if member.isreg() else None
                if posixpath.basename(name) in by_name:
                    layers[name] = by_name[posixpath.basename(name)]
                elif content is not None:
                    _read_member(name, member.size, content, layers, documents)
    except (tarfile.TarError, EOFError, OSError, ValueError) as exc:
        raise ArchiveError(f"docker image save gave an archive that cannot be read: {exc}") from exc
    layers.update({name: layers[target] for name, target in links.items() if target in layers})
    return _images(layers, documents)


def _read_member(
    name: str, size: int, content: t.IO[bytes], layers: dict[str, Contents], documents: dict[str, t.Any]
) -> None:
    head = content.read(_HEAD)
    whole = t.cast("t.IO[bytes]", Peeked(head, content))
    if head.startswith(_ZSTD):
        raise ArchiveError(f"{name}: the engine saves layers packed by zstd, which cannot be read; use gzip or none")
    if head.startswith(_GZIP):
        with gzip.GzipFile(fileobj=whole) as unpacked:
            layers[name] = read_layer(t.cast("t.IO[bytes]", unpacked))
    elif head[257:262] == b"ustar" or (size >= 1024 and not head.strip(b"\0")):
        layers[name] = read_layer(whole)
    elif head[:1] in b"{[" and size <= _LARGEST_JSON:
        documents[name] = json.loads(whole.read())


def _images(layers: dict[str, Contents], documents: dict[str, t.Any]) -> list[SavedImage]:
    try:
        return [_image(entry, layers, documents) for entry in documents["manifest.json"]]
    except (KeyError, TypeError, AttributeError) as exc:
        raise ArchiveError(f"docker image save gave an archive without {exc}") from exc


def _image(entry: t.Mapping[str, t.Any], layers: dict[str, Contents], documents: dict[str, t.Any]) -> SavedImage:
    config = read_config(documents[posixpath.normpath(entry["Config"])])
    contents = [layers[posixpath.normpath(name)] for name in entry["Layers"]]
    digest = posixpath.basename(entry["Config"]).partition(".")[0]
    facts = tuple(LayerFacts(diff_id, *content) for diff_id, content in zip(config.diff_ids, contents))
    return SavedImage(f"sha256:{digest}", tuple(entry.get("RepoTags") or ()), config, facts)


def read_layer(layer: t.IO[bytes]) -> Contents:
    """Return what is in a layer's archive."""
    entries: list[Entry] = []
    secrets: list[Secret] = []
    with tarfile.open(fileobj=layer, mode="r|", bufsize=_BUFFER) as tar:
        for member in tar:
            entry = _entry(member)
            if entry is None:
                continue
            entries.append(entry)
            if entry.kind == FILE and entry.size:
                secrets += _secrets(entry, t.cast("t.IO[bytes]", tar.extractfile(member)))
    return tuple(entries), tuple(secrets)


def _entry(member: tarfile.TarInfo) -> Entry | None:
    path = posixpath.normpath("/" + member.name)
    folder, name = posixpath.split(path)
    if name == ".wh..wh..opq":
        return Entry(folder, OPAQUE)
    if name.startswith(".wh..wh."):  # what old engines kept for themselves
        return None
    if name.startswith(".wh."):
        return Entry(posixpath.join(folder, name[len(".wh.") :]), WHITEOUT)
    mode = stat.S_IMODE(member.mode)
    if member.isreg():
        return Entry(path, FILE, mode, member.size)
    if member.islnk():
        return Entry(path, HARD_LINK, mode, 0, posixpath.normpath("/" + member.linkname))
    if member.issym():
        return Entry(path, LINK, mode, 0, member.linkname)
    return Entry(path, DIRECTORY if member.isdir() else OTHER, mode)


def _secrets(entry: Entry, content: t.IO[bytes]) -> list[Secret]:
    named = secret_in_name(entry.path, entry.size)
    if named is not None:
        return [named]
    if entry.size > LARGEST or entry.path.endswith(_BINARY):
        return []
    head = content.read(4096)
    if b"\0" in head:
        return []
    return secrets_in_text(entry.path, head + content.read())
