# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import html.parser
import re

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils import _image_report_page as page
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report import Finding, ImageReport
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_tree_view import Part

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "</style></title><h1>x",
    "a\nb\r\x00\x1b[2J\u202ec",
    "\udcff\udc80",
    "ünï😀",
]
VOID = {"meta", "link", "br", "img"}


def image(text: str) -> ImageReport:
    finding = Finding(text, "warn", text, f"{text}\nsecond line", text, text, text, 2)
    tree = Part("/", "/", 100, (Part(f"/{text}", text, 60, (Part(f"/{text}/{text}", text, 60),)), Part("/b", "b", 40)))
    return ImageReport(
        service=text,
        reference=f"demo/{text}:1",
        id="sha256:1",
        size=100,
        before=90,
        layers=3,
        findings=(finding,),
        ignored=(finding,),
        states=((text, text),),
        notes=((text, text),),
        sbom=text,
        tree=tree,
        audited=True,
    )


class Reader(html.parser.HTMLParser):
    """Collects elements and attributes, and checks that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def render(*images: ImageReport, title: str = "demo") -> str:
    return page.render_page(title, images, page.read_assets(), title)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_from_images_are_text_whatever_they_hold(text: str) -> None:
    plain, hostile = Reader(render(image("plain"), title="plain")), Reader(render(image(text), title=text))
    assert hostile.tags == plain.tags
    assert [name for name, _value in hostile.attributes] == [name for name, _value in plain.attributes]
    assert hostile.open == []


@pytest.mark.parametrize("text", HOSTILE)
def test_links_lead_to_the_page_itself_or_below_its_folder(text: str) -> None:
    links = [value for name, value in Reader(render(image(text))).attributes if name == "href"]
    assert [link for link in links if not link.startswith(("#", "./", "data:,"))] == []


def test_nothing_is_loaded_from_anywhere() -> None:
    read = Reader(render(image("a")))
    assert not any(name in ("src", "srcset", "action") for name, _value in read.attributes)
    assert not re.search(r"https?:|url\(|@import", render(image("a")))
    (policy,) = (value for name, value in read.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy


def test_the_same_input_gives_the_same_page() -> None:
    assert render(image("a"), image("b")) == render(image("a"), image("b"))


def test_ids_are_each_given_once() -> None:
    ids = [value for name, value in Reader(render(image("a"), image("b"))).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_what_is_not_audited_is_said_not_to_be_and_never_passed() -> None:
    text = render(ImageReport("a", "demo/a:1", None, None))
    assert "not audited" in text
    assert "not scanned" in text
    assert 'pill passed"' not in text


def test_an_ignored_rule_shows_its_reason_and_date() -> None:
    ignored = Finding("layers", "ignore", "too many", "", "", "they are upstream's", "2027-01-31")
    text = render(ImageReport("a", "demo/a:1", "sha256:1", 5, audited=True, ignored=(ignored,)))
    assert "Ignored until 2027-01-31: they are upstream&#x27;s" in text


def test_a_report_without_images_can_be_made() -> None:
    assert Reader(render()).open == []
