# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What is known of a stack's images after a build and an audit, and of their sizes before: a table for people. Pure."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_tree_view import Part, read_tree
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._progress import printable
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._summary import table

SCHEMA = 1
NOT_SCANNED = "not scanned"

_HEAD = ("IMAGE", "SIZE", "CHANGE", "LAYERS", "FINDINGS", "VULNERABILITIES")
_NOTHING = "-"
_SCAN_RULE = "vulnerabilities"

Result = t.Mapping[str, t.Any]


class ImageReportError(Exception):
    """What is to be reported cannot be read; the message is for the user."""


@dataclass(frozen=True)
class Finding:
    """What the audit has against an image, or would have if it were not ignored (then with reason and date)."""

    rule: str
    level: str
    message: str
    evidence: str = ""
    way_out: str = ""
    reason: str = ""
    until: str = ""
    more: int = 0  # so many are not among the evidence


@dataclass(frozen=True)
class ImageReport:
    """An image: sizes in bytes. What is None is not known, as the size of one that would be built in check mode."""

    service: str
    reference: str
    id: str | None
    size: int | None
    before: int | None = None
    layers: int | None = None
    findings: tuple[Finding, ...] = ()
    ignored: tuple[Finding, ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    sbom: str | None = None
    tree: Part | None = None
    audited: bool = False

    @property
    def name(self) -> str:
        """The reference without its tag or digest, which stays the same from build to build."""
        bare = self.reference.partition("@")[0]
        head, colon, tail = bare.rpartition(":")
        return head if colon and "/" not in tail else bare

    @property
    def change(self) -> int | None:
        """By how many bytes it has grown since the last build; None if there is nothing to compare."""
        return None if self.size is None or self.before is None else self.size - self.before

    @property
    def not_scanned(self) -> tuple[str, ...]:
        """The rules that nothing has looked at, which is not the same as passed."""
        return tuple(rule for rule, state in self.states if state == NOT_SCANNED)

    def count(self, level: str) -> int:
        return sum(finding.level == level for finding in self.findings)


def read_images(built: t.Sequence[Result], audited: t.Sequence[Result]) -> list[ImageReport]:
    """Join the results of both modules, by service, in the order of the builds.

    Raises:
        ImageReportError: a result lacks what each one has, or an audit is of another image than the build.
    """
    try:
        audits = {str(audit["service"]): audit for audit in audited}
        services = [str(one["service"]) for one in (*built, *audited)]
        builds = {str(build["service"]): build for build in built}
        return [_read_image(builds.get(name), audits.get(name)) for name in dict.fromkeys(services)]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as exc:
        raise ImageReportError(f"images and audits must be results of image_build and image_audit: {exc!r}") from exc


def with_sizes_before(images: t.Sequence[ImageReport], known: t.Any) -> tuple[list[ImageReport], dict[str, t.Any]]:
    """Add the sizes of the last build, and return what is to be known next time.

    C(known) is what was returned last time, or anything: what cannot be understood counts as nothing known. An image
    that is still the same keeps what it was compared with, so that a report made twice says the same.
    """
    is_ours = isinstance(known, dict) and known.get("schema") == SCHEMA and isinstance(known.get("images"), dict)
    old: dict[str, t.Any] = known["images"] if is_ours else {}
    told: list[ImageReport] = []
    new: dict[str, t.Any] = dict(old)
    for image in images:
        last = old.get(image.name)
        last = last if isinstance(last, dict) else {}
        before = last.get("before") if image.id is not None and last.get("id") == image.id else last.get("size")
        before = before if isinstance(before, int) else None
        told.append(ImageReport(**{**image.__dict__, "before": before}))
        if image.id is not None and image.size is not None:
            new[image.name] = {"id": image.id, "size": image.size, "before": before}
    return told, {"schema": SCHEMA, "images": new}


def readable(size: float) -> str:
    """Return a number of bytes as people write it: three digits, units of 1000."""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if abs(size) >= 0.9995 * 10**power:
            value = size / 10**power
            return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f} {unit}"
    return f"{size:.0f} B"


