# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each stack's page in a real browser, in front of services that answer as the test wants."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.tests.browser._browser import Browser
from ansible_collections.emorobcare.fleet.tests.browser._server import Server, Site
from ansible_collections.emorobcare.fleet.tests.browser._stacks import USES

ROOT = Path(__file__).resolve().parents[2]
SITES = {site.parents[2].name: site for site in sorted(ROOT.glob("stacks/*/images/frontend/site"))}

stacks = pytest.mark.parametrize("stack", SITES)
used_stacks = pytest.mark.parametrize("stack", [name for name in SITES if name in USES])


def answers(stack: str) -> t.Any:
    return USES[stack].answers if stack in USES else {}


def test_every_page_has_its_main_action_tested() -> None:
    assert set(SITES) == set(USES)


@used_stacks
def test_a_page_loads_without_a_complaint_and_within_its_policy(browser: Browser, stack: str) -> None:
    with Server(Site(SITES[stack], answers(stack))) as server:
        browser.open(server.address)
        browser.until(lambda: browser.ask("return document.readyState") == "complete", "the page never loaded")
        assert browser.complaints() == []


@stacks
@pytest.mark.parametrize("width", [320, 360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_screen(browser: Browser, stack: str, width: int, scheme: str) -> None:
    with Server(Site(SITES[stack], answers(stack))) as server:
        browser.open(server.address, width=width, scheme=scheme)
        assert browser.overflow() == 0


@stacks
def test_every_control_is_reached_by_tab(browser: Browser, stack: str) -> None:
    with Server(Site(SITES[stack], answers(stack))) as server:
        browser.open(server.address)
        assert browser.not_reached_by_tab() == []


@stacks
def test_every_control_has_a_name(browser: Browser, stack: str) -> None:
    with Server(Site(SITES[stack], answers(stack))) as server:
        browser.open(server.address)
        assert browser.without_a_name() == []


@stacks
def test_results_are_announced_and_the_language_is_known(browser: Browser, stack: str) -> None:
    with Server(Site(SITES[stack], answers(stack))) as server:
        browser.open(server.address)
        assert browser.find_all("[aria-live], [role=status]")
        assert browser.find("html").get_attribute("lang")


@used_stacks
def test_the_main_action_shows_its_result(browser: Browser, stack: str) -> None:
    use = USES[stack]
    with Server(Site(SITES[stack], use.answers)) as server:
        browser.open(server.address, width=360)
        use.act(browser)
        browser.until_said(use.shows, use.where)
        assert browser.overflow() == 0
        assert browser.complaints() == []


@used_stacks
def test_an_error_of_a_service_is_told_in_its_words(browser: Browser, stack: str) -> None:
    with Server(Site(SITES[stack], {})) as server:
        browser.open(server.address)
        USES[stack].act(browser)
        browser.until_said("the service is resting")
        # The browser itself notes that an answer was an error; the page's own code must not fail.
        assert [one for one in browser.complaints() if "Failed to load resource" not in one] == []
