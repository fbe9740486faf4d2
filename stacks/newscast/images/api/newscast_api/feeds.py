# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading feeds: RSS 2.0, RSS 1.0 and Atom (RFC 4287). Pure.

A feed is written by somebody else. What it holds comes out as plain text and as links to web pages, of limited length;
a document that defines entities is refused, because they can grow without end or name files of this machine.
"""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import html.parser
import typing as t
import xml.etree.ElementTree
from dataclasses import dataclass

import defusedxml
import defusedxml.ElementTree

from .errors import FeedError

if t.TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_ENTRIES = 200
MAX_TITLE = 300  # characters
MAX_SUMMARY = 2_000
MAX_LINK = 2_000
MAX_GUID = 500
_ATOM = "{http://www.w3.org/2005/Atom}"
_RSS1 = "{http://purl.org/rss/1.0/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DATE = "{http://purl.org/dc/elements/1.1/}date"


@dataclass(frozen=True)
class Entry:
    """One piece of news. ``guid`` is its identity within the feed; without a date it is as old as it is known."""

    guid: str
    title: str
    summary: str
    link: str
    published: datetime.datetime | None


@dataclass(frozen=True)
class Feed:
    title: str
    entries: tuple[Entry, ...]


def parse_feed(content: bytes) -> Feed:
    """Read a feed. Raises FeedError."""
    try:
        root = defusedxml.ElementTree.fromstring(content)
    except defusedxml.DefusedXmlException as error:
        raise FeedError("the feed defines entities, which is not allowed") from error
    except (xml.etree.ElementTree.ParseError, ValueError, LookupError) as error:
        raise FeedError(f"the feed is no well-formed XML: {error}") from error
    if root.tag == "rss" and (channel := root.find("channel")) is not None:
        return _feed(channel, channel.findall("item"), "")
    if root.tag == f"{_RDF}RDF" and (channel := root.find(f"{_RSS1}channel")) is not None:
        return _feed(channel, root.findall(f"{_RSS1}item"), _RSS1)
    if root.tag == f"{_ATOM}feed":
        return _feed(root, root.findall(f"{_ATOM}entry"), _ATOM)
    raise FeedError(f"the document is neither RSS nor Atom: its root is {str(root.tag)[:100]!r}")


def _feed(channel: Element, elements: t.Sequence[Element], namespace: str) -> Feed:
    read = _atom_entry if namespace == _ATOM else lambda element: _rss_entry(element, namespace)
    entries = {entry.guid: entry for entry in map(read, elements[:MAX_ENTRIES]) if entry.title}
    return Feed(_text(channel.find(f"{namespace}title"), MAX_TITLE), tuple(entries.values()))


def _rss_entry(element: Element, namespace: str) -> Entry:
    title = _text(element.find(f"{namespace}title"), MAX_TITLE)
    summary = _text(element.find(f"{namespace}description"), MAX_SUMMARY)
    link = _link(element.findtext(f"{namespace}link") or "")
    guid = element.findtext("guid") or element.get(f"{_RDF}about") or ""
    date = element.findtext("pubDate") or element.findtext(_DATE) or ""
    # Either may be missing, not both: then the beginning of the text is the title.
    return Entry(_guid(guid, link, title + summary), title or shorten(summary, 100), summary, link, _date(date))


def _atom_entry(element: Element) -> Entry:
    title = _text(element.find(f"{_ATOM}title"), MAX_TITLE)
    summaries = (element.find(f"{_ATOM}{name}") for name in ("summary", "content"))
    summary = next((text for found in summaries if (text := _text(found, MAX_SUMMARY))), "")
    links = [link for link in element.findall(f"{_ATOM}link") if link.get("rel", "alternate") == "alternate"]
    link = _link(links[0].get("href", "")) if links else ""
    date = element.findtext(f"{_ATOM}published") or element.findtext(f"{_ATOM}updated") or ""
    return Entry(_guid(element.findtext(f"{_ATOM}id") or "", link, title + summary), title, summary, link, _date(date))


def _text(element: Element | None, limit: int) -> str:
    """The text of an element: RSS writes HTML everywhere, Atom says what it writes."""
    if element is None:
        return ""
    is_atom = str(element.tag).startswith(_ATOM)
    text = "".join(element.itertext())
    return shorten(plain(text) if not is_atom or element.get("type") == "html" else text, limit)


def _guid(guid: str, link: str, text: str) -> str:
    found = guid.strip() or link
    return found if found and len(found) <= MAX_GUID else hashlib.sha256((found or text).encode()).hexdigest()


def _link(link: str) -> str:
    """A link that a page may show: of the web, and nothing that would be run."""
    link = link.strip()
    return link if link.lower().startswith(("http://", "https://")) and len(link) <= MAX_LINK else ""


def _date(text: str) -> datetime.datetime | None:
    for read in (email.utils.parsedate_to_datetime, datetime.datetime.fromisoformat):
        try:
            date = read(text.strip())
            return (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            continue
    return None


def shorten(text: str, limit: int) -> str:
    """The text on one line, cut between two words where it is too long."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    return f"{head.rpartition(' ')[0] or head}…"


def plain(markup: str) -> str:
    """The words of HTML."""
    words = _Words()
    words.feed(markup)
    words.close()
    return "".join(words.found)


class _Words(html.parser.HTMLParser):
    """Collects text. Tags part words, but for those that stand within one."""

    _WITHIN = frozenset({"a", "abbr", "b", "code", "em", "i", "span", "strong", "sub", "sup", "u"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, _attrs: t.Sequence[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")
        if tag not in self._WITHIN:
            self.found.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style") and self._hidden > 0
        if tag not in self._WITHIN:
            self.found.append(" ")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.found.append(data)
