# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The recipe of a base image: what it may say, and what it means. Nothing here touches a file or an engine.

A base is a tree of files out of Debian packages that are only unpacked: no maintainer script runs, so whatever
those would have made (users, a bundle of certificates, links) is said by the recipe. Its keys, in the order in
which they act:

| key | meaning |
|---|---|
| suite, packages | what is unpacked, dependencies included |
| run | programs of the tree, as argument lists, that run inside it once it is unpacked |
| rename | path to path: files that move |
| remove, keep | globs of paths that go, with all that is below them; globs of paths that stay all the same |
| directories | path, mode and owner: made, or changed where a package brings them |
| files | path to content, or to a mapping of content or concatenate (a glob of files in the tree), mode, owner |
| links | path to target |
| users | the lines of /etc/passwd and /etc/group |
| environment | variables of the image |
| revision | a number to raise so that the same recipe is made again from today's archive |

A recipe file may also say `extends: <recipe>`: its lists go on where that one's end, and its mappings are merged over
that one's. The controller has done that before a recipe gets here.

In globs `*` and `?` stop at a slash and `**` does not. Owners are `uid:gid` in numbers.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field

PASSWD = "/etc/passwd"
GROUP = "/etc/group"

_KEYS = (
    "suite",
    "packages",
    "run",
    "rename",
    "remove",
    "keep",
    "directories",
    "files",
    "links",
    "users",
    "environment",
    "revision",
)
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")
_MODE = re.compile(r"[0-7]{3,4}")
_OWNER = re.compile(r"(\d{1,9}):(\d{1,9})")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GLOB_PART = re.compile(r"\*\*|\*|\?|[^*?]+")
_GLOB_REGEX = {"**": ".*", "*": "[^/]*", "?": "[^/]"}


class ImageRecipeError(Exception):
    """A recipe says something that it may not; the message is for the user."""


@dataclass(frozen=True)
class Owner:
    """Numbers of a user and a group."""

    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Directory:
    """A directory with its mode and owner."""

    path: str
    mode: int
    owner: Owner


@dataclass(frozen=True)
class File:
    """A file with its content or, if concatenate is a glob, that of the tree's files it matches, ordered by path."""

    path: str
    mode: int
    owner: Owner
    content: bytes = b""
    concatenate: str | None = None


@dataclass(frozen=True)
class Recipe:
    """A recipe that was checked. Paths are absolute and normal; users have become files."""

    suite: str
    packages: tuple[str, ...]
    run: tuple[tuple[str, ...], ...] = ()
    rename: t.Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    directories: tuple[Directory, ...] = ()
    files: tuple[File, ...] = ()
    links: t.Mapping[str, str] = field(default_factory=dict)
    environment: t.Mapping[str, str] = field(default_factory=dict)

    def removes(self) -> t.Callable[[str], bool]:
        """Return the question whether a path of the packages is to be left out."""
        remove, keep = path_matcher(self.remove, below=True), path_matcher(self.keep)
        return lambda path: remove(path) and not keep(path)


def path_matcher(globs: t.Iterable[str], below: bool = False) -> t.Callable[[str], bool]:
    """Return the question whether one of the globs matches a path or, with below, a directory above it."""
    parts = ["".join(_GLOB_REGEX.get(part, re.escape(part)) for part in _GLOB_PART.findall(glob)) for glob in globs]
    if not parts:
        return lambda _path: False
    regex = re.compile(f"(?:{'|'.join(parts)}){'(?:/.*)?' if below else ''}", re.DOTALL)
    return lambda path: regex.fullmatch(path) is not None


def parse_recipe(name: str, raw: object) -> Recipe:
    """Check a recipe as YAML gives it.

    :raises ImageRecipeError: names the recipe, the place in it, the value and what is allowed.
    """
    try:
        return _parse(raw)
    except _Wrong as wrong:
        raise ImageRecipeError(f"recipe {name}: {wrong}") from None


class _Wrong(Exception):
    """A value at a place of the recipe is not allowed."""

    def __init__(self, where: str, value: object, allowed: str) -> None:
        super().__init__(f"{where} is {value!r}: {allowed}")


def _parse(raw: object) -> Recipe:
    top = _mapping("the recipe", raw)
    for key in top:
        if key not in _KEYS:
            raise _Wrong("a key", key, f"use one of {', '.join(_KEYS)}")
    for key in ("suite", "packages"):
        if key not in top:
            raise _Wrong(key, None, "every recipe needs a suite and packages")
    if not isinstance(top.get("revision", 1), int):
        raise _Wrong("revision", top["revision"], "use a whole number")
    packages = _items("packages", top["packages"], _package)
    if not packages:
        raise _Wrong("packages", [], "name at least one package of the suite")
    recipe = Recipe(
        suite=_matching("suite", top["suite"], _SUITE, "use the name of a Debian suite, such as trixie"),
        packages=packages,
        run=_items("run", top.get("run", []), _command),
        rename=_pairs("rename", top.get("rename", {}), _path),
        remove=_items("remove", top.get("remove", []), _path),
        keep=_items("keep", top.get("keep", []), _path),
        directories=_items("directories", top.get("directories", []), _directory),
        files=_files(top.get("files", {})) + _user_files(_items("users", top.get("users", []), _user)),
        links=_pairs("links", top.get("links", {}), _text),
        environment=_environment(top.get("environment", {})),
    )
    _refuse_twice_the_same(recipe)
    return recipe


