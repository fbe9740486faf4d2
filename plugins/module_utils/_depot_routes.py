# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the read-only registry answers: the pull half of the OCI distribution specification 1.1. Pure.

    GET, HEAD  /v2/                             the registry is one
    GET, HEAD  /v2/<name>/manifests/<tag>       and <digest>
    GET, HEAD  /v2/<name>/blobs/<digest>        whole, or one range of bytes
    GET, HEAD  /v2/<name>/tags/list             ?n=<count>&last=<tag>

and what other hosts need to read the depot itself, as from any web server:

    GET, HEAD  /oci-layout, /index.json, /depot.json, /metadata/<file>
    GET, HEAD  /blobs/sha256/<digest>           whole, or one range of bytes

Only what a trusted release manifest names can be asked for; all else is unknown, whatever the depot holds. An image is
in the repository that `repository_of` says, with the tag of its reference; a model in `models/<name>`, with its version
as tag.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from urllib.parse import parse_qs, quote, unquote, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError, Reason
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import (
    BLOBS,
    INDEX,
    LAYOUT,
    METADATA,
    VOLUME,
    read_document,
    release_artifact,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import digest

EMPTY = b"{}"
EMPTY_SHA256 = digest(EMPTY)
"""The configuration of each model. The specification fixes its content, so it is given out without a depot."""

_OURS = ("models/", "releases/")
_HUB = "docker.io/"
_READS = ("GET", "HEAD")
# As the distribution specification spells them.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_ENDPOINT = re.compile(r"/v2/(?P<name>.+)/(?:(?P<kind>manifests|blobs)/(?P<reference>[^/]+)|tags/(?P<tags>list))")
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_SIGNED = rf"{METADATA}/(?:timestamp|[0-9]+\.(?:root|snapshot|targets))\.json"
_FILE = re.compile(rf"/({LAYOUT}|{re.escape(INDEX)}|{re.escape(VOLUME)}|{_SIGNED})")
_LOOSE = re.compile(rf"/{BLOBS}/([0-9a-f]{{64}})")
_LONGEST_NUMBER = 18  # digits; more are no size of anything


@dataclass(frozen=True)
class Repository:
    """What can be asked for under one name: SHA-256 of manifests by tag, sizes in bytes by SHA-256."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What to answer: a body, or content of the depot.

    `file` is one of the depot's own. `manifest` is the SHA-256 of a document that is read whole; its type is known
    then. `blob` is the SHA-256 of content of which the bytes start..stop-1 are sent. `size` is in bytes, of either of
    them as a whole.
    """

    status: int
    headers: t.Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: str = ""
    manifest: str = ""
    blob: str = ""
    size: int = 0
    start: int = 0
    stop: int = 0

    @property
    def whole(self) -> bool:
        """Whether all of the blob is sent, so that its digest can be told on the way."""
        return self.start == 0 and self.stop == self.size


def repository_of(reference: str) -> str:
    """Return the name of the repository that an image is in, by the reference that Compose files say.

    It is the reference without tag and digest, in lower case, with `-` for the `:` before a port, which no repository
    can have in its name: `mongo:7` is in `mongo`, `ghcr.io/x/y@sha256:…` in `ghcr.io/x/y`, `host.lan:5000/z` in
    `host.lan-5000/z`. Names that begin with `models/` or `releases/` are ours, so an image that is called so is in
    `docker.io/models/…`, which is what Docker means by it.

    Raises:
        DepotError: there is no such name (`manifest_invalid`).
    """
    name = split_reference(reference)[0].lower().replace(":", "-")
    if name.startswith(_OURS):
        name = _HUB + name
    if not _REPOSITORY.fullmatch(name):
        raise DepotError(f"{reference!r} cannot be the reference of an image", reason="manifest_invalid")
    return name


def split_reference(reference: str) -> tuple[str, str, str]:
    """Return name, tag and digest of an image's reference. Without both the tag is `latest`, as Docker takes it."""
    name, _at, pinned = reference.partition("@")
    place, slash, last = name.rpartition("/")
    last, _colon, tag = last.partition(":")
    return f"{place}{slash}{last}", tag or ("" if pinned else "latest"), pinned


def refuse_pinned(references: t.Iterable[str], reason: Reason = "invalid") -> None:
    """Refuse references with a digest, such as `mongo:7@sha256:…`: no engine can be given an image under one.

    `docker tag` refuses to make one. Only pulling from the very registry that is named does, and a mirror (which Docker
    has for docker.io alone, in the engine's own configuration) could not stand in for it: the digest is that of the
    manifest as it was published, mostly of one for many architectures, with compressed layers. A depot holds one
    architecture and plain layers, so its manifest has another digest, and an engine would refuse it.

    Raises:
        DepotError: saying what to write instead.
    """
    for reference in references:
        name, tag, pinned = split_reference(reference)
        if pinned:
            raise DepotError(
                f"image {reference}: no engine takes an image from a depot under a reference with a digest. Write "
                f"{name}:{tag or '<tag>'} in the Compose file; the release manifest pins the content anyway, by the "
                "digests of its manifest, configuration and layers",
                reason=reason,
                image=reference,
            )


def model_repository(name: str) -> str:
    """Return the name of the repository of a model: in lower case, with `-` for what no repository can have."""
    lowered = re.sub(r"[._+-]+", _separator, name.lower()).strip("._-")
    return f"models/{lowered or 'model'}"


def model_tag(version: str) -> str:
    """Return the tag of a model's version; `_` stands for `+`, which no tag can have."""
    return version.replace("+", "_")


def _separator(found: re.Match[str]) -> str:
    legal = found[0] in (".", "_", "__") or not found[0].strip("-")
    return found[0] if legal else "-"


def loose_of(manifests: t.Iterable[Manifest]) -> dict[str, int]:
    """Return the bytes of each blob of trusted releases by SHA-256, with the manifests of the releases themselves and
    what tools find those by."""
    loose = {EMPTY_SHA256: len(EMPTY)}
    for release in manifests:
        document = release.encode()
        artifact = release_artifact(EMPTY_SHA256, (digest(document), len(document)))
        loose.update({**release.carried, digest(document): len(document), digest(artifact): len(artifact)})
    return loose


def catalog_of(manifests: t.Iterable[Manifest]) -> dict[str, Repository]:
    """Return the repositories of trusted releases. A tag that several of them have is the newest one's."""
    catalog: dict[str, Repository] = {}
    for release in sorted(manifests, key=lambda one: (one.created, one.counter)):
        for image in release.images:
            # A tag of what is pinned says nothing: it is reached by its digest.
            tag = split_reference(image.reference)[1]
            contents = (image.config, *image.layers)
            _add(catalog, repository_of(image.reference), tag, image.manifest, contents, release.blobs)
        for model in release.models:
            place, tag = model_repository(model.name), model_tag(model.version)
            sizes = {**release.blobs, EMPTY_SHA256: len(EMPTY)}
            _add(catalog, place, tag, model.manifest, (EMPTY_SHA256, *model.files.values()), sizes)
    return catalog


def _add(
    catalog: dict[str, Repository],
    name: str,
    tag: str,
    manifest: str,
    contents: t.Iterable[str],
    sizes: t.Mapping[str, int],
) -> None:
    repository = catalog.setdefault(name, Repository())
    if _TAG.fullmatch(tag):
        repository.tags[tag] = manifest
    repository.manifests[manifest] = sizes[manifest]
    repository.blobs.update((sha256, sizes[sha256]) for sha256 in contents)


def route(
    catalog: t.Mapping[str, Repository],
    method: str,
    target: str,
    headers: t.Mapping[str, str],
    loose: t.Mapping[str, int] = MappingProxyType({}),
) -> Reply:
    """Return the answer to a request.

    Args:
        target: path and query as they were sent.
        headers: with names in lower case; `range` and `if-range` count.
        loose: blobs that the depot itself gives out, as `loose_of` returns them.
    """
    if method not in _READS:
        return refusal(405, "UNSUPPORTED", "this registry is read-only: it serves a depot", {"Allow": "GET, HEAD"})
    path, query = _split(target)
    if path in ("/v2", "/v2/"):
        return _json(200, {})
    file, blob = _FILE.fullmatch(path), _LOOSE.fullmatch(path)
    if file:
        return Reply(200, {"Content-Type": "application/json"}, file=file[1])
    if blob:
        if blob[1] not in loose:
            return refusal(404, "BLOB_UNKNOWN", f"no trusted release in the depot has {blob[1]}")
        return _content(blob[1], loose[blob[1]], headers)
    found = _ENDPOINT.fullmatch(path)
    if found is None:
        return refusal(404, "UNSUPPORTED", "there is nothing here; this serves a depot, and a registry at /v2/")
    name = found["name"]
    if not _REPOSITORY.fullmatch(name):
        return refusal(400, "NAME_INVALID", f"{name!r} is no name of a repository")
    if name not in catalog:
        return refusal(404, "NAME_UNKNOWN", f"no trusted release in the depot has anything under {name}")
    if found["tags"]:
        return _tags(name, catalog[name], query)
    if found["kind"] == "manifests":
        return _manifest(name, catalog[name], found["reference"])
    return _blob(name, catalog[name], found["reference"], headers)


def _split(target: str) -> tuple[str, dict[str, str]]:
    try:
        parts = urlsplit(target)
        return unquote(parts.path), {key: values[-1] for key, values in parse_qs(parts.query).items()}
    except ValueError:  # a bracket that does not close
        return "", {}


def _manifest(name: str, repository: Repository, reference: str) -> Reply:
    pinned = _DIGEST.fullmatch(reference)
    if pinned is None and not _TAG.fullmatch(reference):
        code = "DIGEST_INVALID" if ":" in reference else "MANIFEST_INVALID"
        return refusal(400, code, f"{reference!r} is neither a tag nor a SHA-256 digest")
    sha256 = pinned[1] if pinned else repository.tags.get(reference, "")
    if sha256 not in repository.manifests:
        return refusal(404, "MANIFEST_UNKNOWN", f"no trusted release in the depot has {reference} in {name}")
    return Reply(200, _identity(sha256), manifest=sha256, size=repository.manifests[sha256])


def _blob(name: str, repository: Repository, reference: str, headers: t.Mapping[str, str]) -> Reply:
    pinned = _DIGEST.fullmatch(reference)
    if pinned is None:
        return refusal(400, "DIGEST_INVALID", f"{reference!r} is no SHA-256 digest")
    sha256 = pinned[1]
    size = repository.blobs.get(sha256)
    if size is None:
        return refusal(404, "BLOB_UNKNOWN", f"no trusted release in the depot has {reference} in {name}")
    return _content(sha256, size, headers)


def _content(sha256: str, size: int, headers: t.Mapping[str, str]) -> Reply:
    told = {
        **_identity(sha256),
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "Content-Length": str(size),
    }
    reply = Reply(200, told, blob=sha256, size=size, stop=size)
    asked = headers.get("range", "")
    if not asked or headers.get("if-range", told["ETag"]) != told["ETag"]:
        return reply
    return _ranged(reply, asked)


def _ranged(reply: Reply, asked: str) -> Reply:
    """Narrow a reply to the bytes that were asked for.

    RFC 9110, 14.2: what cannot be read, and several ranges at once, may be answered as if there had been none.
    """
    found = _RANGE.fullmatch(asked.strip())
    if found is None or found[0] == "bytes=-" or any(len(digits) > _LONGEST_NUMBER for digits in found.groups()):
        return reply
    first, last = found[1], found[2]
    if first and last and int(last) < int(first):
        return reply
    start = int(first) if first else max(reply.size - int(last), 0)
    stop = min(int(last) + 1, reply.size) if first and last else reply.size
    if start >= stop:
        wanted = refusal(416, "RANGE_INVALID", f"{asked} is not within the {reply.size} bytes of the blob")
        return replace(wanted, headers={**wanted.headers, "Content-Range": f"bytes */{reply.size}"})
    narrowed = {"Content-Length": str(stop - start), "Content-Range": f"bytes {start}-{stop - 1}/{reply.size}"}
    return replace(reply, status=206, headers={**reply.headers, **narrowed}, start=start, stop=stop)


def _tags(name: str, repository: Repository, query: t.Mapping[str, str]) -> Reply:
    tags = sorted(tag for tag in repository.tags if tag > query.get("last", ""))
    asked = query.get("n", "")
    if not asked:
        return _json(200, {"name": name, "tags": tags})
    if not re.fullmatch(r"[0-9]{1,9}", asked):
        return refusal(400, "UNSUPPORTED", f"n={asked!r} is no number of tags")
    some = tags[: int(asked)]
    reply = _json(200, {"name": name, "tags": some})
    if not some or len(some) == len(tags):
        return reply
    link = f'</v2/{name}/tags/list?n={asked}&last={quote(some[-1])}>; rel="next"'
    return replace(reply, headers={**reply.headers, "Link": link})


def document_reply(reply: Reply, document: bytes) -> Reply:
    """Return the answer with a manifest that was read, under the type that it says it has."""
    try:
        told = read_document(document).get("mediaType")
    except (ValueError, AttributeError):
        told = None
    known = isinstance(told, str) and re.fullmatch(r"application/[a-z0-9.+-]{1,100}", told)
    kind = told if known else "application/vnd.oci.image.manifest.v1+json"
    headers = {**reply.headers, "Content-Type": kind, "Content-Length": str(len(document))}
    return replace(reply, headers=headers, body=document, manifest="")


def refusal(status: int, code: str, message: str, headers: t.Mapping[str, str] | None = None) -> Reply:
    """Return an error in the form of the distribution specification."""
    reply = _json(status, {"errors": [{"code": code, "message": message}]})
    return replace(reply, headers={**reply.headers, **(headers or {})})


def _identity(sha256: str) -> dict[str, str]:
    return {"Docker-Content-Digest": f"sha256:{sha256}", "ETag": f'"sha256:{sha256}"'}


def _json(status: int, document: t.Any) -> Reply:
    body = json.dumps(document).encode()
    return Reply(status, {"Content-Type": "application/json", "Content-Length": str(len(body))}, body)
