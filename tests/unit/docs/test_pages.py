# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the pages promise about the code, and about each other, is so."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_judge import CONTROLS
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import Reason

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "molecule" / "README.md", *ROOT.glob("roles/*/*.md")]
)
FAULTS = ROOT / "tests" / "faults"
REASONS = frozenset(t.get_args(Reason))

_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_WORD = re.compile(r"`([a-z_]+)`")


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in _HEADING.findall(prose(page))}


def rows(page: Path, first: str) -> list[list[str]]:
    """The rows of all tables of a page whose first column is called so."""
    found, header = [], ""
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            header = ""
        elif not header:
            header = cells[0]
        elif header == first and not set(cells[0]) <= {"-", ":"}:
            found.append(cells)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        name, _hash, anchor = link.partition("#")
        if "://" in link:
            continue
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_is_to_be_shredded_is_named_file_by_file(page: Path) -> None:
    # A pattern would also match a key that was just made, of which there is no copy yet.
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if "shred -u" in line]
    assert [line for line in lines if "*" in line] == []


def test_the_guide_has_a_way_out_for_every_reason_and_for_no_other() -> None:
    told = [cells[0] for cells in rows(ROOT / "docs" / "depot.md", "reason")]
    assert sorted(told) == sorted(f"`{reason}`" for reason in REASONS)


def test_the_format_names_reasons_that_there_are() -> None:
    told = {word for cells in rows(ROOT / "docs" / "depot-format.md", "step") for word in _WORD.findall(cells[1])}
    assert told
    assert told <= REASONS


def test_each_fault_of_a_depot_is_held_by_a_test_that_there_is_and_has_a_reason_that_there_is() -> None:
    page = (ROOT / "docs" / "depot-faults.md").read_text(encoding="utf-8")
    parts = re.split(r"^`(test_depot_\w+\.py)`", page, flags=re.MULTILINE)
    assert len(parts) > 10, "the page has another form"
    for name, part in zip(parts[1::2], parts[2::2]):
        tests = set(re.findall(r"^def (test_\w+)", (FAULTS / name).read_text(encoding="utf-8"), re.MULTILINE))
        table = [line for line in part.split("\n## ")[0].splitlines() if line.startswith("| ")][1:]
        told = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
        assert told, name
        for _fault, _what, reason, test in told:
            assert set(re.findall(r"`(test_\w+)`", test)) <= tests, name
            assert re.findall(r"`(test_\w+)`", test), test
            assert set(_WORD.findall(reason)) <= REASONS, reason
            assert _WORD.findall(reason) or reason == "none", reason


def _control_row(control: Control) -> list[str]:
    """What the page says of a control."""
    does = "enforced" if control.kind == "enforced" else f"{control.kind}: {control.why}"
    files = ", ".join(f"`harden_{subject}.yml`" for subject in control.subjects)
    others = "stacks' checks" if control.section in (4, 5) else "the audit alone"
    by = files or (others if control.kind == "enforced" else "nobody")
    return [control.number, control.number_18 or control.number, f"`{control.slug}`", control.title, does, by]


def test_the_page_of_controls_says_what_the_audit_holds() -> None:
    told = rows(ROOT / "docs" / "docker-host-controls.md", "control")
    assert told == [_control_row(control) for control in CONTROLS]


def test_each_file_that_the_page_of_controls_names_is_there() -> None:
    tasks = ROOT / "roles" / "docker_host" / "tasks"
    named = {f"harden_{subject}.yml" for control in CONTROLS for subject in control.subjects}
    assert named
    assert named <= {path.name for path in tasks.glob("harden_*.yml")}
