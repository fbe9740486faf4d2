# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which samples sound alike: ChromaDB, by its HTTP interface, version 2."""

from __future__ import annotations

import typing as t
import urllib.parse

import httpx

from .errors import StoreError

_BASE = "/api/v2/tenants/default_tenant/databases/default_database/collections"
_TIMEOUT = 5.0  # seconds


class Index:
    """Vectors by the sample's id, compared by cosine; the collection is made when it is first needed."""

    def __init__(self, url: str, client: httpx.Client | None = None) -> None:
        self._client = client or httpx.Client(base_url=url, timeout=_TIMEOUT)
        self._collection = ""

    def put(self, sample_id: str, vector: t.Sequence[float]) -> None:
        self._ask("upsert", {"ids": [sample_id], "embeddings": [list(vector)]})

    def near(self, vector: t.Sequence[float], limit: int) -> list[tuple[str, float]]:
        """The nearest samples and how alike they are, from 0 to 1."""
        asked = {"query_embeddings": [list(vector)], "n_results": limit, "include": ["distances"]}
        answer = self._ask("query", asked)
        pairs = zip(answer["ids"][0], answer["distances"][0], strict=True)
        return [(sample_id, round(max(0.0, 1.0 - distance / 2), 4)) for sample_id, distance in pairs]

    def check(self) -> None:
        self._send("GET", "/api/v2/heartbeat")

    def _ask(self, verb: str, body: dict[str, t.Any]) -> t.Any:
        if not self._collection:
            wanted = {"name": "samples", "get_or_create": True, "configuration": {"hnsw": {"space": "cosine"}}}
            self._collection = urllib.parse.quote(str(self._send("POST", _BASE, wanted)["id"]), safe="")
        return self._send("POST", f"{_BASE}/{self._collection}/{verb}", body)

    def _send(self, method: str, path: str, body: dict[str, t.Any] | None = None) -> t.Any:
        try:
            answer = self._client.request(method, path, json=body)
            if answer.status_code == 404:
                self._collection = ""  # a new server has none of what was there
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise StoreError(f"the index does not answer: {error}") from error
