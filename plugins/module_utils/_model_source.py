# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Where a model's file comes from: parse a source, and show it without its credentials. Nothing here does I/O."""

from __future__ import annotations

import base64
import functools
import posixpath
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError

ALLOWED = (
    "https://host/path, http://host/path, hf://organisation/repository@revision/path, "
    "oci://registry/repository@sha256:digest, depot:///folder!/name, file:///path, "
    "pip://package==version!/path/in/wheel"
)
_HTTP_FORM = "https://host/path"
_HUB_FORM = "hf://organisation/repository@revision/path (a '/' in the revision is written %2F)"
_OCI_FORM = "oci://registry[:port]/repository@sha256:<64 hex digits>[!/path/in/artifact]"
_DEPOT_FORM = "depot:///absolute/folder!/<name or sha256:64 hex digits>[!/path/in/artifact]"
_HIDDEN = "***"
# PEP 508 names; versions as PEP 440 spells them, their epoch ("1!2.0") included.
_PIP = re.compile(r"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)")
_HUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_HUB_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_HUB_TOKEN = re.compile(r"hf_[A-Za-z0-9]{20,}")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# As the OCI distribution specification spells names of repositories, and the image layout's names of references.
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_REFERENCE = re.compile(r"[A-Za-z0-9]+(?:[-._:@+/][A-Za-z0-9]+|--[A-Za-z0-9]+)*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]+")
_NOT_IN_URL = re.compile(r"[\x00-\x20\x7f-\uffff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_COMPONENT = 255  # bytes; what every Linux file system takes


@dataclass(frozen=True)
class HttpSource:
    """A file behind http or https. `url` has no credentials in it; they are in `authorization`."""

    url: str
    shown: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def origin(self) -> tuple[str, ...]:
        return ("http",)


@dataclass(frozen=True)
class HubSource:
    """A file of a model's repository on a Hugging Face hub, at a revision: a commit, a branch or a tag."""

    repo: str
    revision: str
    path: str

    @property
    def shown(self) -> str:
        return f"hf://{self.repo}@{quote(self.revision, safe='')}/{self.path}"

    @property
    def origin(self) -> tuple[str, ...]:
        return ("hub",)


@dataclass(frozen=True)
class OciSource:
    """A layer of an artifact in an OCI registry: `digest` ("sha256:…") is the artifact's or the layer's own.

    With a `path` it is the artifact's, and the path tells the layer.
    """

    registry: str  # host, or host:port
    repository: str
    digest: str
    path: str = ""

    @property
    def shown(self) -> str:
        return f"oci://{self.registry}/{self.repository}@{self.digest}" + (f"!/{self.path}" if self.path else "")

    @property
    def origin(self) -> tuple[str, ...]:
        return ("oci", self.registry)


@dataclass(frozen=True)
class DepotSource:
    """A layer of an artifact in an OCI image layout, a folder on the host: `name` is a reference's or "sha256:…"."""

    folder: str
    name: str
    path: str = ""

    @property
    def shown(self) -> str:
        return f"depot://{self.folder}!/{self.name}" + (f"!/{self.path}" if self.path else "")

    @property
    def origin(self) -> tuple[str, ...]:
        return ("depot", self.folder)


@dataclass(frozen=True)
class FileSource:
    """A file that is on the host already, on a mounted stick for example."""

    path: str

    @property
    def shown(self) -> str:
        return f"file://{self.path}"

    @property
    def origin(self) -> tuple[str, ...]:
        return ("file",)


@dataclass(frozen=True)
class PipSource:
    """A member of a wheel that the host's pip finds in whatever index it is configured for."""

    package: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"

    @property
    def shown(self) -> str:
        return f"pip://{self.requirement}!/{self.member}"

    @property
    def origin(self) -> tuple[str, ...]:
        return ("pip", re.sub(r"[-_.]+", "-", self.package).lower(), self.version)


Source = t.Union[HttpSource, HubSource, OciSource, PipSource, FileSource, DepotSource]


def check_path(path: str, what: str) -> None:
    """Refuse a path that is not plainly relative, or that could climb out of the folder it is meant for."""
    rule = "a path relative to the version's folder, with /, without '.', '..', '\\' and control characters"
    problem = ""
    if not path:
        problem = "is empty"
    elif path.startswith("/"):
        problem = "is absolute"
    elif "\\" in path:
        problem = "contains a backslash"
    elif _CONTROL.search(path):
        problem = "contains a control character"
    elif ".." in path.split("/"):
        problem = "climbs out with '..'"
    elif any(part in ("", ".") for part in path.split("/")):
        problem = "has an empty or '.' component"
    elif any(len(part.encode("utf-8", "surrogatepass")) > _MAX_COMPONENT for part in path.split("/")):
        problem = f"has a component of more than {_MAX_COMPONENT} bytes"
    if problem:
        raise ModelError(f"{what}: path {path!r} {problem}; it must be {rule}")


def parse_source(text: str, what: str) -> Source:
    """Read a source; `what` names the option for the message.

    Raises:
        ModelError: the scheme is not one of ours, or the rest does not fit the scheme. The message
            shows no credentials.
    """
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if separator and scheme in ("http", "https"):
        return _parse_http(text, what)
    if separator and scheme in _PARSERS:
        return _PARSERS[scheme](rest, what)
    raise ModelError(f"{what}: source {redact_url(text)!r} has no scheme that is known; allowed: {ALLOWED}")


def _parse_http(text: str, what: str) -> HttpSource:
    shown = redact_url(text)
    if _NOT_IN_URL.search(text):
        raise ModelError(f"{what}: source {shown!r} contains a space or a character beyond ASCII; percent-encode it")
    parts = _split(text)
    if parts is None or not parts.hostname:
        raise ModelError(f"{what}: source {shown!r} is not a URL with a host; it must be {_HTTP_FORM}")
    userinfo, at, host = parts.netloc.rpartition("@")
    authorization = None
    if at:
        authorization = "Basic " + base64.b64encode(unquote(userinfo).encode("utf-8")).decode("ascii")
    url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
    return HttpSource(url=url, shown=shown, authorization=authorization)


def _parse_hub(rest: str, what: str) -> HubSource:
    shown = redact_url(f"hf://{rest}")
    if _HUB_TOKEN.search(rest) or ":" in rest.partition("@")[0]:
        raise ModelError(
            f"{what}: source {shown!r} must not hold a token or a password; give the token as the option hub_token"
        )
    repo, at, place = rest.partition("@")
    quoted, slash, path = place.partition("/")
    if not at:
        raise ModelError(f"{what}: source {shown!r} names no revision; it must be {_HUB_FORM}")
    names = repo.split("/")
    if len(names) > 2 or not all(_HUB_NAME.fullmatch(name) for name in names):
        raise ModelError(f"{what}: source {shown!r} names no repository of models; it must be {_HUB_FORM}")
    revision = unquote(quoted)
    if not _HUB_REVISION.fullmatch(revision) or not slash:
        raise ModelError(f"{what}: source {shown!r} has no revision and path after the '@'; it must be {_HUB_FORM}")
    check_path(path, f"{what}: source {shown!r}")
    return HubSource(repo=repo, revision=revision, path=path)


def _parse_oci(rest: str, what: str) -> OciSource:
    shown = redact_url(f"oci://{rest}")
    name, inside, path = rest.partition("!/")
    registry, slash, place = name.partition("/")
    if "@" in registry:
        raise ModelError(
            f"{what}: source {shown!r} must not hold credentials; give registry_username and registry_password"
        )
    repository, _at, digest = place.partition("@")
    if not slash or not _REGISTRY.fullmatch(registry):
        raise ModelError(f"{what}: source {shown!r} names no registry; it must be {_OCI_FORM}")
    if ":" in repository:
        raise ModelError(
            f"{what}: source {shown!r} has a tag, which can move; name the digest alone: it must be {_OCI_FORM}"
        )
    if not _REPOSITORY.fullmatch(repository):
        raise ModelError(f"{what}: source {shown!r} names no repository; it must be {_OCI_FORM}")
    if not _DIGEST.fullmatch(digest):
        raise ModelError(f"{what}: source {shown!r} has no digest after '@'; it must be {_OCI_FORM}")
    if inside:
        check_path(path, f"{what}: source {shown!r}")
    return OciSource(registry=registry.lower(), repository=repository, digest=digest, path=path)


def _parse_depot(rest: str, what: str) -> DepotSource:
    shown = f"depot://{rest}"
    host, slash, place = rest.partition("/")
    folder, separator, tail = place.partition("!/")
    name, inside, path = tail.partition("!/")
    folder = posixpath.normpath("/" + unquote(folder))
    if not slash or host not in ("", "localhost") or not separator or folder == "/":
        raise ModelError(f"{what}: source {shown!r} must be {_DEPOT_FORM} on the host itself")
    if "\x00" in folder:
        raise ModelError(f"{what}: source {shown!r} contains a NUL byte")
    digest = name.startswith("sha256:")
    if not (_DIGEST if digest else _REFERENCE).fullmatch(name):
        raise ModelError(f"{what}: source {shown!r} names nothing in the depot; it must be {_DEPOT_FORM}")
    if inside:
        check_path(path, f"{what}: source {shown!r}")
    return DepotSource(folder=folder, name=name, path=path)


def _parse_file(rest: str, what: str) -> FileSource:
    host, slash, path = rest.partition("/")
    if not slash or host not in ("", "localhost"):
        raise ModelError(f"{what}: source 'file://{rest}' must be file:///absolute/path on the host itself")
    path = "/" + unquote(path)
    if "\x00" in path:
        raise ModelError(f"{what}: source {'file://' + rest!r} contains a NUL byte")
    return FileSource(path=path)


def _parse_pip(rest: str, what: str) -> PipSource:
    requirement, separator, member = rest.partition("!/")
    match = _PIP.fullmatch(requirement)
    if not separator or not match:
        raise ModelError(f"{what}: source 'pip://{rest}' must be pip://package==version!/path/in/wheel")
    check_path(member, f"{what}: source 'pip://{rest}'")
    return PipSource(package=match["package"], version=match["version"], member=member)


_PARSERS: dict[str, t.Callable[[str, str], Source]] = {
    "hf": _parse_hub,
    "oci": _parse_oci,
    "depot": _parse_depot,
    "file": _parse_file,
    "pip": _parse_pip,
}


def _split(url: str) -> SplitResult | None:
    """Split a URL; None when it cannot be (a bad port, a bracket that does not close)."""
    try:
        parts = urlsplit(url)
        return parts if parts.port is None or parts.port >= 0 else None  # a bad port raises only when it is asked for
    except ValueError:
        return None


@functools.lru_cache(maxsize=4096)  # one URL is shown several times: as a source, in the log, in the result
def redact_url(url: str) -> str:
    """Return `url` without user, password, and the values of its query (which may hold tokens)."""
    if "://" not in url:
        return url
    scheme, _separator, rest = url.partition("://")
    if scheme.lower() == "hf" and "@" in rest and ":" not in rest.partition("@")[0] and not _HUB_TOKEN.search(rest):
        return url  # here the '@' parts repository and revision
    parts = _split(url)
    if parts is None:
        # Where the credentials end cannot be told, so nothing after the scheme is shown.
        return f"{scheme}://{_HIDDEN}"
    _userinfo, at, host = parts.netloc.rpartition("@")
    netloc = f"{_HIDDEN}@{host}" if at else host
    query = "&".join(_redact_pair(pair) for pair in parts.query.split("&")) if parts.query else ""
    # Not urlunsplit: it takes the slashes of an empty host away from schemes that it does not know.
    tail = (f"?{query}" if query else "") + (f"#{_HIDDEN}" if parts.fragment else "")
    return f"{parts.scheme}://{netloc}{parts.path}{tail}"


def _redact_pair(pair: str) -> str:
    key, equals, _value = pair.partition("=")
    return f"{key}={_HIDDEN}" if equals else _HIDDEN


def redact_text(text: str) -> str:
    """Return `text` with every URL in it redacted."""
    return _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text)
