# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who writes, verifies and applies a release, and what each is asked to do on the host. Pure.

All take the same images of one engine and the same models of one store. What is written is on disk before it counts as
written (`sync -f`), and what is applied likewise.
"""

from __future__ import annotations

import shlex
import typing as t
from dataclasses import dataclass

WORK = "/var/lib/docker/bench"
"""On the file system that the engine is on: a disk's own, and no overlay. It is the one whose bytes are watched."""

STORE = "/var/lib/fleet"  # of the builder
KEYS = "/root/bench-keys"
TMP = f"{WORK}/tmp"
FLEET = "bench"

STICK = "stick"  # the series that is written to a medium of its own
STICK_WRITES, STICK_READS = 40, 150
"""MB a second, of a middling stick for USB 3."""
_POINT = f"{WORK}/{STICK}"

Way = t.Literal["depot", "archive", "skopeo", "copy", "hash", "sha256sum"]
NAMES: dict[Way, str] = {
    "depot": "depot",
    "archive": "docker save, gzip",
    "skopeo": "skopeo",
    "copy": "cp, sync",
    "hash": "SHA-256 of the same files on all cores",
    "sha256sum": "sha256sum -c",
}
WRITERS: tuple[Way, ...] = ("depot", "copy", "archive", "skopeo")
VERIFIERS: tuple[Way, ...] = ("depot", "hash", "sha256sum")
STICK_WRITERS: tuple[Way, ...] = ("depot", "copy")
APPLIERS: tuple[Way, ...] = ("depot", "archive", "skopeo")

Request = dict[str, t.Any]

_SUMS = "-type f -print0 | xargs -0 sha256sum >SHA256SUMS"
_POLICY = "--insecure-policy"  # whom to trust is for a signature to say, and these have none


@dataclass(frozen=True)
class Subject:
    """A release that was made: its file on the host, the references of its images, and when it is said to be made."""

    file: str
    images: tuple[str, ...]
    created: int


def folder(way: Way, series: str = "first") -> str:
    """Return where a way keeps what it wrote."""
    return f"{WORK}/{series}/{way}"


def write(way: Way, subject: Subject, series: str = "first") -> Request:
    """Return what writes a release into a way's folder, or adds it to what the folder has."""
    into = folder(way, series)
    if way == "depot":
        told = {"release": subject.file, "images": list(subject.images), "created": subject.created}
        return {"do": "write", "depot": into, "into": into, **told, "root": STORE, "keys": KEYS, "tmpdir": TMP}
    images = shlex.join(subject.images)
    # Models that are there already are not copied again; sums are made anew.
    models = f"mkdir -p models && cp -r --update {STORE}/models/. models"
    made = {
        "archive": f"docker save {images} | gzip >images.tar.gz && {models} && find . ! -name SHA256SUMS {_SUMS}",
        "skopeo": f"{_each(subject.images, 'docker-daemon:$one', 'oci:images:$one')} && {models} && "
        f"find models {_SUMS}",
        "copy": f"cp -r {shlex.quote(folder('depot'))}/. .",
    }
    return _shell(f"mkdir -p {into} && cd {into} && {made[way]} && sync -f .", into=into)


def verify(way: Way, cold: bool) -> Request:
    """Return what reads a whole depot and compares it; `cold`: the kernel is told to forget the files before."""
    depot = folder("depot")
    forget = [depot] if cold else []
    if way == "sha256sum":
        return _shell(f"cd {depot}/blobs/sha256 && sha256sum --quiet -c {WORK}/SHA256SUMS", cold=forget)
    return {"do": "verify" if way == "depot" else "hash", "depot": depot, "cold": forget}


def sums() -> Request:
    """Return what lists the blobs of the depot for sha256sum: their names are their sums."""
    blobs = f"{folder('depot')}/blobs/sha256"
    return _shell(f'cd {blobs} && for one in *; do echo "$one  $one"; done >{WORK}/SHA256SUMS')


def apply(way: Way, subject: Subject) -> Request:
    """Return what brings a release to a bare engine and an empty store, from a medium that was not read before."""
    there, target = folder(way), f"{WORK}/host"
    watched = {"disk": WORK, "cold": [there]}
    if way == "depot":
        return {"do": "bring", "depot": there, "root": target, **watched}
    models = f"mkdir -p {target} && cp -r models {target}/models && sync -f {target}"
    if way == "archive":
        made = f"sha256sum --quiet -c SHA256SUMS && gunzip -c images.tar.gz | docker load --quiet && {models}"
    else:
        pulled = _each(subject.images, "oci:images:$one", "docker-daemon:$one")
        made = f"sha256sum --quiet -c SHA256SUMS && {pulled} && {models}"
    return _shell(f"cd {there} && {made}", **watched)


def _each(images: t.Sequence[str], source: str, target: str) -> str:
    return f'for one in {shlex.join(images)}; do skopeo {_POLICY} copy --quiet "{source}" "{target}" || exit 1; done'


def _shell(script: str, **more: t.Any) -> Request:
    return {"do": "shell", "script": script, **more}


def plug_in(size: int) -> str:
    """Return the script that mounts a new medium of so many bytes, and has the kernel slow it down to a stick's speed.

    Loop devices that are mounted so end with their mount. What is read and what is written have a limit each, so that
    they do not slow each other, as they do on a stick: the kernel knows no other way. Control groups of version 1 only,
    whose limits hold for what the kernel writes back later.
    """
    steps = [
        "set -e",
        "[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237",
        "for n in $(seq 0 63); do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done",
        f"mkdir -p {_POINT} && truncate --size {size} {_POINT}.img && mkfs.ext4 -q {_POINT}.img",
        f"mount -o loop {_POINT}.img {_POINT}",
        _limited(STICK_WRITES, STICK_READS),
    ]
    return "\n".join(steps)


def pull_out() -> str:
    """Return the script that takes the medium away again, if it is there; its device's limits are none afterwards."""
    return f"if mountpoint -q {_POINT}; then {_limited(0, 0)}; umount {_POINT}; fi; rm -f {_POINT}.img"


def _limited(writes: int, reads: int) -> str:
    """Return what limits the mounted medium to so many MB a second; 0: no limit."""
    steps = [f"device=$(findmnt --noheadings --output MAJ:MIN {_POINT} | tr -d ' ')"]
    steps += [
        f'echo "$device {speed * 1_000_000}" >/sys/fs/cgroup/blkio/blkio.throttle.{what}_bps_device'
        for what, speed in (("write", writes), ("read", reads))
    ]
    return "; ".join(steps)
