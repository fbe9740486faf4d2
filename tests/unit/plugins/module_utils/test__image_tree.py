# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import tarfile
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import parse_recipe
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_tree import ImageTreeError, write_tree

EPOCH = 1_000_000

Node = tuple[str, t.Union[bytes, str, None]]


def packages(*nodes: Node, mtime: float = 5.5, **attributes: t.Any) -> bytes:
    """Make an archive as mmdebstrap does. Bytes are a file, None is a folder, `-> x` a link, `=> x` a hard link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in nodes:
            info = tarfile.TarInfo(f"./{name}")
            info.mtime, info.mode, info.uname, info.gname = mtime, 0o755, "root", "root"
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                kinds = {"->": tarfile.SYMTYPE, "=>": tarfile.LNKTYPE, "c ": tarfile.CHRTYPE}
                info.type, info.linkname = kinds[content[:2]], content[3:]
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return buffer.getvalue()


def rewrite(archive: bytes, **recipe: t.Any) -> bytes:
    buffer = io.BytesIO()
    parsed = parse_recipe("base-x", {"suite": "trixie", "packages": ["netbase"], **recipe})
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r|") as source,
        tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT) as image,
    ):
        write_tree(source, image, parsed, EPOCH)
    return buffer.getvalue()


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar}


def content(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return t.cast("t.IO[bytes]", tar.extractfile(name)).read()


SOME = (("", None), ("etc", None), ("etc/a", b"a"), ("etc/b", b"b"), ("usr", None), ("usr/c", "-> ../etc/a"))


def test_what_no_one_removes_is_copied_in_its_order() -> None:
    image = rewrite(packages(*SOME))
    assert list(members(image)) == ["etc", "etc/a", "etc/b", "usr", "usr/c"]
    assert content(image, "etc/b") == b"b"
    assert members(image)["usr/c"].linkname == "../etc/a"


def test_removed_directories_go_with_all_that_is_in_them() -> None:
    assert list(members(rewrite(packages(*SOME), remove=["/etc"]))) == ["usr", "usr/c"]


LOADERS = [
    pytest.param("usr/lib/ld-linux-aarch64.so.1", True, id="arm64"),
    pytest.param("usr/lib/ld-linux-armhf.so.3", True, id="armhf"),
    pytest.param("usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1", False, id="the loader itself is the recipe's"),
]


@pytest.mark.parametrize(("name", "stays"), LOADERS)
def test_the_name_of_the_loader_stays_whatever_a_recipe_removes(name: str, stays: bool) -> None:
    archive = packages(("usr", None), ("usr/lib", None), (name, "-> somewhere"), ("usr/lib/x", b"x"))
    assert (name in members(rewrite(archive, remove=["/usr/lib/*"]))) is stays


def test_what_is_kept_brings_its_directories_back_with_their_modes() -> None:
    archive = packages(("usr", None), ("usr/share", None), ("usr/share/x", b"x"), ("usr/share/y", b"y"), mode=0o711)
    image = rewrite(archive, remove=["/usr"], keep=["/usr/share/y"])
    assert {name: member.mode for name, member in members(image).items()} == {
        "usr": 0o711,
        "usr/share": 0o711,
        "usr/share/y": 0o711,
    }


@pytest.mark.parametrize(
    "name",
    ["dev/null", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "var/lib/dpkg/status", "var/cache/apt/x"],
)
def test_nothing_of_the_machine_that_unpacked_gets_in(name: str) -> None:
    assert list(members(rewrite(packages((name, b"secret"), ("etc/a", b""))))) == ["etc", "etc/a"]


def test_the_record_of_packages_stays() -> None:
    assert "var/lib/dpkg/status.d/netbase" in members(
        rewrite(packages(("var/lib/dpkg/status.d/netbase", b"Package: x")))
    )


def test_devices_are_left_out() -> None:
    assert list(members(rewrite(packages(("x", "c "), ("y", b""))))) == ["y"]


def test_times_owners_names_and_attributes_are_made_plain() -> None:
    headers = {"SCHILY.xattr.security.capability": "x"}
    member = members(rewrite(packages(("a", b""), mtime=EPOCH + 7.25, pax_headers=headers)))["a"]
    assert (member.mtime, member.uname, member.gname, member.pax_headers) == (EPOCH, "", "", {})


def test_older_times_stay() -> None:
    assert members(rewrite(packages(("a", b""), mtime=42)))["a"].mtime == 42


def test_the_same_in_gives_the_same_out_to_the_byte() -> None:
    recipe = {"files": {"/z": "1", "/y/x": "2"}, "links": {"/b": "a"}, "directories": [{"path": "/d"}, {"path": "/c"}]}
    assert rewrite(packages(*SOME), **recipe) == rewrite(packages(*SOME), **recipe)


def test_files_links_and_directories_are_made_with_their_parents_in_order_of_paths() -> None:
    image = rewrite(
        packages(("etc", None)),
        directories=[{"path": "/srv/www", "mode": "0700", "owner": "7:8"}],
        files={"/etc/z": "zz", "/etc/y": {"content": "y", "mode": "0600", "owner": "1:2"}},
        links={"/usr/bin/python3": "python3.13"},
    )
    found = members(image)
    assert list(found) == ["etc", "srv", "srv/www", "etc/y", "etc/z", "usr", "usr/bin", "usr/bin/python3"]
    assert (found["srv/www"].mode, found["srv/www"].uid, found["srv/www"].gid) == (0o700, 7, 8)
    assert (found["etc/y"].mode, found["etc/y"].uid, found["etc/y"].gid, found["etc/y"].mtime) == (0o600, 1, 2, EPOCH)
    assert found["usr/bin/python3"].linkname == "python3.13"
    assert content(image, "etc/z") == b"zz"


def test_a_directory_of_the_packages_gets_the_recipes_mode_and_owner() -> None:
    found = members(rewrite(packages(("tmp", None)), directories=[{"path": "/tmp", "mode": "1777", "owner": "3:4"}]))
    assert (found["tmp"].mode, found["tmp"].uid, found["tmp"].gid) == (0o1777, 3, 4)


def test_the_recipes_file_takes_the_place_of_the_packages_one() -> None:
    image = rewrite(packages(*SOME), files={"/etc/a": "new"})
    assert content(image, "etc/a") == b"new"
    assert list(members(image)).count("etc/a") == 1


def test_contents_are_joined_in_order_of_paths_with_line_ends_even_if_they_are_removed() -> None:
    archive = packages(("usr/c/b.crt", b"B"), ("usr/c/a.crt", b"A\n"), ("usr/c/x.txt", b"X"))
    image = rewrite(archive, remove=["/usr"], files={"/etc/all": {"concatenate": "/usr/c/*.crt"}})
    assert content(image, "etc/all") == b"A\nB\n"
    assert list(members(image)) == ["etc", "etc/all"]


def test_a_renamed_file_keeps_its_content_and_is_judged_by_its_new_name() -> None:
    archive = packages(("usr/bin", None), ("usr/bin/busybox", b"#!"), ("usr/bin/ip", b"ip"))
    image = rewrite(
        archive, rename={"/usr/bin/busybox": "/usr/bin/wget"}, remove=["/usr/bin/*"], keep=["/usr/bin/wget"]
    )
    assert list(members(image)) == ["usr", "usr/bin", "usr/bin/wget"]
    assert content(image, "usr/bin/wget") == b"#!"


def test_a_hard_link_follows_a_rename() -> None:
    archive = packages(("bin/a", b"a"), ("bin/b", "=> ./bin/a"))
    assert members(rewrite(archive, rename={"/bin/a": "/bin/c"}))["bin/b"].linkname == "bin/c"


REFUSED = [
    pytest.param(
        [("bin/a", b"a"), ("bin/b", "=> ./bin/a")], {"remove": ["/bin/a"]}, "remove or keep both", id="half a hard link"
    ),
    pytest.param([("a", b"")], {"rename": {"/b": "/c"}}, "the packages have no file /b", id="rename nothing"),
    pytest.param(
        [("a", b"")],
        {"files": {"/c": {"concatenate": "/b/*"}}},
        "no file of the packages matches /b/\\*",
        id="join nothing",
    ),
    pytest.param([("bin", "-> usr/bin")], {"files": {"/bin/x": ""}}, "/bin is a link", id="below a link"),
    pytest.param([("a", b"")], {"files": {"/a/b": ""}}, "/a is a file", id="below a file"),
    pytest.param(
        [("d", None), ("d/x", b"")], {"links": {"/d": "e"}}, "which is a directory", id="link over a directory"
    ),
    pytest.param([("a", b"")], {"directories": [{"path": "/a"}]}, "which is a file", id="directory over a file"),
]


@pytest.mark.parametrize(("nodes", "recipe", "message"), REFUSED)
def test_a_recipe_that_does_not_fit_the_packages_is_refused(
    nodes: list[Node], recipe: dict[str, t.Any], message: str
) -> None:
    with pytest.raises(ImageTreeError, match=message):
        rewrite(packages(*nodes), **recipe)


def test_half_an_archive_is_refused() -> None:
    with pytest.raises(tarfile.TarError):
        rewrite(packages(("a", b"x" * 5000))[:2000])