def readable_change(image: ImageReport) -> str:
    """Return by how much an image has grown, with its sign; what there is to say if that is not known."""
    if image.size is None:
        return "to be built"
    if image.change is None:
        return "first"
    if image.change == 0:
        return "same"
    sign = "+" if image.change > 0 else "\N{MINUS SIGN}"
    part = f" ({100 * image.change / image.before:+.0f} %)" if image.before else ""
    return f"{sign}{readable(abs(image.change))}{part.replace('-', chr(0x2212))}"


def readable_findings(image: ImageReport) -> str:
    """Return how many findings there are of each level."""
    if not image.audited:
        return "not audited"
    counts = [(image.count("fail"), "failed"), (image.count("warn"), "warned"), (len(image.ignored), "ignored")]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "none"


def scan_state(image: ImageReport) -> str:
    """Return what became of the search for known vulnerabilities."""
    return dict(image.states).get(_SCAN_RULE, NOT_SCANNED)


def table_lines(images: t.Sequence[ImageReport]) -> list[str]:
    """Return the images as a table for a terminal, and a line with their sum."""
    if not images:
        return ["no images"]
    sizes = [readable(image.size) if image.size is not None else _NOTHING for image in images]
    wide = max(map(len, sizes))
    rows = [
        (
            image.name,
            size.rjust(wide),
            readable_change(image),
            _NOTHING if image.layers is None else str(image.layers),
            readable_findings(image),
            scan_state(image),
        )
        for image, size in zip(images, sizes, strict=True)
    ]
    lines = table([_HEAD, *([printable(cell) for cell in row] for row in rows)])
    return [*lines, sum_line(images)]


def sum_line(images: t.Sequence[ImageReport]) -> str:
    """Return in one line how large all images are, and whether anything stands against them."""
    whole = sum(image.size or 0 for image in images)
    failed = sum(image.count("fail") for image in images)
    unseen = sum(bool(image.not_scanned) or not image.audited for image in images)
    parts = [
        f"{len(images)} image{'s' if len(images) != 1 else ''}, {readable(whole)}",
        f"{failed} finding{'s' if failed != 1 else ''} that fail{'s' if failed == 1 else ''}" if failed else "",
        f"{unseen} not scanned in full" if unseen else "",
    ]
    return ", ".join(part for part in parts if part)


def _read_image(build: Result | None, audit: Result | None) -> ImageReport:
    build, audited = build or {}, audit is not None
    audit = audit or {}
    ids = {one["id"] for one in (build, audit) if one.get("id")}
    service, reference = (str(audit.get(key) or build[key]) for key in ("service", "reference"))
    if len(ids) > 1:
        raise ImageReportError(f"service {service}: the audit is of another image than the build: {sorted(ids)}")
    size = build.get("size") if audit.get("size") is None else audit["size"]
    return ImageReport(
        service=service,
        reference=reference,
        id=next(iter(ids), None),
        size=None if size is None else int(size),
        layers=_count(audit.get("layers")),
        findings=tuple(sorted(map(_read_finding, audit.get("findings") or ()), key=_by_level)),
        ignored=tuple(map(_read_finding, audit.get("ignored") or ())),
        states=tuple((str(rule), str(state)) for rule, state in sorted((audit.get("states") or {}).items())),
        notes=tuple((str(rule), str(note)) for rule, note in sorted((audit.get("notes") or {}).items())),
        sbom=str(audit["sbom"]) if audit.get("sbom") else None,
        tree=read_tree(audit["tree"]) if audit.get("tree") else None,
        audited=audited,
    )


def _read_finding(raw: Result) -> Finding:
    evidence = raw.get("evidence") or ()
    lines = [evidence] if isinstance(evidence, str) else [str(one) for one in evidence]
    return Finding(
        rule=str(raw["rule"]),
        level=str(raw.get("level") or "ignore"),
        message=str(raw.get("message") or ""),
        evidence="\n".join(lines),
        way_out=str(raw.get("way_out") or ""),
        reason=str(raw.get("reason") or ""),
        until=str(raw.get("until") or ""),
        more=max(int(raw.get("count") or 0) - len(lines), 0),
    )


def _by_level(finding: Finding) -> tuple[bool, str, str]:
    return finding.level != "fail", finding.rule, finding.evidence


def _count(value: t.Any) -> int | None:
    """Layers come as their number or as themselves."""
    return None if value is None else len(value) if isinstance(value, (list, tuple)) else int(value)
