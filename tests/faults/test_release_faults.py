# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Releases that are no good, and what a host makes of them: it stays on the one that it has."""

from __future__ import annotations

import socket
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.tests.faults._faults import Record, door, ids, inside, next_run, whole
from ansible_collections.emorobcare.fleet.tests.faults._load import KINDS, Load
from ansible_collections.emorobcare.fleet.tests.faults._releases import PYTHON, Result, wait_for
from ansible_collections.emorobcare.fleet.tests.faults._sides import Sides

SICK = {"test": ["CMD", PYTHON, "-S", "-c", "raise SystemExit('no pulse')"], "interval": "0.5s", "retries": 1}
SAVE = {"snapshot": [PYTHON, "-S", "-c", "open('/data/saved', 'a').write('s')"]}
ONCE = {"load": {"irreversible": True}}
BUILT = "fleet-test/none:0123456789abcdef"


def model(size: int) -> dict[str, t.Any]:
    files = [{"path": "weights", "sha256": "0" * 64, "size": size}]
    mount = {"api": {"volumes": ["shared:/shared", "./models/tiny:/models/tiny:ro"]}}
    return {"models": [{"name": "tiny", "version": "1", "files": files}], "services": mount}


def latency(seconds: float) -> dict[str, t.Any]:
    return {"more": {"api": {"gate": [{"http": {"port": 8000, "path": "/data", "max_latency": seconds}}]}}}


class Bad(t.NamedTuple):
    """A release that is no good, and what the refusal says."""

    fault: str
    reason: str
    says: str
    options: dict[str, t.Any] = {}  # noqa: RUF012
    mode: str = "good"


REFUSED = [
    Bad(
        "an image that is built is missing",
        "image_missing",
        "image_build",
        {"services": {"api": {"image": BUILT}}, "images": {"api": {"reference": BUILT, "input": "0" * 64}}},
    ),
    Bad(
        "an image cannot be pulled",
        "image_unavailable",
        "cannot be pulled",
        {"services": {"api": {"image": "registry.invalid/nothing:1"}}},
    ),
    Bad("a model is missing", "model_missing", "tiny/1", model(4)),
    Bad(
        "it wants more memory than there is",
        "no_memory",
        "override=memory",
        {"services": {"api": {"mem_limit": "4096g"}}},
    ),
    Bad(
        "it cannot be there twice",
        "release_invalid",
        "cannot be there twice",
        {"services": {"api": {"container_name": "fleet-test-only-one"}}},
    ),
    Bad(
        "a snapshot fails",
        "snapshot_failed",
        "said: no room",
        {"more": {"db": {"snapshot": [PYTHON, "-S", "-c", "raise SystemExit('no room')"]}}, "database": "other"},
    ),
]

TAKEN_BACK = [
    Bad(
        "it is never healthy", "gate_timeout", "no pulse", {"services": {"api": {"healthcheck": SICK}}, "timeout": 2.5}
    ),
    Bad("it exits again and again", "gate_failed", "restarted 4 times", mode="dies"),
    Bad("it answers wrongly", "gate_timeout", "gave false", {"expect": "mode == 'other'", "timeout": 2.0}),
    Bad("it flaps", "gate_timeout", "status 500, not 200", {"timeout": 2.0}, mode="flaps"),
    Bad("it is too slow", "gate_timeout", "allowed are 0.2 s", {"timeout": 2.0, **latency(0.2)}, mode="slow"),
    Bad(
        "it exits after the switch",
        "soak_failed",
        "ended with exit code 3",
        {"rollout": {"soak": 30}, "services": {"api": {"restart": "no"}}},
        mode="leaves",
    ),
    Bad("a job fails", "gate_failed", "exit code 3", {"job_code": "raise SystemExit(3)"}),
    Bad(
        "a job that cannot be undone fails",
        "gate_failed",
        "What load did to the data cannot be undone, and may be there still: the snapshot of db, taken before, holds",
        {"job_code": "raise SystemExit(3)", "more": {**ONCE, "db": SAVE}},
    ),
]


