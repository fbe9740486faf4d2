# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import (
    DepotSource,
    FileSource,
    HttpSource,
    HubSource,
    OciSource,
    PipSource,
    check_path,
    parse_source,
    redact_text,
    redact_url,
)

DIGEST = "sha256:" + "a" * 64

GOOD = [
    pytest.param("hf://org/repo@main/m.bin", HubSource("org/repo", "main", "m.bin"), id="hub"),
    pytest.param(
        "hf://gpt2@607a30d/a b/ñ#1.bin", HubSource("gpt2", "607a30d", "a b/ñ#1.bin"), id="hub, no organisation"
    ),
    pytest.param("HF://o/r@refs%2Fpr%2F1/d/m", HubSource("o/r", "refs/pr/1", "d/m"), id="hub, a slash in the revision"),
    pytest.param("hf://o/r@v1.0/a@b", HubSource("o/r", "v1.0", "a@b"), id="hub, an @ in the path"),
    pytest.param(f"oci://r.org/a/b@{DIGEST}", OciSource("r.org", "a/b", DIGEST), id="oci, a blob"),
    pytest.param(
        f"oci://R.org:5000/a@{DIGEST}!/d/m", OciSource("r.org:5000", "a", DIGEST, "d/m"), id="oci, port, path"
    ),
    pytest.param(f"oci://[::1]:5000/a@{DIGEST}", OciSource("[::1]:5000", "a", DIGEST), id="oci, IPv6"),
    pytest.param("depot:///media/stick!/speech", DepotSource("/media/stick", "speech"), id="depot"),
    pytest.param("depot:///m%20n/!/a/b:1!/d/m", DepotSource("/m n", "a/b:1", "d/m"), id="depot, tag and path"),
    pytest.param(f"depot://localhost/m!/{DIGEST}", DepotSource("/m", DIGEST), id="depot, digest"),
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
    pytest.param("hf://org/repo/m.bin", "names no revision; it must be hf://", id="hub, no revision"),
    pytest.param("hf://org/repo@main", "no revision and path after the '@'", id="hub, no path"),
    pytest.param("hf://org/repo@/m.bin", "no revision and path after the '@'", id="hub, empty revision"),
    pytest.param("hf://org/repo@../m.bin", "no revision and path after the '@'", id="hub, revision climbs"),
    pytest.param("hf://datasets/org/repo@main/m", "no repository of models", id="hub, a data set"),
    pytest.param("hf://@main/m", "no repository of models", id="hub, no repository"),
    pytest.param("hf://o/r@main/../m", "climbs out", id="hub, path climbs"),
    pytest.param(f"oci://r.org@{DIGEST}", "must not hold credentials", id="oci, no repository"),
    pytest.param("oci://r.org", "names no registry", id="oci, registry alone"),
    pytest.param("oci://r.org/a:1", "a tag, which can move", id="oci, a tag"),
    pytest.param(f"oci://r.org/a:1@{DIGEST}", "a tag, which can move", id="oci, tag and digest"),
    pytest.param("oci://r.org/a", "no digest after '@'", id="oci, no digest"),
    pytest.param("oci://r.org/a@sha512:00", "no digest after '@'", id="oci, another digest"),
    pytest.param(f"oci://r.org/A@{DIGEST}", "names no repository", id="oci, capitals"),
    pytest.param(f"oci://r.org/a@{DIGEST}!/", "is empty", id="oci, empty path"),
    pytest.param("depot://stick!/speech", "depot:///absolute/folder", id="depot, relative"),
    pytest.param("depot://server/m!/speech", "depot:///absolute/folder", id="depot, other host"),
    pytest.param("depot:///media/stick", "depot:///absolute/folder", id="depot, no name"),
    pytest.param("depot:///!/speech", "depot:///absolute/folder", id="depot, the root"),
    pytest.param("depot:///m!/a b", "names nothing in the depot", id="depot, no reference"),
    pytest.param("depot:///m!/sha256:00", "names nothing in the depot", id="depot, short digest"),
    pytest.param("depot:///m!/a!/../b", "climbs out", id="depot, path climbs"),
    pytest.param("depot:///m%00!/a", "NUL", id="depot, NUL"),
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
        f"oci://me:hunter2@r.org/a@{DIGEST}",
        "hf://me:hunter2@org/repo@main/m",
        "hf://hf_huntinghuntinghunting12@main/m",
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
        ("hf://model@rev/m.bin", "hf://model@rev/m.bin"),
        ("hf://me:hunter2@org/m", "hf://***@org/m"),
        ("oci://me:hunter2@r.org/a", "oci://***@r.org/a"),
        ("depot:///a/b!/c", "depot:///a/b!/c"),
        ("https://h/m?a=b&a=c", "https://h/m?a=***&a=***"),
        ("https://h/m?token", "https://h/m?***"),
        ("file:///a/b", "file:///a/b"),
        ("pip://a==1!/m", "pip://a==1!/m"),
        ("no url", "no url"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "hf://o/r@refs%2Fpr%2F1/d/m",
        f"oci://r.org:5000/a/b@{DIGEST}!/d/m",
        f"oci://r.org/a@{DIGEST}",
        "depot:///m!/a:1!/d/m",
        "depot:///m!/a",
        "file:///a/b",
        "pip://a==1!/m",
    ],
)
def test_a_source_is_shown_as_it_was_written(text: str) -> None:
    assert parse_source(text, "files: m").shown == text == redact_url(text)


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


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("http://a/m", "https://b/n", True),
        ("hf://a/b@1/m", "hf://c@2/n", True),
        (f"oci://r.org/a@{DIGEST}", f"oci://R.org/b@{DIGEST}!/m", True),
        (f"oci://r.org/a@{DIGEST}", f"oci://r.org:5000/a@{DIGEST}", False),
        ("depot:///m!/a", "depot:///m/!/b", True),
        ("depot:///m!/a", "depot:///n!/a", False),
        ("file:///m", "depot:///m!/a", False),
    ],
)
def test_what_one_origin_serves_has_one_origin(one: str, two: str, same: bool) -> None:
    first, second = (parse_source(text, "files: m") for text in (one, two))
    assert (first.origin == second.origin) is same
