# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the sentences' vectors are kept: Qdrant, as a folder of its own format or as a server."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import typing as t
import uuid
from collections.abc import Iterator, Mapping, Sequence

from .errors import StoreError
from .settings import Place

if t.TYPE_CHECKING:
    from qdrant_client import QdrantClient

COLLECTION = "documents"
TIMEOUT_SECONDS = 2
# A point's id must be a number or a UUID; this makes the same UUID of the same document's id, always.
_NAMESPACE = uuid.UUID("3d2c4f5e-6f0b-5b7c-9a51-0a4b6f3f9c10")


@dataclasses.dataclass(frozen=True)
class Neighbour:
    id: str
    score: float  # cosine similarity, -1 to 1


class VectorStore(t.Protocol):
    """What is needed of a store. Every method may raise StoreError."""

    def put(self, vectors: Mapping[str, Sequence[float]]) -> None:
        """Keep one vector for each document's id."""

    def nearest(self, vector: Sequence[float], limit: int) -> list[Neighbour]:
        """The nearest first."""

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of ``ids`` that have no vector yet."""

    def count(self) -> int: ...

    def check(self) -> None:
        """Return if the store answers."""

    def close(self) -> None: ...


def point_id(document_id: str) -> str:
    """The id of a document's point."""
    return str(uuid.uuid5(_NAMESPACE, document_id))


class QdrantVectors:
    def __init__(self, client: QdrantClient, dimensions: int, lock: contextlib.AbstractContextManager[t.Any]) -> None:
        self._client = client
        self._lock = lock
        with self._calls("Qdrant cannot be prepared"):
            self._prepare(dimensions)

    def _prepare(self, dimensions: int) -> None:
        from qdrant_client import models

        if not self._client.collection_exists(COLLECTION):
            self._client.create_collection(
                COLLECTION, vectors_config=models.VectorParams(size=dimensions, distance=models.Distance.COSINE)
            )
        vectors = self._client.get_collection(COLLECTION).config.params.vectors
        size = vectors.size if isinstance(vectors, models.VectorParams) else None
        if size != dimensions:
            raise StoreError(
                f"Qdrant's collection {COLLECTION!r} holds vectors of {size} numbers, the model makes {dimensions}; "
                "remove the collection, and the documents are indexed again"
            )

    def put(self, vectors: Mapping[str, Sequence[float]]) -> None:
        from qdrant_client import models

        points = [
            models.PointStruct(id=point_id(name), vector=list(vector), payload={"id": name})
            for name, vector in vectors.items()
        ]
        with self._calls("the vectors cannot be kept"):
            self._client.upsert(COLLECTION, points=points, wait=True)

    def nearest(self, vector: Sequence[float], limit: int) -> list[Neighbour]:
        with self._calls("the vectors cannot be searched"):
            found = self._client.query_points(COLLECTION, query=list(vector), limit=limit, with_payload=True)
        return [Neighbour(id=point.payload["id"], score=point.score) for point in found.points if point.payload]

    def missing(self, ids: Sequence[str]) -> list[str]:
        with self._calls("the vectors cannot be read"):
            found = self._client.retrieve(COLLECTION, ids=[point_id(name) for name in ids], with_payload=False)
        known = {str(point.id) for point in found}
        return [name for name in ids if point_id(name) not in known]

    def count(self) -> int:
        with self._calls("the vectors cannot be counted"):
            return self._client.count(COLLECTION, exact=True).count

    def check(self) -> None:
        with self._calls("Qdrant does not answer"):
            self._client.get_collection(COLLECTION)

    def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _calls(self, what: str) -> Iterator[None]:
        import httpx
        from qdrant_client.http.exceptions import ApiException

        try:
            with self._lock:
                yield
        except (ApiException, httpx.HTTPError, OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"{what}: {error}") from error


def open_vectors(place: Place, dimensions: int) -> VectorStore:
    """Open the store. Raises StoreError, also while another process has the folder open."""
    from qdrant_client import QdrantClient

    if place.is_remote:
        client = QdrantClient(url=place.url, timeout=TIMEOUT_SECONDS, check_compatibility=False)
        lock: contextlib.AbstractContextManager[t.Any] = contextlib.nullcontext()
    else:
        try:
            client = QdrantClient(path=str(place.path), force_disable_check_same_thread=True)
        except (RuntimeError, OSError) as error:
            raise StoreError(f"the vectors in {place.path} cannot be opened: {error}") from error
        # The local mode keeps its points in this process and is not made for several threads at once.
        lock = threading.Lock()
    try:
        return QdrantVectors(client, dimensions, lock)
    except StoreError:
        client.close()  # it holds the folder's lock, and the next try wants it
        raise
