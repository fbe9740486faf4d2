# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import Container
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_info import Seen, report
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Failure, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Hashes, Identity

NEW, OLD = Identity("9f86d081884c", "s2"), Identity("3f9a11112222", "s1")
HASHES = {name: Hashes("h", "h") for name in ("api", "db", "load")}
COMMIT = Commit(NEW, "2026-11-21T09:30:00Z", HASHES, {"api": 2.5, "db": 4.0}, "green", overrides=("busy",))
EARLIER = Commit(OLD, "2026-11-20T09:30:00Z", HASHES, {}, "blue", irreversible=("migrate",))
JOURNAL = Journal("shop", "ab" * 32, committed=COMMIT, history=(EARLIER,))
SERVICES = {"api": {"lifecycle": "stateless"}, "db": {"lifecycle": "stateful"}, "load": {"lifecycle": "job"}}
DOCUMENTS = {NEW.release: {"environment": "prod", "services": SERVICES}}


def container(project: str, service: str, **more: t.Any) -> Container:
    return Container(f"{project}/{service}", f"{project}-{service}-1", project, service, **more)


FOUND = (
    container("shop-data", "db", health="healthy", started_at="2026-11-20T09:29:00Z"),
    container("shop-green", "api", restarts=2, started_at="2026-11-21T09:29:00Z"),
    container("shop-green", "load", status="exited", exit_code=0, finished_at="2026-11-21T09:29:30Z"),
    container("shop-ingress", "ingress", health="healthy"),
)


def test_all_that_is_known_of_a_stack_is_told() -> None:
    failure = Failure("2026-11-22T00:00:00Z", OLD.release, "gate_failed", "api died")
    journal = JOURNAL.entering("gate", OLD, "blue")
    found = report(Seen("shop", Journal(**{**vars(journal), "failure": failure}), None, FOUND, DOCUMENTS, working=True))
    assert found["working"]
    assert (found["release"], found["environment"], found["since"]) == (NEW.release, "prod", COMMIT.since)
    assert (found["phase"], found["candidate"], found["colour"]) == ("gate", OLD.release, "green")
    assert found["overrides"] == ["busy"]
    assert found["gate"] == {"since": COMMIT.since, "seconds": 4.0}
    assert found["kept"] == [
        {
            "release": OLD.release,
            "environment": None,
            "since": EARLIER.since,
            "irreversible": ["migrate"],
            "complete": False,
        }
    ]
    assert found["failure"] == vars(failure)
    assert [tuple(row.values()) for row in found["services"]] == [
        ("api", "green", "stateless", "running", None, 2, None, "2026-11-21T09:29:00Z"),
        ("db", "data", "stateful", "running", "healthy", 0, None, "2026-11-20T09:29:00Z"),
        ("ingress", "ingress", "ingress", "running", "healthy", 0, None, None),
        ("load", "green", "job", "exited", None, 0, 0, "2026-11-21T09:29:30Z"),
    ]


def test_a_service_without_a_container_is_told_and_one_of_the_other_side_does_not_count_for_it() -> None:
    others = (FOUND[0], container("shop-blue", "api"))
    rows = report(Seen("shop", JOURNAL, None, others, DOCUMENTS))["services"]
    assert [(row["service"], row["side"], row["state"]) for row in rows] == [
        ("api", None, "absent"),
        ("api", "blue", "running"),
        ("db", "data", "running"),
        ("load", None, "absent"),
    ]


def test_a_stack_without_sides_has_none() -> None:
    plain = Journal("shop", "ab" * 32, committed=Commit(NEW, "2026-11-21T09:30:00Z", {"api": Hashes("h", "h")}, {}))
    found = report(Seen("shop", plain, None, (container("shop", "api"),), DOCUMENTS))
    assert found["colour"] is None
    assert found["gate"] == {"since": "2026-11-21T09:30:00Z", "seconds": None}
    assert [(row["service"], row["side"], row["state"]) for row in found["services"]] == [("api", "", "running")]


LITTLE: list[t.Any] = [
    pytest.param(Seen("shop", None, {"reason": "journal_newer", "message": "…"}), id="no journal"),
    pytest.param(Seen("shop", Journal("shop", "ab" * 32)), id="a journal without a release"),
    pytest.param(Seen("shop", JOURNAL), id="no engine and no documents"),
]


@pytest.mark.parametrize("seen", LITTLE)
def test_what_is_not_known_is_none_and_the_keys_are_the_same(seen: Seen) -> None:
    whole = report(Seen("shop", JOURNAL, None, FOUND, DOCUMENTS))
    found = report(seen)
    assert set(found) == set(whole)
    assert found["services"] == []
    assert found["environment"] is None
    assert found["problem"] == (dict(seen.problem) if seen.problem else None)
