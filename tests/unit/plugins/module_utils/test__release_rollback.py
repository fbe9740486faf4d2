# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import Commit, Journal
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_plan import Identity
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_rollback import choose, losses


def commit(release: str, *irreversible: str, settings: str = "s") -> Commit:
    return Commit(Identity(release, settings), f"when {release} was", {}, {}, "blue", irreversible)


def journal(*commits: Commit) -> Journal:
    """The journal after these commits, the earliest first."""
    made = Journal("shop", "00")
    for one in commits:
        made = made.committing(one, keep=9)
    return made


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        pytest.param(None, "bbb", id="the one before"),
        pytest.param("a", "aaa", id="the start of an id"),
        pytest.param("ccc", "ccc", id="the one that is committed"),
    ],
)
def test_the_release_to_go_back_to_is_chosen(wanted: str | None, chosen: str) -> None:
    assert choose(journal(commit("aaa"), commit("bbb"), commit("ccc")), wanted).identity.release == chosen


def test_of_a_release_with_two_settings_the_latest_counts() -> None:
    commits = journal(commit("aaa", settings="1"), commit("aaa", settings="2"), commit("bbb"))
    assert choose(commits, "aaa").identity.settings == "2"


@pytest.mark.parametrize(
    ("commits", "wanted", "message"),
    [
        pytest.param((), None, "no earlier release of stack shop; kept are: none", id="nothing"),
        pytest.param(("aaa",), None, r"no earlier release .*; kept are: aaa \(when aaa was\)", id="only one"),
        pytest.param(("aaa", "bbb"), "c", r"no release 'c' .*: bbb \(when bbb was\), aaa", id="unknown"),
        pytest.param(("aaa",), "", "no release ''", id="an empty name is that of none"),
    ],
)
def test_a_release_that_was_not_kept_is_refused_with_those_that_were(
    commits: tuple[str, ...], wanted: str | None, message: str
) -> None:
    with pytest.raises(ReleaseError, match=message) as caught:
        choose(journal(*map(commit, commits)), wanted)
    assert caught.value.reason == "release_gone"


# commits, the earliest first -> the release to go back to, and the jobs whose work would be lost
LOSSES = [
    pytest.param((commit("a"), commit("b")), "a", (), id="nothing ran that cannot be undone"),
    pytest.param((commit("a"), commit("b", "move")), "a", ("move",), id="a job ran since"),
    pytest.param((commit("a", "move"), commit("b")), "a", (), id="its own job ran before"),
    pytest.param((commit("a"), commit("b", "x"), commit("c", "y", "x")), "a", ("y", "x"), id="jobs of two releases"),
    pytest.param(
        (commit("a", "x"), commit("b", "y"), commit("a")), "b", (), id="back and forth: nothing ran since going back"
    ),
    pytest.param(
        (commit("o"), commit("a", "x"), commit("b"), commit("a")),
        "o",
        ("x",),
        id="what a job did is not forgotten when its release is gone back to",
    ),
    pytest.param(
        (commit("o"), commit("a", "x"), commit("b"), commit("a"), commit("b")),
        "a",
        (),
        id="nor is it told of what comes after",
    ),
    pytest.param((commit("o"), commit("a", "x"), commit("a")), "o", ("x",), id="committed again without running"),
]


@pytest.mark.parametrize(("commits", "target", "jobs"), LOSSES)
def test_going_back_loses_what_ran_since_and_cannot_be_undone(
    commits: tuple[Commit, ...], target: str, jobs: tuple[str, ...]
) -> None:
    made = journal(*commits)
    assert losses(made, choose(made, target)) == jobs
