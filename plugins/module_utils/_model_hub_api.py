# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What a Hugging Face hub says of a repository of models: its commit, its files, their digests, and why it says no.

Source: the hub's API as the Python package huggingface_hub 1.x uses it.
"""

from __future__ import annotations

import json
import re
import typing as t
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_error import refused
from ansible_collections.emorobcare.fleet.plugins.module_utils._loopback import is_loopback
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Answer, Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HubSource, redact_url

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NEXT = re.compile(r'<([^<>]*)>[^<>,]*;\s*rel="?next"?')
_PAGE_LIMIT = 8 << 20  # bytes of one page of a listing; the hub puts 1,000 files on one
_MOST_PAGES = 1000


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its path, its size in bytes, and its SHA-256 where the hub knows it (LFS files)."""

    path: str
    size: int
    sha256: str | None = None


def parse_tree(data: bytes, shown: str) -> tuple[HubFile, ...]:
    """Read one page of a repository's listing; folders are left out.

    Raises:
        ModelError: it is no such page, or announces two sizes for one file.
    """
    try:
        entries = json.loads(data)
    except ValueError as exc:
        raise _strange(shown, f"the hub's listing is no JSON ({exc}); is hub_url that of a hub?") from exc
    if not isinstance(entries, list):
        raise _strange(shown, "the hub's listing is no list; is hub_url that of a hub?")
    return tuple(_parse_entry(entry, shown) for entry in entries if _is_file(entry))


def _is_file(entry: t.Any) -> bool:
    return isinstance(entry, dict) and entry.get("type") == "file"


