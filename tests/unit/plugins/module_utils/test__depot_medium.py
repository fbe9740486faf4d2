# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_layout import PART_BYTES
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_medium import (
    Medium,
    Mount,
    check_room,
    existing,
    failed,
    look_at_medium,
    mount_of,
    parse_mounts,
    refuse_read_only,
    refuse_unmounted,
    sector_kind,
)

MOUNTINFO = """\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
65 27 8:1 / /media/my\\040stick rw,nosuid shared:7 - vfat /dev/sda1 rw,fmask=0022
66 27 8:2 / /media/locked rw,nosuid - exfat /dev/sdb1 ro,fmask=0022
67 27 8:2 / /media/bound ro,nosuid - ext4 /dev/sdb1 rw
68 27 7:0 / /media/over rw - fuseblk /dev/sdc1 rw,user_id=0
69 68 7:1 / /media/over rw - xfs /dev/sdd1 rw
nonsense
"""


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/media/my stick/depot", Mount("/media/my stick", "vfat", "/dev/sda1", False)),
        ("/media/my stick", Mount("/media/my stick", "vfat", "/dev/sda1", False)),
        ("/media/my stick 2", Mount("/", "ext4", "/dev/vda", False)),
        ("/media/locked/a/b", Mount("/media/locked", "exfat", "/dev/sdb1", True)),
        ("/media/bound", Mount("/media/bound", "ext4", "/dev/sdb1", True)),
        ("/media/over/x", Mount("/media/over", "xfs", "/dev/sdd1", False)),
    ],
)
def test_a_folder_is_on_the_nearest_mount_above_it_and_on_the_last_one_there(path: str, mount: Mount) -> None:
    assert mount_of(path, parse_mounts(MOUNTINFO)) == mount


@pytest.mark.parametrize(
    ("at", "mark", "kind"),
    [(3, b"EXFAT   ", "exfat"), (3, b"NTFS    ", "ntfs"), (82, b"FAT32   ", "vfat"), (3, b"x", None)],
)
def test_the_first_sector_says_what_a_file_system_in_user_space_is(at: int, mark: bytes, kind: str | None) -> None:
    sector = bytearray(512)
    sector[at : at + len(mark)] = mark
    assert sector_kind(bytes(sector)) == kind
    assert sector_kind(b"") is None


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("vfat", PART_BYTES),
        ("msdos", PART_BYTES),
        ("exfat", None),
        ("ext4", None),
        ("fuseblk", PART_BYTES),
        ("fuse.sshfs", PART_BYTES),
    ],
)
def test_only_where_files_may_not_be_large_are_blobs_kept_in_parts(kind: str, parts: int | None) -> None:
    assert Medium("/m", kind, 1, 512, None).part_size == parts


def test_a_file_takes_whole_blocks() -> None:
    medium = Medium("/m", "exfat", 1 << 20, 32768, None)
    assert 2 * 32768 <= medium.takes([1, 32768]) < 2 * 32768 + 1024


def test_what_does_not_fit_is_refused_with_what_is_needed_and_what_to_do() -> None:
    medium = Medium("/media/stick", "vfat", 10_000, 4096, None)
    check_room(medium, [4096, 4000])
    with pytest.raises(DepotError, match="volume_size") as caught:
        check_room(medium, [4096, 4097])
    assert caught.value.reason == "no_space"
    assert caught.value.details["available"] == 10_000
    assert caught.value.details["needed"] > 10_000
    check_room(medium, [4096, 4097], spare=4096)


def test_a_medium_that_does_not_tell_its_room_is_tried() -> None:
    check_room(Medium("/m", "fuse.fusefat", None, 4096, None), [1 << 40])


def test_too_few_inodes_are_refused() -> None:
    with pytest.raises(DepotError, match="inodes") as caught:
        check_room(Medium("/m", "ext4", 1 << 30, 4096, 2), [1, 1, 1])
    assert caught.value.reason == "no_space"


@pytest.mark.parametrize(
    ("error", "reason", "said"),
    [
        (errno.ENOSPC, "no_space", "is full"),
        (errno.EDQUOT, "no_space", "is full"),
        (errno.EIO, "io_error", "pulled"),
        (errno.ENODEV, "io_error", "pulled"),
        (errno.EROFS, "io_error", "pulled"),
        (errno.ENOENT, "io_error", "pulled"),
        (errno.EFBIG, "io_error", "part_size"),
        (errno.EACCES, "read_only", "become"),
        (errno.ELOOP, "unsafe_path", "link"),
        (errno.EINVAL, "io_error", "cannot be used"),
    ],
)
def test_a_failure_of_the_medium_is_said_in_words(error: int, reason: str, said: str) -> None:
    found = failed("/media/stick", OSError(error, os.strerror(error)))
    assert (found.reason, said in str(found), "/media/stick" in str(found)) == (reason, True, True)


def test_a_read_only_medium_is_refused() -> None:
    with pytest.raises(DepotError, match="lock switch") as caught:
        refuse_read_only(Medium("/m", "vfat", 1, 512, None, read_only=True), "/m/depot")
    assert caught.value.reason == "read_only"


def test_a_real_folder_has_a_medium_before_it_exists(tmp_path: Path) -> None:
    medium = look_at_medium(str(tmp_path / "not" / "there"))
    assert existing(str(tmp_path / "not" / "there")) == str(tmp_path)
    assert str(tmp_path).startswith(medium.mount)
    assert medium.free
    assert not medium.read_only


@pytest.mark.parametrize(
    ("mount", "kind", "begun", "allowed"),
    [
        pytest.param("/media/usb", "vfat", False, True, id="a stick"),
        pytest.param("/srv", "ext4", False, True, id="a disk of its own"),
        pytest.param("/", "ext4", False, False, id="where the stick is not mounted"),
        pytest.param("/run", "tmpfs", False, False, id="in memory"),
        pytest.param("/", "ext4", True, True, id="a depot that was begun there"),
    ],
)
def test_a_depot_is_not_begun_where_a_stick_was_forgotten(mount: str, kind: str, begun: bool, allowed: bool) -> None:
    medium = Medium(mount, kind, 1 << 30, 4096, None)
    if allowed:
        refuse_unmounted(medium, "/media/usb", begun)
        return
    with pytest.raises(DepotError, match="depot_on_disk=true") as caught:
        refuse_unmounted(medium, "/media/usb", begun)
    assert (caught.value.reason, caught.value.details) == ("invalid", {"mount": mount})
