# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The report on a stack's images as one HTML page that needs nothing else. Pure, but for its style and script.

The same input gives the same page. All text comes from images and is escaped; besides, the page's own policy lets no
script run but the one that belongs to it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import pathlib
import typing as t
import urllib.parse
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report import (
    NOT_SCANNED,
    Finding,
    ImageReport,
    readable,
    readable_change,
    readable_findings,
    scan_state,
    sum_line,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report_map import kinds_bar, treemap

_HERE = pathlib.Path(__file__).parent
_STYLES = {"passed": "passed", "failed": "failed", "warned": "warned", NOT_SCANNED: "unseen"}


@dataclass(frozen=True)
class Assets:
    """What stands in the page beside its content."""

    style: str
    script: str


def read_assets() -> Assets:
    """Read the page's style and script, which lie beside this file."""
    return Assets(*((_HERE / f"image_report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")))


def render_page(title: str, images: t.Sequence[ImageReport], assets: Assets, made: str = "") -> str:
    """Return the page. C(made) says when and of what it was made, if anybody wants to know."""
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {_hash(assets.script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    heading = f"Images of {_text(title)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{heading}</title>
<link rel="icon" href="data:,">
<style>{assets.style}</style>
</head>
<body>
<header>
<h1>{heading}</h1>
<p class="soft">{_text(sum_line(images))}.{f" {_text(made)}" if made else ""}</p>
{_figures(images)}
</header>
<main>
{_overview(images)}
{"".join(_image(image) for image in images)}
</main>
<footer><p>Sizes are those of the unpacked images, as the engine reports them; kB, MB and GB are powers of 1000.
Layers that images share are counted in each. What nothing has looked at is <em>not scanned</em>, not passed.</p>
</footer>
<script>{assets.script}</script>
</body>
</html>
"""


def _figures(images: t.Sequence[ImageReport]) -> str:
    compared = [image for image in images if image.change is not None]
    change = sum(image.change or 0 for image in compared)
    sign = "+" if change > 0 else "\N{MINUS SIGN}" if change < 0 else "\N{PLUS-MINUS SIGN}"
    cells = [
        ("Images", str(len(images))),
        ("All together", readable(sum(image.size or 0 for image in images))),
        ("Since the last build", f"{sign}{readable(abs(change))}" if compared else "first"),
        ("Findings that fail", str(sum(image.count("fail") for image in images))),
        ("Not scanned in full", str(sum(bool(image.not_scanned) or not image.audited for image in images))),
    ]
    return '<dl class="figures">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in cells) + "</dl>"


def _overview(images: t.Sequence[ImageReport]) -> str:
    largest = max((image.size or 0 for image in images), default=0) or 1
    rows = "".join(
        f'<tr><th scope="row"><a href="#{_anchor(image)}">{_text(image.service)}</a></th>'
        f'<td class="number">{_size(image)}</td><td class="wide">{_bar(image, (image.size or 0) / largest)}</td>'
        f'<td class="number">{_change(image)}</td><td>{_verdict(image)}</td><td>{_state(scan_state(image))}</td></tr>'
        for image in images
    )
    heads = "".join(
        f'<th scope="col">{head}</th>'
        for head in ("Image", "Size", "What takes it", "Since the last build", "Findings", "Vulnerabilities")
    )
    return (
        f'<section class="overview" aria-label="All images"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _image(image: ImageReport) -> str:
    anchor = _anchor(image)
    facts = [
        f"<code>{_text(image.reference)}</code>",
        f"<code>{_text(image.id)}</code>" if image.id else "",
        f"{image.layers} layers" if image.layers is not None else "",
        f"{readable(image.before)} before" if image.before is not None else "",
        f'<a href="{_text(_link(image.sbom))}">What is in it (SBOM)</a>' if image.sbom else "no SBOM",
    ]
    parts = [
        f'<section class="image" id="{anchor}" aria-labelledby="{anchor}-title">',
        f'<div class="head"><h2 id="{anchor}-title">{_text(image.name)}</h2>',
        f'<p><span class="number">{_size(image)}</span> <span class="soft">{_change(image)}</span></p></div>',
        f'<p class="soft">{" · ".join(fact for fact in facts if fact)}</p>',
        _findings(image),
        f"<h3>What takes the space</h3>{treemap(image.tree, anchor)}" if image.tree else "",
        "</section>\n",
    ]
    return "\n".join(part for part in parts if part)


def _findings(image: ImageReport) -> str:
    if not image.audited:
        return f'<h3>Findings</h3><p><span class="pill unseen">{readable_findings(image)}</span></p>'
    rules = "".join(f"<li>{_state(state, rule)}</li>" for rule, state in image.states)
    notes = "".join(f"<li><strong>{_text(rule)}</strong>: {_text(note)}</li>" for rule, note in image.notes)
    items = [_finding(one, one.level) for one in image.findings] + [_finding(one, "ignored") for one in image.ignored]
    return (
        f'<h3>Findings: {readable_findings(image)}</h3><ul class="findings">{"".join(items)}</ul>'
        f'<h3>Rules</h3><ul class="rules" aria-label="Rules">{rules}</ul>'
        + (f'<ul class="soft notes" aria-label="Why a rule says nothing">{notes}</ul>' if notes else "")
    )


def _finding(finding: Finding, level: str) -> str:
    more = f"\nand {finding.more} more" if finding.more else ""
    words = [
        f'<strong>{_text(finding.rule)}</strong> <span class="pill {_text(level)}">{_text(level)}</span>',
        f"<p>The image {_text(finding.message)}.</p>" if finding.message else "",
        f'<pre tabindex="0" aria-label="Evidence">{_lines(finding.evidence)}{more}</pre>' if finding.evidence else "",
        f"<p>Way out: {_text(finding.way_out)}</p>" if finding.way_out else "",
        f'<p class="soft">Ignored until {_text(finding.until) or "no date"}: {_text(finding.reason) or "no reason"}</p>'
        if level == "ignored"
        else "",
    ]
    return f'<li class="is-{_text(level)}">{"".join(words)}</li>'


def _verdict(image: ImageReport) -> str:
    if not image.audited:
        return _state(NOT_SCANNED, shown="not audited")
    state = "failed" if image.count("fail") else "warned" if image.count("warn") else "passed"
    return _state(state, shown=readable_findings(image))


def _state(state: str, rule: str = "", shown: str = "") -> str:
    words = f"{rule}: {state}" if rule else shown or state
    return f'<span class="pill {_STYLES.get(state, "")}">{_text(words)}</span>'


def _size(image: ImageReport) -> str:
    return "-" if image.size is None else readable(image.size)


def _change(image: ImageReport) -> str:
    change = image.change or 0
    style = "grown" if change > 0 else "shrunk" if change < 0 else "soft"
    return f'<span class="{style}">{readable_change(image)}</span>'


def _bar(image: ImageReport, share: float) -> str:
    if image.tree:
        return kinds_bar(image.tree, share)
    return f'<div class="bar" style="width:{100 * share:.2f}%"></div>'


def _anchor(image: ImageReport) -> str:
    return "image-" + hashlib.sha256(image.service.encode(errors="replace")).hexdigest()[:8]


def _link(path: str | None) -> str:
    """Return a path as an address below the page: a colon in it must not make it one of another kind."""
    return "./" + urllib.parse.quote(path or "", safe="/", errors="replace")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _text(value: str) -> str:
    return html.escape("".join(char if char.isprintable() else "?" for char in value))


def _lines(value: str) -> str:
    return "\n".join(_text(line) for line in value.splitlines())
