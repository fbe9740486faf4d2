# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_recipe import (
    File,
    ImageRecipeError,
    Owner,
    parse_recipe,
    path_matcher,
)

SMALLEST: dict[str, t.Any] = {"suite": "trixie", "packages": ["netbase"]}

GLOBS = [
    pytest.param("/usr/share/doc", "/usr/share/doc", True, id="the path itself"),
    pytest.param("/usr/share/doc", "/usr/share/doc/x/y", False, id="not what is below"),
    pytest.param("/usr/bin/*", "/usr/bin/sh", True, id="a star matches a name"),
    pytest.param("/usr/bin/*", "/usr/bin/a/b", False, id="a star stops at a slash"),
    pytest.param("/usr/**", "/usr/bin/a/b", True, id="two stars cross slashes"),
    pytest.param("/usr/lib/*/libc.so.?", "/usr/lib/x86_64-linux-gnu/libc.so.6", True, id="a question mark"),
    pytest.param("/usr/lib/libc.so.6", "/usr/lib/libcXso.6", False, id="a dot is a dot"),
    pytest.param("/usr/lib/libc.so.*", "/usr/lib/libc++.so.1", False, id="a plus is a plus"),
]


@pytest.mark.parametrize(("glob", "path", "matches"), GLOBS)
def test_a_glob_matches_whole_paths(glob: str, path: str, matches: bool) -> None:
    assert path_matcher([glob])(path) is matches


def test_below_covers_what_is_in_a_directory_and_not_its_neighbours() -> None:
    covers = path_matcher(["/usr/share/doc", "/usr/bin/*"], below=True)
    assert [path for path in ("/usr/share/doc/x", "/usr/bin/a/b", "/usr/share/docs", "/usr/bin") if covers(path)] == [
        "/usr/share/doc/x",
        "/usr/bin/a/b",
    ]


def test_no_globs_match_nothing() -> None:
    assert not path_matcher([])("")


def test_keep_wins_over_remove() -> None:
    removes = parse_recipe(
        "base-x", {**SMALLEST, "remove": ["/usr/share"], "keep": ["/usr/share/doc/*/copyright"]}
    ).removes()
    assert removes("/usr/share/doc/a/changelog")
    assert not removes("/usr/share/doc/a/copyright")
    assert not removes("/usr/bin/a")


