# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change import (
    ABSENT,
    Action,
    Change,
    FileState,
    FileWanted,
    Kept,
    Left,
    Record,
    Target,
    check_change,
    digest,
    make_plan,
    show,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError

PATH = "/etc/demo.conf"
ON, OFF = (("demo", "on"),), (("demo", "off"),)


def state(text: str, mode: int = 0o644, uid: int = 0) -> FileState:
    return FileState("file", mode, uid, 0, digest(text.encode()))


OLD, NEW, NEWER, EDITED = state("old"), state("new"), state("newer"), state("edited")
FIRST = Kept((Record(PATH, OLD, NEW),), (), ON, OFF)


def present(**wanted: t.Any) -> Change:
    return Change("demo", (FileWanted(PATH, **wanted),), ON, OFF)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Change("Demo", (FileWanted(PATH, "x"),)), "name: 'Demo' cannot name a change"),
        (Change("../demo", (FileWanted(PATH, "x"),)), "name: '../demo'"),
        (Change("demo"), "files: name at least one"),
        (Change("demo", (FileWanted(PATH, "x"),), confirm=-1), "confirm: -1"),
        (Change("demo", (FileWanted(PATH, "x"),), activate=((),)), "activate[0] is empty"),
        (Change("demo", (FileWanted(PATH, "x"),), deactivate=(("a",), ("",))), "deactivate[1] is empty"),
        (Change("demo", (FileWanted(PATH, "x"), FileWanted(PATH, mode=0o600))), "files[1].path: /etc/demo.conf is the"),
        (Change("demo", (FileWanted("etc/demo", "x"),)), "files[0].path: 'etc/demo' must be absolute"),
        (Change("demo", (FileWanted("/etc/../demo", "x"),)), "files[0].path: '/etc/../demo' must be"),
        (Change("demo", (FileWanted("/etc/demo/", "x"),)), "files[0].path: '/etc/demo/' must be"),
        (present(content="x", mode=0o10000), "files[0].mode: 10000 is no file mode"),
        (present(), "files[0]: say content, mode, owner or group"),
        (present(content="x", state="absent"), "files[0]: a file that is to be absent has no content"),
        (present(mode=0o600, validate=("check", "%s")), "files[0].validate: there is no content"),
        (present(content="x", validate=("check",)), "files[0].validate: no word has %s"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_name_of_the_option(change: Change, message: str) -> None:
    with pytest.raises(HostError) as caught:
        check_change(change)
    assert str(caught.value).startswith(message)
    assert caught.value.reason == "invalid"


@pytest.mark.parametrize(
    ("wanted", "found", "will"),
    [
        ({"content": "new"}, ABSENT, NEW),
        ({"content": "new"}, OLD, NEW),
        ({"content": "new"}, state("old", 0o600), state("new", 0o600)),
        ({"content": "new", "mode": 0o640}, OLD, state("new", 0o640)),
        ({"content": "new"}, NEW, None),
        ({"content": "new", "mode": 0o600}, NEW, state("new", 0o600)),
        ({"mode": 0o660}, FileState("other", 0o666), FileState("other", 0o660)),
        ({"mode": 0o755}, FileState("folder", 0o777), FileState("folder", 0o755)),
        ({"mode": 0o755}, ABSENT, None),
        ({"state": "absent"}, OLD, ABSENT),
        ({"state": "absent"}, ABSENT, None),
    ],
)
def test_a_file_is_changed_to_what_is_wanted_and_no_more(
    wanted: dict[str, t.Any], found: FileState, will: FileState | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.getegid", lambda: 0)
    change = present(**wanted)
    plan = make_plan(change, [Target(change.files[0])], Kept(), {PATH: found}, [])
    assert plan.actions == (() if will is None else (Action(PATH, found, will),))
    assert plan.kept.records == (() if will is None else (Record(PATH, found, will),))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"content": "new"}, FileState("link")),
        ({"mode": 0o600}, FileState("link")),
        ({"content": "new"}, FileState("folder")),
        ({"state": "absent"}, FileState("folder")),
        ({"state": "absent"}, FileState("other")),
    ],
)
def test_what_is_no_file_is_never_replaced(wanted: dict[str, t.Any], found: FileState) -> None:
    change = present(**wanted)
    with pytest.raises(HostError, match=r"/etc/demo\.conf is .* left alone") as caught:
        make_plan(change, [Target(change.files[0])], Kept(), {PATH: found}, [])
    assert caught.value.reason == "unsafe_path"


@pytest.mark.parametrize(
    ("kept", "content", "records"),
    [
        (FIRST, "newer", (Record(PATH, OLD, NEWER),)),
        (FIRST, "new", (Record(PATH, OLD, NEW),)),
        (FIRST, "old", ()),
    ],
)
def test_what_was_there_before_the_first_change_is_kept_through_later_ones(
    kept: Kept, content: str, records: tuple[Record, ...]
) -> None:
    change = present(content=content)
    assert make_plan(change, [Target(change.files[0])], kept, {PATH: NEW}, []).kept.records == records