def _refuse_twice_the_same(recipe: Recipe) -> None:
    made: dict[str, str] = {}
    for kind, paths in (
        ("directories", [directory.path for directory in recipe.directories]),
        ("files or users", [file.path for file in recipe.files]),
        ("links", list(recipe.links)),
    ):
        for path in paths:
            if path in made:
                raise _Wrong(kind, path, f"it is also one of the {made[path]}; say it once")
            made[path] = kind


def _mapping(where: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _Wrong(where, value, "use a mapping")
    return value


def _text(where: str, value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _Wrong(where, value, "use text")
    return value


def _matching(where: str, value: object, pattern: re.Pattern[str], allowed: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _Wrong(where, value, allowed)
    return value


_T = t.TypeVar("_T")


def _items(where: str, value: object, parse: t.Callable[[str, object], _T]) -> tuple[_T, ...]:
    if not isinstance(value, list):
        raise _Wrong(where, value, "use a list")
    return tuple(parse(f"{where}[{index}]", item) for index, item in enumerate(value))


def _pairs(where: str, value: object, parse: t.Callable[[str, object], str]) -> dict[str, str]:
    return {_path(where, path): parse(f"{where}.{path}", other) for path, other in _mapping(where, value).items()}


def _package(where: str, value: object) -> str:
    return _matching(where, value, _PACKAGE, "use the name of a Debian package, without version or architecture")


def _path(where: str, value: object) -> str:
    path = _text(where, value)
    if not path.startswith("/") or path == "/" or any(part in ("", ".", "..") for part in path[1:].split("/")):
        raise _Wrong(where, value, "use an absolute path without '.', '..' or a slash at its end")
    return path


def _mode(where: str, value: object) -> int:
    return int(_matching(where, value, _MODE, 'use an octal number in quotes, such as "0755"'), 8)


def _owner(where: str, value: object) -> Owner:
    numbers = _OWNER.fullmatch(value) if isinstance(value, str) else None
    if numbers is None:
        raise _Wrong(where, value, 'use the numbers of a user and a group in quotes, such as "10001:10001"')
    return Owner(int(numbers[1]), int(numbers[2]))


def _command(where: str, value: object) -> tuple[str, ...]:
    argv = _items(where, value, _text)
    if not argv:
        raise _Wrong(where, value, "use a list: the path of a program in the tree, then its arguments")
    _path(f"{where}[0]", argv[0])
    return argv


def _known(where: str, value: object, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, object]:
    given = _mapping(where, value)
    for key in given:
        if key not in required + optional:
            raise _Wrong(f"a key of {where}", key, f"use one of {', '.join(required + optional)}")
    for key in required:
        if key not in given:
            raise _Wrong(f"{where}.{key}", None, "it is required")
    return given


def _directory(where: str, value: object) -> Directory:
    given = _known(where, value, ("path",), ("mode", "owner"))
    return Directory(
        path=_path(f"{where}.path", given["path"]),
        mode=_mode(f"{where}.mode", given.get("mode", "0755")),
        owner=_owner(f"{where}.owner", given.get("owner", "0:0")),
    )


def _files(value: object) -> tuple[File, ...]:
    return tuple(_file(f"files.{path}", _path("files", path), raw) for path, raw in _mapping("files", value).items())


def _file(where: str, path: str, value: object) -> File:
    given = _known(
        where, value if isinstance(value, dict) else {"content": value}, (), ("content", "concatenate", "mode", "owner")
    )
    if ("content" in given) == ("concatenate" in given):
        raise _Wrong(where, value, "use either content or concatenate")
    content = given.get("content", "")
    if not isinstance(content, str):
        raise _Wrong(f"{where}.content", content, "use text")
    return File(
        path=path,
        mode=_mode(f"{where}.mode", given.get("mode", "0644")),
        owner=_owner(f"{where}.owner", given.get("owner", "0:0")),
        content=content.encode(),
        concatenate=_path(f"{where}.concatenate", given["concatenate"]) if "concatenate" in given else None,
    )


@dataclass(frozen=True)
class _User:
    name: str
    owner: Owner
    group: str
    home: str
    shell: str


def _user(where: str, value: object) -> _User:
    given = _known(where, value, ("name", "owner"), ("group", "home", "shell"))
    name = _matching(f"{where}.name", given["name"], _USER, "use a user's name of at most 32 of a-z, 0-9, _ and -")
    return _User(
        name=name,
        owner=_owner(f"{where}.owner", given["owner"]),
        group=_matching(f"{where}.group", given.get("group", name), _USER, "use a group's name"),
        home=_path(f"{where}.home", given.get("home", "/nonexistent")),
        shell=_path(f"{where}.shell", given.get("shell", "/usr/sbin/nologin")),
    )


def _user_files(users: tuple[_User, ...]) -> tuple[File, ...]:
    """Return /etc/passwd and /etc/group, or nothing where there are no users."""
    if not users:
        return ()
    passwd = "".join(f"{u.name}:x:{u.owner.uid}:{u.owner.gid}:{u.name}:{u.home}:{u.shell}\n" for u in users)
    groups = {u.group: u.owner.gid for u in users}
    group = "".join(f"{name}:x:{gid}:\n" for name, gid in groups.items())
    return tuple(File(path, 0o644, Owner(), text.encode()) for path, text in ((PASSWD, passwd), (GROUP, group)))


def _environment(value: object) -> dict[str, str]:
    variables = _mapping("environment", value)
    for name, text in variables.items():
        _matching("environment", name, _VARIABLE, "use the name of a variable")
        if not isinstance(text, str) or "\n" in text or "\0" in text:
            raise _Wrong(f"environment.{name}", text, "use one line of text; numbers in quotes")
    return t.cast("dict[str, str]", variables)
