# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Files of models on a Hugging Face hub, or on a mirror of one."""

from __future__ import annotations

import contextlib
import re
import threading
import typing as t
from urllib.parse import urljoin, urlsplit

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import Answer, HttpStream, Transport
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_hub_api import HubApi, HubFile
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network, Told
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import HubSource

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SAYS_NO = (401, 403, 404)
_MOST_STEPS = 5  # redirects within the hub


class HubOrigin:
    """Opens files of repositories of models. Threads share what the hub said of a repository, which is asked once."""

    def __init__(self, network: Network, transport: Transport | None = None) -> None:
        self._transport = transport or Transport(network)
        self._owned = transport is None
        self._api = HubApi(network, self._transport)
        self._lock = threading.Lock()
        self._listings: dict[tuple[str, str], dict[str, HubFile] | ModelError] = {}
        self._heads: dict[HubSource, HubFile | None] = {}

    def probe(self, source: HubSource) -> Told:
        """Say how big the file is.

        Raises:
            ModelError: with reason `unavailable`; the hub cannot be reached, or does not give the file.
        """
        with self._explained(source):
            file = self._told_of(source)
            # No validator: that of the bytes is the storage host's, which the hub redirects to.
            if file is not None:
                return Told(file.size, "", True)
            return self._transport.probe(self._api.file_url(source), self._api.headers, shown=source.shown)

    @contextlib.contextmanager
    def open(
        self, source: HubSource, start: int = 0, stop: int | None = None, validator: str = ""
    ) -> t.Iterator[HttpStream]:
        """Request a file, or the bytes start..stop-1 of it.

        Raises:
            ModelError: as `probe`.
        """
        url, headers = self._api.file_url(source), self._api.headers
        with contextlib.ExitStack() as stack:
            with self._explained(source):
                opened = self._transport.open(url, headers, start, stop, validator, shown=source.shown)
                stream = stack.enter_context(opened)
            yield stream

    def announced_sha256(self, source: HubSource) -> str | None:
        """Return the digest that the hub says the file has, before its bytes are asked for; None if it does not say."""
        try:
            file = self._told_of(source)
        except ModelError:
            return None  # whether the file can be had, `open` will tell
        return file.sha256 if file else None

    def close(self) -> None:
        if self._owned:
            self._transport.close()

    def commit(self, repo: str, revision: str) -> str:
        """Return the commit that a branch, tag or commit stands for now.

        Raises:
            ModelError: there is no such revision, or the hub does not tell.
        """
        return self._api.commit(repo, revision)

    def listing(self, repo: str, revision: str) -> t.Mapping[str, HubFile]:
        """Return the files of a repository by path, asked for once.

        Raises:
            ModelError: there is no such revision, or the hub does not tell.
        """
        key = (repo, revision)
        with self._lock:
            if key not in self._listings:
                try:
                    self._listings[key] = {file.path: file for file in self._api.files(repo, revision)}
                except ModelError as exc:
                    self._listings[key] = exc
            listing = self._listings[key]
        if isinstance(listing, ModelError):
            raise listing
        return listing

    def _told_of(self, source: HubSource) -> HubFile | None:
        """Return what the hub says of a file: by the repository's listing, or by the file's headers without one."""
        with contextlib.suppress(ModelError):  # a mirror may have no listings; the file's own request will tell
            return self.listing(source.repo, source.revision).get(source.path)
        if source not in self._heads:
            self._heads[source] = self._by_head(source)  # asked twice, it says the same
        return self._heads[source]

    def _by_head(self, source: HubSource) -> HubFile | None:
        answer = self._head(source)
        size = answer.headers.get("x-linked-size", "")
        sha256 = answer.headers.get("x-linked-etag", "").strip('"')
        if not size.isdecimal() or not _SHA256.fullmatch(sha256):
            return None
        return HubFile(source.path, int(size), sha256)

    def _head(self, source: HubSource) -> Answer:
        """Return the hub's own answer: not the one of a storage host, which knows nothing of digests and terms."""
        url = self._api.file_url(source)
        for _step in range(_MOST_STEPS):
            answer = self._transport.get_small(url, self._api.headers, shown=source.shown, method="HEAD", follow=False)
            location = urljoin(url, answer.headers.get("location", ""))
            if not 300 <= answer.status < 400 or "x-linked-etag" in answer.headers or not self._is_hub(location):
                break
            url = location  # of a repository that was renamed, or of the hub's own cache
        return answer

    def _is_hub(self, url: str) -> bool:
        return urlsplit(url)[:2] == urlsplit(self._api.base)[:2]

    @contextlib.contextmanager
    def _explained(self, source: HubSource) -> t.Iterator[None]:
        """Put the hub's own reason for a refusal in place of its bare status."""
        try:
            yield
        except ModelError as exc:
            if exc.details.get("status") not in _SAYS_NO:
                raise
            answer = self._head(source)
            if answer.status not in _SAYS_NO:
                raise  # it was the storage host that said no
            raise self._api.refusal(source.shown, source.repo, answer) from exc
