# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Names and small documents of a depot. Pure; docs/depot-format.md is what this holds to."""

from __future__ import annotations

import json
import math
import re
import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import canonical

LAYOUT = "oci-layout"
INDEX = "index.json"
VOLUME = "depot.json"
METADATA = "metadata"
TIMESTAMP = "metadata/timestamp.json"
BLOBS = "blobs/sha256"
PARTIAL = "partial"
RECEIPTS = "receipts"

PART_BYTES = 2 << 30
"""A part's size: below the 4 GiB that FAT takes, with room for tools that stop at 2 GiB."""

LAYOUT_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
MODEL_TYPE = "application/vnd.cncf.model.manifest.v1+json"
MODEL_FILE_TYPE = "application/vnd.cncf.model.weight.v1.raw"
RELEASE_TYPE = "application/vnd.emorobcare.fleet.release.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
FILE_PATH = "org.cncf.model.filepath"

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEMA = 1
_DEEPEST = 50  # lists and objects in each other; no document of ours has ten


def read_document(data: bytes) -> t.Any:
    """Read JSON that anybody may have written, so that whoever uses it needs to fear no depth and no infinity.

    Raises:
        ValueError: it is none, lists or objects are nested too deeply, or a number is infinite or none.
    """
    try:
        document = json.loads(data, parse_float=_finite, parse_constant=_finite)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply") from exc
    level = [document]
    for _depth in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
    if level:
        raise ValueError("it is nested too deeply")
    return document


def _inside(value: t.Any) -> t.Iterable[t.Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is no finite number")
    return value


def is_sha256(text: t.Any) -> bool:
    """Whether this is a SHA-256 in lower-case hex, which is all that a blob's name can be."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def blob_name(sha256: str) -> str:
    """Return the path of a blob in the depot.

    Raises:
        DepotError: what was given could lead elsewhere.
    """
    if not is_sha256(sha256):
        raise DepotError(f"{sha256!r} is no SHA-256 in lower-case hex", reason="unsafe_path")
    return f"{BLOBS}/{sha256}"


def part_name(sha256: str, number: int) -> str:
    """Return the path of a part of a blob; numbers begin at 0."""
    return f"{blob_name(sha256)}.p{number:04d}"


def part_sizes(size: int, limit: int = PART_BYTES) -> list[int]:
    """Return the bytes of each part of a blob; all but the last are full."""
    return [min(limit, size - start) for start in range(0, size, limit)] or [0]


def target_name(stack: str, counter: int) -> str:
    """Return what a release manifest is called among TUF's targets."""
    return f"releases/{stack}/{counter}.json"


@dataclass(frozen=True)
class Volume:
    """What one medium holds: which of how many it is (from 1), and its blobs."""

    number: int = 1
    count: int = 1
    blobs: frozenset[str] = frozenset()

    def encode(self) -> bytes:
        return canonical({"schema": _SCHEMA, "volume": self.number, "volumes": self.count, "blobs": sorted(self.blobs)})


def parse_volume(data: bytes) -> Volume:
    """Read depot.json.

    Raises:
        DepotError: it is none (`not_a_depot`).
    """
    try:
        document = read_document(data)
        number, count, blobs = int(document["volume"]), int(document["volumes"]), document["blobs"]
        fits = document["schema"] == _SCHEMA and 1 <= number <= count and all(is_sha256(one) for one in blobs)
    except (ValueError, KeyError, TypeError) as exc:
        raise DepotError(f"{VOLUME} cannot be read ({exc}): is this a depot?", reason="not_a_depot") from exc
    if not fits:
        raise DepotError(
            f"{VOLUME} is not of format {_SCHEMA}: this version of emorobcare.fleet cannot read the depot",
            reason="not_a_depot",
        )
    return Volume(number, count, frozenset(blobs))


def descriptor(media_type: str, sha256: str, size: int, **annotations: str) -> dict[str, t.Any]:
    """Return an OCI descriptor; annotations only if there are any."""
    told = {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": size}
    return {**told, "annotations": annotations} if annotations else told


def image_manifest(config: tuple[str, int], layers: t.Sequence[tuple[str, int]]) -> bytes:
    """Return the OCI manifest of an image, in canonical JSON; each is a SHA-256 and a size in bytes."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptor(CONFIG_TYPE, *config),
            "layers": [descriptor(LAYER_TYPE, *layer) for layer in layers],
        }
    )


def model_manifest(empty: str, files: t.Mapping[str, tuple[str, int]]) -> bytes:
    """Return the manifest of a model as an OCI artifact, in canonical JSON.

    Args:
        empty: SHA-256 of the empty configuration, which is `{}`.
        files: SHA-256 and size in bytes by path.
    """
    layers = []
    for path, (sha256, size) in sorted(files.items()):
        layer = descriptor(MODEL_FILE_TYPE, sha256, size)
        layers.append({**layer, "annotations": {FILE_PATH: path, "org.opencontainers.image.title": path}})
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": MODEL_TYPE,
            "config": descriptor(EMPTY_TYPE, empty, 2),
            "layers": layers,
        }
    )


def release_artifact(empty: str, manifest: tuple[str, int]) -> bytes:
    """Return the OCI artifact by which tools find a release manifest, in canonical JSON."""
    return canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "artifactType": RELEASE_TYPE,
            "config": descriptor(EMPTY_TYPE, empty, 2),
            "layers": [descriptor(RELEASE_TYPE, *manifest)],
        }
    )


def parse_index(data: bytes) -> dict[str, tuple[str, int]]:
    """Return what an index.json lists: SHA-256 and size in bytes of each manifest, by its name.

    What cannot be read counts as nothing: nobody trusts it, and who writes the depot writes it anew.
    """
    try:
        listed = read_document(data)["manifests"]
        return {
            str(one["annotations"][REF_NAME]): (str(one["digest"]).partition(":")[2], int(one["size"]))
            for one in listed
            if REF_NAME in one.get("annotations", {})
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def encode_index(named: t.Mapping[str, tuple[str, int]]) -> bytes:
    """Return index.json for manifests (SHA-256, size in bytes) by their names."""
    listed = [
        {**descriptor(MANIFEST_TYPE, *found), "annotations": {REF_NAME: name}} for name, found in sorted(named.items())
    ]
    return canonical({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed})
