# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The library in MongoDB: one document a sample, its sound included, which the limit on a body keeps below 16 MB."""

from __future__ import annotations

import time
import typing as t

import pymongo
import pymongo.errors

from .errors import StoreError
from .library import DONE, FAILED, WAITING, Sample
from .settings import Settings

_TIMEOUT_MS = 3000


class MongoLibrary:
    def __init__(self, settings: Settings, client: t.Any = None) -> None:
        self._client: t.Any = client or pymongo.MongoClient(
            settings.library_url, password=settings.library_password, serverSelectionTimeoutMS=_TIMEOUT_MS
        )
        self._samples = self._client.get_default_database()["samples"]
        self._ask(lambda: self._samples.create_index([("added", -1)]))

    def add(self, sample_id: str, name: str, sound: bytes) -> bool:
        document = {"name": name, "state": WAITING, "added": time.time(), "problem": "", "sound": sound}
        answer = self._ask(
            lambda: self._samples.update_one({"_id": sample_id}, {"$setOnInsert": document}, upsert=True)
        )
        return answer.upserted_id is not None

    def sample(self, sample_id: str) -> Sample | None:
        found = self._ask(lambda: self._samples.find_one({"_id": sample_id}, {"sound": 0}))
        return _sample(found) if found else None

    def sound(self, sample_id: str) -> bytes | None:
        found = self._ask(lambda: self._samples.find_one({"_id": sample_id}, {"sound": 1}))
        return bytes(found["sound"]) if found else None

    def page(self, limit: int, offset: int) -> list[Sample]:
        order = [("added", -1), ("_id", 1)]
        found = self._ask(lambda: list(self._samples.find({}, {"sound": 0}).sort(order).skip(offset).limit(limit)))
        return [_sample(document) for document in found]

    def settle(self, sample_id: str, features: dict[str, t.Any] | None, problem: str = "") -> None:
        state = FAILED if features is None else DONE
        change = {"$set": {"state": state, "features": features, "problem": problem}}
        self._ask(lambda: self._samples.update_one({"_id": sample_id}, change))

    def unfinished(self, before: float) -> list[str]:
        wanted = {"state": WAITING, "added": {"$lt": before}}
        return [found["_id"] for found in self._ask(lambda: list(self._samples.find(wanted, {"_id": 1})))]

    def check(self) -> None:
        self._ask(lambda: self._client.admin.command("ping"))

    def _ask(self, ask: t.Callable[[], t.Any]) -> t.Any:
        try:
            return ask()
        except pymongo.errors.PyMongoError as error:
            raise StoreError(f"MongoDB does not answer: {error}") from error


def _sample(document: t.Mapping[str, t.Any]) -> Sample:
    return Sample(
        id=document["_id"],
        name=document["name"],
        state=document["state"],
        added=document["added"],
        features=document.get("features"),
        problem=document.get("problem", ""),
    )