def test_users_become_passwd_and_group() -> None:
    users = [
        {"name": "root", "owner": "0:0", "home": "/root", "shell": "/bin/sh"},
        {"name": "app", "owner": "10001:10001"},
        {"name": "nobody", "owner": "65534:65534", "group": "nogroup"},
    ]
    assert parse_recipe("base-x", {**SMALLEST, "users": users}).files == (
        File(
            "/etc/passwd",
            0o644,
            Owner(),
            b"root:x:0:0:root:/root:/bin/sh\n"
            b"app:x:10001:10001:app:/nonexistent:/usr/sbin/nologin\n"
            b"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        ),
        File("/etc/group", 0o644, Owner(), b"root:x:0:\napp:x:10001:\nnogroup:x:65534:\n"),
    )


def test_files_may_be_text_or_say_more() -> None:
    files = {"/etc/a": "text\n", "/etc/b": {"concatenate": "/usr/b/*", "mode": "0600", "owner": "7:8"}}
    assert parse_recipe("base-x", {**SMALLEST, "files": files}).files == (
        File("/etc/a", 0o644, Owner(), b"text\n"),
        File("/etc/b", 0o600, Owner(7, 8), b"", "/usr/b/*"),
    )


WRONG = [
    pytest.param([], "the recipe is", id="not a mapping"),
    pytest.param({"packages": ["a"]}, "every recipe needs a suite and packages", id="no suite"),
    pytest.param({**SMALLEST, "package": []}, "a key is 'package': use one of suite, packages", id="unknown key"),
    pytest.param({**SMALLEST, "suite": "trixie; rm"}, "suite is 'trixie; rm'", id="a suite that is none"),
    pytest.param({**SMALLEST, "packages": []}, "at least one package", id="no packages"),
    pytest.param({**SMALLEST, "packages": ["a=1"]}, r"packages\[0\] is 'a=1'", id="a pinned package"),
    pytest.param({**SMALLEST, "packages": ["--hook"]}, r"packages\[0\] is '--hook'", id="an option for a package"),
    pytest.param({**SMALLEST, "packages": "netbase"}, "packages is 'netbase': use a list", id="not a list"),
    pytest.param({**SMALLEST, "revision": "1"}, "revision is '1': use a whole number", id="revision in quotes"),
    pytest.param({**SMALLEST, "remove": ["usr"]}, r"remove\[0\] is 'usr': use an absolute path", id="relative path"),
    pytest.param({**SMALLEST, "remove": ["/"]}, r"remove\[0\] is '/'", id="the root"),
    pytest.param({**SMALLEST, "keep": ["/a/../b"]}, r"keep\[0\]", id="a path that climbs"),
    pytest.param({**SMALLEST, "links": {"/a/": "b"}}, "links is '/a/'", id="a slash at the end"),
    pytest.param({**SMALLEST, "links": {"/a": 1}}, "links./a is 1: use text", id="a link to a number"),
    pytest.param({**SMALLEST, "run": [[]]}, r"run\[0\] is \[\]", id="an empty command"),
    pytest.param({**SMALLEST, "run": [["sh", "-c"]]}, r"run\[0\]\[0\] is 'sh'", id="a program without its path"),
    pytest.param({**SMALLEST, "run": ["/bin/true"]}, r"run\[0\] is '/bin/true': use a list", id="a command as text"),
    pytest.param(
        {**SMALLEST, "directories": [{"mode": "0755"}]}, r"directories\[0\].path", id="directory without path"
    ),
    pytest.param(
        {**SMALLEST, "directories": [{"path": "/a", "mode": 493}]}, 'in quotes, such as "0755"', id="a mode in numbers"
    ),
    pytest.param(
        {**SMALLEST, "directories": [{"path": "/a", "owner": "root:root"}]}, '"10001:10001"', id="an owner by name"
    ),
    pytest.param({**SMALLEST, "directories": [{"path": "/a", "user": "x"}]}, "use one of path, mode, owner", id="user"),
    pytest.param({**SMALLEST, "files": {"/a": {"mode": "0644"}}}, "either content or concatenate", id="empty file"),
    pytest.param(
        {**SMALLEST, "files": {"/a": {"content": "", "concatenate": "/b"}}}, "either content or concatenate", id="both"
    ),
    pytest.param({**SMALLEST, "files": {"/a": 1}}, "files./a.content is 1: use text", id="content is a number"),
    pytest.param({**SMALLEST, "users": [{"name": "App", "owner": "1:1"}]}, r"users\[0\].name is 'App'", id="user name"),
    pytest.param({**SMALLEST, "users": [{"name": "app"}]}, r"users\[0\].owner is None: it is required", id="no owner"),
    pytest.param({**SMALLEST, "environment": {"A-B": "1"}}, "environment is 'A-B'", id="variable name"),
    pytest.param({**SMALLEST, "environment": {"A": 1}}, "environment.A is 1", id="variable in numbers"),
    pytest.param(
        {**SMALLEST, "files": {"/a": "x"}, "links": {"/a": "b"}}, "also one of the files or users", id="made twice"
    ),
    pytest.param(
        {**SMALLEST, "files": {"/etc/passwd": "x"}, "users": [{"name": "a", "owner": "1:1"}]},
        "also one of the files",
        id="passwd made twice",
    ),
]


@pytest.mark.parametrize(("raw", "message"), WRONG)
def test_what_a_recipe_may_not_say_is_named(raw: object, message: str) -> None:
    with pytest.raises(ImageRecipeError, match=f"^recipe base-x: .*{message}"):
        parse_recipe("base-x", raw)
