# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import (
    FileSource,
    HttpSource,
    PipSource,
    check_path,
    parse_source,
    redact_text,
    redact_url,
)

GOOD = [
    pytest.param("file:///media/stick/m.bin", FileSource("/media/stick/m.bin"), id="file"),
    pytest.param("file://localhost/m%20n.bin", FileSource("/m n.bin"), id="file, host and percent"),
    pytest.param("FILE:///m", FileSource("/m"), id="scheme in capitals"),
    pytest.param("pip://gt-all==0.1.0!/gt/model/m.bin", PipSource("gt-all", "0.1.0", "gt/model/m.bin"), id="pip"),
    pytest.param("pip://a==1!2.0+cpu!/m", PipSource("a", "1!2.0+cpu", "m"), id="pip, epoch and local version"),
    pytest.param("http://h/m", HttpSource("http://h/m", "http://h/m"), id="http"),
    pytest.param("https://h", HttpSource("https://h/", "https://h"), id="no path"),
    pytest.param("https://h:8443/m#part", HttpSource("https://h:8443/m", "https://h:8443/m#***"), id="fragment"),
    pytest.param(
        "https://me:p%40ss@h/m?sig=abc&flag",
        HttpSource("https://h/m?sig=abc&flag", "https://***@h/m?sig=***&***", "Basic bWU6cEBzcw=="),
        id="credentials",
    ),
]


@pytest.mark.parametrize(("text", "source"), GOOD)
def test_a_source_is_parsed(text: str, source: object) -> None:
    assert parse_source(text, "files: m") == source


BAD = [
    pytest.param("", "no scheme that is known", id="empty"),
    pytest.param("/m.bin", "no scheme that is known", id="a path"),
    pytest.param("ftp://h/m", "no scheme that is known", id="ftp"),
    pytest.param("https:///m", "not a URL with a host", id="no host"),
    pytest.param("https://h:port/m", "not a URL with a host", id="bad port"),
    pytest.param("https://[h/m", "not a URL with a host", id="open bracket"),
    pytest.param("https://h/a b", "percent-encode it", id="space"),
    pytest.param("https://h/a\r\nX: y", "percent-encode it", id="header injection"),
    pytest.param("https://h/ñ", "percent-encode it", id="beyond ASCII"),
    pytest.param("file://m.bin", "absolute/path", id="file, relative"),
    pytest.param("file://server/m.bin", "absolute/path", id="file, other host"),
    pytest.param("file:///m%00", "NUL", id="file, NUL"),
    pytest.param("pip://a!/m", "pip://package==version!/path", id="pip, no version"),
    pytest.param("pip://a==1", "pip://package==version!/path", id="pip, no member"),
    pytest.param("pip://a>=1!/m", "pip://package==version!/path", id="pip, range"),
    pytest.param("pip://a==1.*!/m", "pip://package==version!/path", id="pip, wildcard"),
    pytest.param("pip://--index-url==1!/m", "pip://package==version!/path", id="pip, an option"),
    pytest.param("pip://a[b]==1!/m", "pip://package==version!/path", id="pip, extras"),
    pytest.param("pip://a==1!/../m", "climbs out", id="pip, member climbs"),
]


@pytest.mark.parametrize(("text", "says"), BAD)
def test_a_source_that_fits_no_scheme_is_refused_with_the_option(text: str, says: str) -> None:
    with pytest.raises(ModelError, match=r"files: m: .*source") as caught:
        parse_source(text, "files: m")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://me:hunter2@h:port/m",
        "https://me:hun/ter2@h/m",
        "https://me:hunter2@h/a b",
        "sftp://me:hunter2@h/m?token=hunter2",
    ],
)
def test_a_refusal_shows_no_credentials(text: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_source(text, "files: m")
    assert "hun" not in str(caught.value)
    assert "***" in str(caught.value)


def test_the_representation_of_a_source_shows_no_credentials() -> None:
    assert "Basic" not in repr(parse_source("https://me:hunter2@h/m", "files: m"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/m", "https://h/m"),
        ("https://token@h/m", "https://***@h/m"),
        ("hf://org/model@rev/m.bin", "hf://org/model@rev/m.bin"),
        ("https://h/m?a=b&a=c", "https://h/m?a=***&a=***"),
        ("https://h/m?token", "https://h/m?***"),
        ("file:///a/b", "file:///a/b"),
        ("pip://a==1!/m", "pip://a==1!/m"),
        ("no url", "no url"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_urls_in_a_text_are_shown_without_credentials() -> None:
    text = "Looking in https://me:hunter2@h/simple, and 'http://h/x?t=1'; 50% of a==1"
    assert redact_text(text) == "Looking in https://***@h/simple, and 'http://h/x?t=***'; 50% of a==1"


@pytest.mark.parametrize("path", ["m", "a/b/c.bin", "a..b", "..a", ".hidden", "ünï", "a b", "x" * 255])
def test_a_relative_path_is_accepted(path: str) -> None:
    check_path(path, "files")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("../m", "climbs out"),
        ("a/../../m", "climbs out"),
        ("a/..", "climbs out"),
        ("..\\m", "backslash"),
        ("a//b", "empty or '.' component"),
        ("a/", "empty or '.' component"),
        ("./m", "empty or '.' component"),
        ("a\nb", "control character"),
        ("a\x00b", "control character"),
        ("x" * 256, "255 bytes"),
        ("ñ" * 128, "255 bytes"),
    ],
)
def test_a_path_that_could_leave_the_folder_or_confuse_is_refused(path: str, says: str) -> None:
    with pytest.raises(ModelError, match="files: path") as caught:
        check_path(path, "files")
    assert says in str(caught.value)


def test_files_of_one_wheel_have_one_origin_however_its_name_is_spelt() -> None:
    one, two, other = (
        parse_source(text, "files: m") for text in ("pip://A_b==1!/m", "pip://a-B==1!/n", "pip://a-b==2!/m")
    )
    assert one.origin == two.origin != other.origin
