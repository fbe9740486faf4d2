# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from newscast_api.errors import FeedError
from newscast_api.feeds import MAX_ENTRIES, parse_feed, plain, shorten

FIXTURE = Path(__file__).parents[5] / "stacks/newscast/images/frontend/site/fixtures/feed.xml"
RSS = '<rss version="2.0"><channel><title>T</title>{}</channel></rss>'
BOMB = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><rss><channel><title>&b;</title></channel></rss>'
FILE = '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><channel><title>&a;</title></channel></rss>'
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><entry><id>urn:1</id>
<title type="html">Salt &amp;amp; pepper</title><link rel="self" href="http://no/"/><link href="https://a.example/1"/>
<updated>2026-01-02T03:04:05+01:00</updated><summary type="html">&lt;p&gt;One&lt;/p&gt;two</summary></entry></feed>"""


def test_the_feed_of_the_stack_has_the_news_that_the_gate_counts() -> None:
    feed = parse_feed(FIXTURE.read_bytes())
    assert (feed.title, len(feed.entries)) == ("Newscast examples", 5)
    assert feed.entries[0].title == "A robot reads the news aloud"
    assert all(entry.published and entry.summary for entry in feed.entries)


def test_atom_is_read_with_its_alternate_link_and_its_time_in_utc() -> None:
    (entry,) = parse_feed(ATOM.encode()).entries
    assert (entry.guid, entry.title, entry.summary) == ("urn:1", "Salt & pepper", "One two")
    assert entry.link == "https://a.example/1"
    assert entry.published == datetime.datetime(2026, 1, 2, 2, 4, 5, tzinfo=datetime.UTC)


@pytest.mark.parametrize("text", [BOMB, FILE])
def test_a_document_that_defines_entities_is_refused(text: str) -> None:
    with pytest.raises(FeedError, match="entities"):
        parse_feed(text.encode())


@pytest.mark.parametrize("content", [b"", b"<rss>", b"<html/>", b'<?xml version="1.0" encoding="nothing"?><a/>'])
def test_what_is_no_feed_is_refused(content: bytes) -> None:
    with pytest.raises(FeedError):
        parse_feed(content)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "/relative", "http://a/" + "x" * 3000])
def test_a_link_that_a_page_must_not_show_is_dropped(link: str) -> None:
    (entry,) = parse_feed(RSS.format(f"<item><title>A</title><link>{link}</link></item>").encode()).entries
    assert entry.link == ""


def test_an_item_without_title_gets_the_beginning_of_its_text_and_one_without_both_is_left_out() -> None:
    items = "<item><description>Some &lt;b&gt;words&lt;/b&gt;</description></item><item/>"
    assert [entry.title for entry in parse_feed(RSS.format(items).encode()).entries] == ["Some words"]


def test_a_feed_without_end_is_cut() -> None:
    items = "".join(f"<item><title>{number}</title></item>" for number in range(MAX_ENTRIES + 5))
    assert len(parse_feed(RSS.format(items).encode()).entries) == MAX_ENTRIES


def test_scripts_are_no_words() -> None:
    assert plain("a<script>b()</script>c<br>d &lt; e").split() == ["a", "c", "d", "<", "e"]


def test_a_long_text_is_cut_between_words() -> None:
    assert shorten("one  two\nthree", 9) == "one two…"
