# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake Hugging Face hub on loopback, and the storage host that it sends to for large files.

Both are as the real ones where our code looks: the listing in pages, the headers of LFS files, the words of refusals.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t
from dataclasses import dataclass, field
from urllib.parse import unquote

from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._web import Asked, Reply, Web

COMMIT = "c0ffee" + "0" * 34
OTHER_COMMIT = "beef" * 10
_PAGE = 2  # files


@dataclass
class Repo:
    """A repository: content by path; those in `lfs` are large files, which a storage host has."""

    files: dict[str, bytes]
    lfs: frozenset[str] = frozenset()
    token: str = ""  # who may read it: all, or only who has this token
    gated: bool = False  # and has not accepted the terms
    announced: dict[str, str] = field(default_factory=dict)  # digests that the hub gets wrong, by path


@dataclass
class Hub:
    """What a test may change while the hub runs. `api` False: a mirror that serves files and no listings."""

    repos: dict[str, Repo]
    web: Web
    storage: Web
    api: bool = True
    signature: str = "good"  # in the signed URLs that it gives out


@contextlib.contextmanager
def fake_hub(repos: dict[str, Repo]) -> t.Iterator[Hub]:
    """Run a hub with these repositories (by organisation/name), each at COMMIT, which is what main and v1.0 are."""
    contents = {digest_of(content): content for repo in repos.values() for content in repo.files.values()}

    def store(asked: Asked) -> Reply:
        if asked.method == "HEAD" or asked.query.get("signature") != "good":
            return Reply(403)  # a signed URL is for GET only
        return Reply(200, contents[asked.path.rpartition("/")[2]], {"ETag": '"storage"', "Accept-Ranges": "bytes"})

    with Web(store) as storage, Web(lambda asked: _answer(hub, asked)) as web:
        hub = Hub(repos, web, storage)
        yield hub


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _answer(hub: Hub, asked: Asked) -> Reply:
    parts = asked.path.split("/")[1:]
    if parts[:2] == ["api", "models"] and hub.api:
        organisation, name, what, revision = parts[2:6]
        return _guarded(hub, asked, f"{organisation}/{name}", unquote(revision), lambda repo: _api(hub, asked, what))
    if parts[:2] == ["org", "renamed"]:
        return Reply(307, b"", {"Location": asked.path.replace("renamed", "open", 1)})
    if parts[2:3] == ["resolve"]:
        path = unquote("/".join(parts[4:]))
        repo_name = "/".join(parts[:2])
        return _guarded(hub, asked, repo_name, unquote(parts[3]), lambda repo: _file(hub, repo, path))
    return Reply(404, b"Not Found")


def _guarded(hub: Hub, asked: Asked, name: str, revision: str, answer: t.Callable[[Repo], Reply]) -> Reply:
    repo = hub.repos.get(name)
    if repo is None or (repo.token and asked.authorization != f"Bearer {repo.token}"):
        status = 401 if asked.authorization is None or repo is not None else 404
        return Reply(status, b"", {"X-Error-Code": "RepoNotFound"})
    if repo.gated and "/resolve/" in asked.path:
        return Reply(403, b"", {"X-Error-Code": "GatedRepo"})
    if revision not in (COMMIT, "main", "v1.0", "refs/pr/1"):
        return Reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
    return answer(repo)


def _api(hub: Hub, asked: Asked, what: str) -> Reply:
    repo = hub.repos["/".join(asked.path.split("/")[3:5])]
    if what == "revision":
        return Reply(200, json.dumps({"id": "x", "sha": COMMIT}).encode())
    entries: list[dict[str, t.Any]] = [{"type": "directory", "path": "folder", "size": 0, "oid": "0" * 40}]
    for path, content in repo.files.items():
        entry: dict[str, t.Any] = {"type": "file", "path": path, "size": len(content), "oid": "1" * 40}
        if path in repo.lfs:
            oid = repo.announced.get(path, digest_of(content))
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": 134}
        entries.append(entry)
    start = int(asked.query.get("cursor", "0"))
    headers = {}
    if start + _PAGE < len(entries):
        # A mirror passes on the links of the hub itself.
        link = f"https://huggingface.co{asked.path}?recursive=true&cursor={start + _PAGE}"
        headers["Link"] = f'<{link}>; rel="next"'
    return Reply(200, json.dumps(entries[start : start + _PAGE]).encode(), headers)


def _file(hub: Hub, repo: Repo, path: str) -> Reply:
    content = repo.files.get(path)
    if content is None:
        return Reply(404, b"", {"X-Error-Code": "EntryNotFound"})
    if path not in repo.lfs:
        return Reply(200, content, {"ETag": '"' + "1" * 40 + '"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})
    headers = {
        "Location": f"{hub.storage.url}/{digest_of(content)}?signature={hub.signature}",
        "X-Linked-Etag": f'"{repo.announced.get(path, digest_of(content))}"',
        "X-Linked-Size": str(len(content)),
        "X-Repo-Commit": COMMIT,
    }
    return Reply(302, b"Found", headers)