@pytest.mark.parametrize(
    ("record", "found", "will"),
    [
        (Record(PATH, OLD, NEW), NEW, OLD),
        (Record(PATH, OLD, NEW), OLD, None),
        (Record(PATH, ABSENT, NEW), NEW, ABSENT),
        (Record(PATH, ABSENT, NEW), ABSENT, None),
        (Record(PATH, OLD, ABSENT), ABSENT, OLD),
        (Record(PATH, FileState("file", 0o666), FileState("file", 0o644)), NEW, state("new", 0o666)),
    ],
)
def test_what_was_there_is_given_back(record: Record, found: FileState, will: FileState | None) -> None:
    plan = make_plan(Change("demo", state="absent"), [], Kept((record,)), {PATH: found}, [])
    assert plan.actions == (() if will is None else (Action(PATH, found, will),))
    assert (plan.kept, plan.left) == (Kept(), ())


@pytest.mark.parametrize(
    ("record", "found", "why"),
    [
        (Record(PATH, OLD, NEW), EDITED, "somebody has changed its content since"),
        (Record(PATH, OLD, NEW), state("new", 0o600), "somebody has changed its mode or owner since"),
        (Record(PATH, OLD, NEW), ABSENT, "somebody has removed it since"),
        (Record(PATH, OLD, ABSENT), EDITED, "somebody has made it anew since"),
        (
            Record(PATH, FileState("file", 0o666), FileState("file", 0o644)),
            state("x", 0o600),
            "somebody has changed it",
        ),
    ],
)
def test_what_somebody_has_edited_since_is_left_to_them(record: Record, found: FileState, why: str) -> None:
    kept = Kept((record,), (), ON)
    plan = make_plan(Change("demo", state="absent"), [], kept, {PATH: found}, [])
    assert plan.actions == ()
    assert [one.path for one in plan.left] == [PATH]
    assert plan.left[0].why.startswith(why)
    assert plan.kept == kept


def test_a_file_that_is_named_no_more_is_given_back_unless_it_was_edited() -> None:
    other, third = "/etc/other.conf", "/etc/third.conf"
    kept = Kept((Record(PATH, OLD, NEW), Record(other, ABSENT, NEW), Record(third, OLD, NEW)))
    found = {PATH: NEW, other: NEW, third: EDITED}
    change = present(content="newer")
    plan = make_plan(change, [Target(change.files[0])], kept, found, [])
    assert plan.actions == (Action(PATH, NEW, NEWER), Action(other, NEW, ABSENT))
    assert plan.kept.records == (Record(PATH, OLD, NEWER), Record(third, OLD, NEW))
    assert plan.left == (Left(third, "somebody has changed its content since"),)


@pytest.mark.parametrize(
    ("change", "kept", "there", "back"),
    [
        (present(content="new"), Kept(), ON, OFF),
        (dataclasses.replace(present(content="new"), deactivate=()), Kept(), ON, ON),
        (present(content="newer"), FIRST, ON, ON),
        (Change("demo", state="absent"), FIRST, OFF, ON),
        (Change("demo", activate=(("a",),), deactivate=(("b",),), state="absent"), FIRST, (("b",),), (("a",),)),
        (Change("demo", state="absent"), dataclasses.replace(FIRST, deactivate=()), ON, ON),
    ],
)
def test_the_way_back_leads_to_what_was_in_force(change: Change, kept: Kept, there: t.Any, back: t.Any) -> None:
    targets = [Target(wanted) for wanted in change.files]
    plan = make_plan(change, targets, kept, {PATH: NEW if kept.records else OLD}, [])
    assert (plan.activate, plan.back) == (there, back)


def test_folders_that_a_change_made_go_with_it() -> None:
    change = present(content="new")
    made = make_plan(change, [Target(change.files[0])], Kept(), {PATH: ABSENT}, ["/etc/demo.d"])
    assert (made.folders, made.drop, made.kept.folders) == (("/etc/demo.d",), (), ("/etc/demo.d",))
    gone = make_plan(Change("demo", state="absent"), [], made.kept, {PATH: made.actions[0].will}, [])
    assert (gone.folders, gone.drop) == ((), ("/etc/demo.d",))


def test_differences_show_no_hidden_content_and_no_bytes() -> None:
    secret, binary = FileState("file", 0o600, 0, 0, digest(b"secret")), FileState("file", 0o644, 0, 0, digest(b"\xff"))
    contents = {digest(text): text for text in (b"secret", b"old", b"\xff")}
    hidden = show([Action(PATH, OLD, secret)], contents, {PATH})
    assert "secret" not in str(hidden).replace("not shown", "")
    assert "old" not in str(hidden)
    assert hidden[0].before != hidden[0].after
    assert [(one.before, one.after) for one in show([Action(PATH, OLD, binary)], contents, ())] == [
        ("old", f"(no text; SHA-256 {digest(bytes([255]))})\n")
    ]
    assert [one.after for one in show([Action(PATH, OLD, state("old", 0o600, 7))], contents, ())] == [
        "mode: 0600\nowner: 7\ngroup: 0\n"
    ]