def release(sides: Sides, bad: Bad) -> dict[str, t.Any]:
    """The module's options for it; the mode is no reason to fail by itself."""
    options = {"expect": f"mode == '{bad.mode}'", **bad.options} if "more" not in bad.options else bad.options
    return sides.sided("new", bad.mode, **options)


def afterwards(sides: Sides, record: Record, fault: str, result: Result) -> None:
    """What must hold after each: the old release, whole; and the next run finds nothing to do."""
    whole(sides, "old")
    again = sides.deploy(sides.sided("old"))
    assert not again["changed"]
    record.row(fault, result["reason"], sides.serving(), next_run(again, "old"))


@pytest.mark.parametrize("bad", REFUSED, ids=lambda bad: bad.fault)
def test_what_cannot_work_is_refused_before_anything_is_touched(old: Sides, record: Record, bad: Bad) -> None:
    before, journal = ids(old), old.journal()
    result = old.refused(release(old, bad), bad.reason)
    assert bad.says in result["msg"]
    assert not result.get("changed", False)
    assert ids(old) == before
    assert old.journal()["committed"] == journal["committed"]
    afterwards(old, record, bad.fault, result)


@pytest.mark.parametrize("bad", TAKEN_BACK, ids=lambda bad: bad.fault)
def test_what_does_not_work_is_taken_back_and_nobody_notices(old: Sides, record: Record, bad: Bad) -> None:
    before = ids(old)
    with Load(old.port, KINDS[:2]) as load:
        wait_for(lambda: load.total > 20)
        result = old.refused(release(old, bad), bad.reason)
    assert bad.says in result["msg"]
    assert result["changed"]
    assert result["rolled_back_to"] == old.journal()["committed"]["release"]
    # Whom the new side served when it died was told so; else nobody saw more than the old one.
    assert load.failures == [] or (bad.reason == "soak_failed" and "new" in load.colours)
    assert ids(old) == before
    failure = old.journal()["failure"]
    assert (failure["reason"], failure["release"]) == (bad.reason, release(old, bad)["id"])
    afterwards(old, record, bad.fault, result)


def test_a_model_of_another_size_is_refused(old: Sides, record: Record) -> None:
    weights = old.root / "fleet" / "models" / "tiny" / "1" / "weights"
    weights.parent.mkdir(parents=True)
    weights.write_text("abc")
    try:
        result = old.refused(old.sided("new", **model(4)), "model_missing")
        assert "has 3 bytes, not 4" in result["msg"]
        assert old.deploy(old.sided("new", **model(3)))["changed"]
        whole(old, "new")
        old.deploy(old.sided("old"))
    finally:
        weights.unlink()
        weights.parent.rmdir()
    afterwards(old, record, "a model has another size", result)


def test_a_snapshot_is_taken_before_a_job_that_cannot_be_undone(old: Sides) -> None:
    inside(old, "-data/db", "import os; os.path.exists('/data/saved') and os.remove('/data/saved')")
    seen = "import os, sys; sys.exit(0 if os.path.exists('/data/saved') else 4)"
    job = {"load": {"volumes": ["data:/data"]}}
    old.deploy(old.sided("new", job_code=seen, services=job, more={**ONCE, "db": SAVE}))
    assert inside(old, "-data/db", "print(open('/data/saved').read())") == "s"
    assert old.journal()["committed"]["irreversible"] == ["load"]


def test_memory_may_be_found_enough_by_who_knows_better_and_the_journal_tells(old: Sides) -> None:
    big = old.sided("big", services={"api": {"mem_limit": "4096g"}})
    assert old.deploy(big, override=["memory"])["changed"]
    whole(old, "big")
    assert old.journal()["committed"]["overrides"] == ["memory"]
    assert not old.deploy(big)["changed"]


def test_a_port_of_the_ingress_that_somebody_else_holds_is_refused(old: Sides, record: Record) -> None:
    before = ids(old)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = old.refused(old.sided("new", ingress=door(old, http=f"127.0.0.1:{port}")), "port_taken")
    assert f"127.0.0.1:{port}/tcp, which service ingress publishes" in result["msg"]
    assert ids(old) == before
    afterwards(old, record, "the port of its ingress is somebody else's", result)