def _parse_entry(entry: dict[str, t.Any], shown: str) -> HubFile:
    path, size, lfs = entry.get("path"), entry.get("size"), entry.get("lfs")
    if not isinstance(path, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _strange(shown, f"the hub lists a file without path or size: {entry!r:.200}")
    if not isinstance(lfs, dict):
        return HubFile(path, size)
    sha256, lfs_size = str(lfs.get("oid", "")).partition("sha256:")[2] or str(lfs.get("oid", "")), lfs.get("size")
    if lfs_size != size:
        raise ModelError(
            f"{shown}: the hub announces {size} and {lfs_size} bytes for {path!r}; it cannot be pinned until the hub "
            "makes up its mind",
            reason="size_mismatch",
            source=shown,
        )
    return HubFile(path, size, sha256 if _SHA256.fullmatch(sha256) else None)


def next_query(link: str) -> str:
    """Return the query of the next page out of a Link header (RFC 8288), "" on the last one.

    Only the query is believed: a mirror passes on links that lead to the hub itself.
    """
    match = _NEXT.search(link)
    return urlsplit(match[1]).query if match else ""


def hub_base(network: Network) -> str:
    """Return the URL that all others begin with, without a slash at its end.

    Raises:
        ModelError: with reason `invalid`; hub_url is no such URL, or the token would be sent in the clear.
    """
    url = network.hub_url.rstrip("/")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise ModelError(
            f"hub_url {redact_url(network.hub_url)!r} must be https://host[/path], without credentials and query; a "
            "token goes into hub_token"
        )
    if network.hub_token and parts.scheme == "http" and not is_loopback(host):
        raise ModelError(
            f"hub_token would go over the network in the clear to {url}; use https:// in hub_url, or give no hub_token "
            "(nor HF_TOKEN in the environment)"
        )
    return url


def hub_refusal(
    shown: str, page: str, status: int, reason: str, headers: t.Mapping[str, str], with_token: bool
) -> ModelError:
    """Return the error for a hub that says no, with the way out. `page` is the URL of the repository for people."""
    plain = refused(shown, status, "", headers)
    hint = _hint(page, status, headers, with_token)
    return ModelError(
        f"{shown}: the hub answers {status}{f' {reason}' if reason else ''}{hint}",
        reason="unavailable",
        transient=plain.transient,
        retry_after=plain.retry_after,
        source=shown,
        status=status,
    )


def _hint(page: str, status: int, headers: t.Mapping[str, str], with_token: bool) -> str:
    code = headers.get("x-error-code", "")
    if code == "GatedRepo":
        account = "the account that hub_token is of" if with_token else "an account, and give its token as hub_token"
        return f"; the repository is gated: accept its terms on {page} with {account}"
    if code == "RevisionNotFound":
        return f"; the repository has no such revision: see {page}/refs, or its history"
    if code == "EntryNotFound":
        return f"; the repository has no such file at that revision: see {page}"
    if status in (401, 403) and with_token:
        return (
            f"; hub_token is refused, or may not read {page}: is it still valid, are the repository's terms accepted?"
        )
    if status == 401:  # what the hub says of missing repositories as well, so as not to tell which ones there are
        return f"; there is no repository {page}, or it is private or gated: check the name, or give hub_token"
    if status == 403:
        return f"; {page} is not open to all: give hub_token, and accept the repository's terms if it has any"
    if status == 404:
        sees = "or hub_token may not see it" if with_token else "or only with a hub_token"
        return f"; there is no such repository, revision or file on {page}, {sees}"
    return ""


class HubApi:
    """Asks a hub about repositories. The token goes to the hub and to no other host."""

    def __init__(self, network: Network, transport: Transport) -> None:
        self.base = hub_base(network)
        self.headers = {"Authorization": f"Bearer {network.hub_token}"} if network.hub_token else {}
        self._transport = transport

    def file_url(self, source: HubSource) -> str:
        return f"{self.page(source.repo)}/resolve/{quote(source.revision, safe='')}/{quote(source.path)}"

    def page(self, repo: str) -> str:
        return f"{self.base}/{quote(repo)}"

    def commit(self, repo: str, revision: str) -> str:
        """Return the commit that a branch, tag or commit stands for now.

        Raises:
            ModelError: there is no such revision, or the hub does not tell.
        """
        shown = f"hf://{repo}@{revision}"
        url = f"{self.base}/api/models/{quote(repo)}/revision/{quote(revision, safe='')}"
        answer = self._get(url, repo, shown)
        try:
            commit = json.loads(answer.body)["sha"]
        except (ValueError, KeyError, TypeError):
            commit = None
        if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
            raise _strange(shown, f"the hub does not say which commit that is; is {self.base} a hub?")
        return commit

    def files(self, repo: str, revision: str) -> tuple[HubFile, ...]:
        """Return all files of a repository at a revision.

        Raises:
            ModelError: there is no such revision, or the hub does not tell.
        """
        shown = f"hf://{repo}@{revision}"
        url = f"{self.base}/api/models/{quote(repo)}/tree/{quote(revision, safe='')}"
        files: list[HubFile] = []
        query, asked = "recursive=true", set[str]()
        while query and query not in asked and len(asked) < _MOST_PAGES:
            asked.add(query)
            answer = self._get(f"{url}?{query}", repo, shown)
            files += parse_tree(answer.body, shown)
            query = next_query(answer.headers.get("link", ""))
        if query:
            raise _strange(shown, "the hub's listing does not end")
        return tuple(files)

    def refusal(self, source_shown: str, repo: str, answer: Answer) -> ModelError:
        """Return the error for an answer that says no."""
        page, token = self.page(repo), bool(self.headers)
        return hub_refusal(source_shown, page, answer.status, answer.reason, answer.headers, token)

    def _get(self, url: str, repo: str, shown: str) -> Answer:
        answer = self._transport.get_small(url, self.headers, shown=shown, limit=_PAGE_LIMIT)
        if answer.status != 200:
            raise self.refusal(shown, repo, answer)
        return answer


def _strange(shown: str, why: str) -> ModelError:
    return ModelError(f"{shown}: {why}", reason="unavailable", source=shown)
