# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.bench import images
from ansible_collections.emorobcare.fleet.tests.bench import images_report as report

ROOT = Path(__file__).resolve().parents[3]
ABOUT = {
    "machine": {"processor": "P", "cores": 2},
    "run": {"date": "2026-01-02", "rounds": 2, "engine": "26.1"},
}


def service(**more: t.Any) -> report.Service:
    return report.Service(**{"stack": "demo", "name": "api", "family": "python", "size": 100_000_000, **more})


@pytest.mark.parametrize(
    ("files", "family"),
    [
        (["Dockerfile", "requirements.in"], "python"),
        (["Dockerfile", "redis.conf"], "redis"),
        (["Dockerfile", "my.cnf"], "mariadb"),
        (["Dockerfile", "nginx.conf", "site"], "frontend"),
        (["Dockerfile"], ""),
    ],
)
def test_a_service_is_held_against_the_naive_form_of_its_family(files: list[str], family: str) -> None:
    assert report.family_of(files) == family


STACKS = sorted(file.parent.name for file in ROOT.glob("stacks/*/stack.yml"))
SERVICES = [(stack, service) for stack in STACKS for service in images.contexts_of(stack)]


@pytest.mark.parametrize(("stack", "service"), SERVICES, ids=["-".join(one) for one in SERVICES])
def test_every_service_has_a_naive_form_and_a_source_to_change_if_it_has_a_program(stack: str, service: str) -> None:
    assert images.naive_dockerfile(stack, service)
    context = images.contexts_of(stack)[service]
    assert bool(images.source_of(context)) is any(
        context_file.suffix in (".py", ".js") for context_file in files(context)
    )


def files(context: Path) -> list[Path]:
    return [file for file in (ROOT / context).rglob("*") if file.is_file()]


@pytest.mark.parametrize(("ids", "same"), [([], None), (["a"], None), (["a", "a"], True), (["a", "b"], False)])
def test_only_two_builds_tell_whether_they_are_the_same(ids: list[str], same: bool | None) -> None:
    assert service(ids=ids).is_reproducible is same


def test_what_all_take_from_nothing_is_added_up_by_round() -> None:
    assert report.all_cold([report.Stack("a", [1.0, 3.0]), report.Stack("b", [10.0, 30.0])]) == [11.0, 33.0]


def test_what_misses_its_figure_is_bold_and_what_was_not_measured_says_so() -> None:
    good = service(naive=1_000_000_000, code_seconds=[3.0, 4.0, 5.0], code_run_seconds=[7.0], ids=["a", "a"])
    bad = service(name="big", size=190_000_000, naive=200_000_000, code_seconds=[9.0], ids=["a", "b"])
    unknown = service(name="odd", family="", why_not="its build | fails")
    text = report.tables([report.Stack("demo", [100.0], [2.5], [good, bad, unknown], [2.0])], ABOUT)
    assert "| demo/api | 100.0 | 180.0 | 1000.0 | 90 % | 4.0 | 7.0 | yes |" in text
    assert "| demo/big | **190.0** | 180.0 | 200.0 | **5 %** | **9.0** |  | **no** |" in text
    assert "| demo/odd | 100.0 |  | its build \\| fails |  |  |  |  |" in text
    assert "| demo | 100.0 | **2.5** | 2.0 |" in text


def test_figures_can_be_stored() -> None:
    stored = json.loads(
        json.dumps(report.results([report.Stack("demo", [1.0], [], [service(naive=400_000_000)])], ABOUT))
    )
    assert stored["stacks"]["demo"]["no_op_seconds"] is None
    assert stored["stacks"]["demo"]["services"]["api"]["of_naive"] == 0.25


def test_the_document_has_one_pair_of_markers() -> None:
    document = (ROOT / "docs" / "measurements.md").read_text(encoding="utf-8")
    assert report.with_block(report.with_block(document, "new"), "new") == report.with_block(document, "new")


@pytest.mark.parametrize(
    "document", ["none", report.BEGIN, f"{report.END}{report.BEGIN}", report.BEGIN * 2 + report.END]
)
def test_a_document_without_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="must have one line"):
        report.with_block(document, "new")
