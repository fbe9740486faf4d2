# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report on images in a real browser, opened as a file as from a stick."""

from __future__ import annotations

import typing as t

import pytest
from selenium.webdriver.common.keys import Keys

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report import Finding, ImageReport
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report_page import read_assets, render_page
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_tree_view import Part
from ansible_collections.emorobcare.fleet.tests.browser._browser import Browser

HOSTILE = "\"><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
PACKAGES = "/opt/venv/lib/python3.13/site-packages"


def image(service: str) -> ImageReport:
    numpy = Part(f"{PACKAGES}/numpy", "", 40, tuple(Part(f"{PACKAGES}/numpy/{n}", "", 20) for n in ("core", HOSTILE)))
    tree = Part("/", "/", 100, (Part(PACKAGES, "", 60, (numpy, Part(f"{PACKAGES}/b", "", 20))), Part("/usr", "", 40)))
    finding = Finding("size", "fail", "It is too large.", "/" + "x" * 300, HOSTILE)
    states = (("size", "failed"), ("user", "passed"), ("vulnerabilities", "not scanned"))
    return ImageReport(
        service, f"demo/{service}:{'0' * 16}", "sha256:" + "1" * 64, 100_000_000, 90_000_000, 5,
        (finding,), (), states, (("vulnerabilities", "there is no trivy"),),
        f"sbom/{service}.json", tree, True,
    )  # fmt: skip


@pytest.fixture(name="address", scope="module")
def address_fixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("report") / "images.html"
    file.write_text(render_page("demo", [image("api"), image("frontend")], read_assets()), encoding="utf-8")
    return file.as_uri()


def focused(browser: Browser) -> str:
    return str(browser.ask("return document.activeElement.closest('.tile')?.dataset.told ?? ''"))


def box(browser: Browser, selector: str) -> t.Any:
    script = "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.width, b.height]"
    return [round(side) for side in browser.ask(script, selector)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_the_report_fits_the_screen_without_a_complaint(
    browser: Browser, address: str, width: int, scheme: str
) -> None:
    browser.open(address, width=width, scheme=scheme)
    assert browser.overflow() == 0
    assert browser.complaints() == []


def test_names_of_files_that_are_markup_are_shown_and_not_run(browser: Browser, address: str) -> None:
    browser.open(address)
    assert browser.chrome.title == "Images of demo"
    assert "onerror" in browser.text()
    assert browser.find_all("img") == []


def test_dark_and_light_are_different(browser: Browser, address: str) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        browser.open(address, scheme=scheme)
        colours.add(browser.find("body").value_of_css_property("background-color"))
    assert len(colours) == 2


def test_every_control_is_reached_by_tab_and_has_a_name(browser: Browser, address: str) -> None:
    browser.open(address)
    assert browser.not_reached_by_tab() == []
    assert browser.without_a_name() == []


def test_arrow_keys_go_through_the_map_and_each_part_is_told(browser: Browser, address: str) -> None:
    browser.open(address)
    browser.ask("document.querySelector('.map [tabindex=\"0\"]').focus()")
    assert focused(browser).startswith(f"{PACKAGES}: 60 B, 60.0 %")
    browser.press(Keys.ARROW_RIGHT)
    assert focused(browser).startswith(f"{PACKAGES}/numpy:")
    assert browser.find(".readout").text == focused(browser)
    browser.press(Keys.ARROW_DOWN)
    assert focused(browser).startswith(f"{PACKAGES}/b:")
    browser.press(Keys.ARROW_UP, Keys.ARROW_LEFT)
    assert focused(browser).startswith(f"{PACKAGES}: ")


def test_enter_opens_a_folder_over_the_whole_map_and_escape_goes_back(browser: Browser, address: str) -> None:
    browser.open(address)
    whole, before = box(browser, ".map"), box(browser, ".tile .tile")
    browser.ask("document.querySelector('.map [tabindex=\"0\"]').focus()")
    browser.press(Keys.ARROW_RIGHT, Keys.ENTER)
    assert box(browser, ".tile:has(.tile:target)") == whole
    assert box(browser, ".tile .tile")[0] >= whole[0] - 6
    browser.press(Keys.ESCAPE, Keys.ESCAPE)
    assert browser.find_all(".tile:target") == []
    assert box(browser, ".tile .tile") == before
