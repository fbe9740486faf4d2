# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils import _depot_wheels
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_wheels import (
    Pin,
    Target,
    applying,
    check_library,
    check_target,
    download_argv,
    newest_pip,
    parse_lock,
    serving,
)

A, B = "a" * 64, "b" * 64
DEBIAN_13 = Target("3.13", "amd64")
LOCK = f"""# made by a tool
jmespath==1.1.0 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
typing-extensions==4.16.0 ; python_full_version < '3.13' \\
    --hash=sha256:{A}
pywin32==312 ; sys_platform == 'win32' --hash=sha256:{B}  # a comment

"""


def test_a_lock_file_is_read_with_conditions_and_digests() -> None:
    assert parse_lock(LOCK) == (
        Pin("jmespath", "1.1.0", "", frozenset({A, B})),
        Pin("typing-extensions", "4.16.0", "python_full_version < '3.13'", frozenset({A})),
        Pin("pywin32", "312", "sys_platform == 'win32'", frozenset({B})),
    )


@pytest.mark.parametrize(
    "line",
    [
        "jmespath==1.1.0",
        f"jmespath>=1.1.0 --hash=sha256:{A}",
        f"jmespath --hash=sha256:{A}",
        f"jmespath==1.1.0 --hash=md5:{A[:32]}",
        f"jmespath==1.1.0 --hash=sha256:{A[:-1]}",
        f"--index-url http://evil/ --hash=sha256:{A}",
        "-r other.txt",
        f"jmespath @ http://evil/x.whl --hash=sha256:{A}",
    ],
)
def test_a_line_that_pins_no_bytes_is_refused(line: str) -> None:
    with pytest.raises(DepotError, match="must be a pin with digests") as caught:
        parse_lock(line)
    assert caught.value.reason == "invalid"


def test_the_lock_file_of_this_collection_is_read_whole() -> None:
    text = (pathlib.Path(__file__).parents[4] / "requirements.txt").read_text(encoding="utf-8")
    assert len(parse_lock(text)) == text.count("==") - text.count(" == '")


@pytest.mark.parametrize(
    ("target", "names"),
    [
        (DEBIAN_13, ["jmespath"]),
        (Target("3.12", "arm64"), ["jmespath", "typing-extensions"]),
    ],
)
def test_conditions_are_evaluated_for_the_target_and_not_for_this_python(target: Target, names: list[str]) -> None:
    assert [pin.name for pin in applying(parse_lock(LOCK), target)] == names


def test_the_architecture_counts_in_conditions() -> None:
    pins = parse_lock(f"x==1 ; platform_machine == 'aarch64' --hash=sha256:{A}")
    assert [len(applying(pins, Target("3.13", one))) for one in ("amd64", "arm64", "armhf")] == [0, 1, 0]


def test_a_condition_that_is_none_is_refused() -> None:
    with pytest.raises(DepotError, match="has a condition"):
        applying(parse_lock(f"x==1 ; python is new --hash=sha256:{A}"), DEBIAN_13)


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("py_yaml-6.0.3-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("py_yaml-6.0.3-py3-none-any.whl", True),
        ("py_yaml-6.0.3-cp311-abi3-manylinux_2_34_x86_64.whl", True),
        ("py_yaml-6.0.3-cp312-cp312-manylinux_2_17_x86_64.whl", False),
        ("py_yaml-6.0.3-cp313-cp313-manylinux_2_17_aarch64.whl", False),
        ("py_yaml-6.0.3-cp313-cp313-manylinux_2_41_x86_64.whl", False),
        ("py_yaml-6.0.3-cp313-cp313-musllinux_1_2_x86_64.whl", False),
        ("py_yaml-6.0.4-py3-none-any.whl", False),
        ("yaml-6.0.3-py3-none-any.whl", False),
        ("py_yaml-6.0.3.tar.gz", False),
        ("notes.whl", False),
    ],
)
def test_a_wheel_serves_where_its_name_version_and_tags_fit(file: str, fits: bool) -> None:
    pin = Pin("Py.YAML", "6.0.3", "", frozenset({A}))
    assert serving(pin, DEBIAN_13, {file: A}) == ([file] if fits else [])


def test_a_wheel_with_another_digest_does_not_serve() -> None:
    pin = Pin("jmespath", "1.1.0", "", frozenset({A}))
    assert serving(pin, DEBIAN_13, {"jmespath-1.1.0-py3-none-any.whl": B}) == []


def test_pip_is_asked_for_the_target_by_digest_and_for_no_source() -> None:
    argv = download_argv("/python", Target("3.12", "arm64"), "/r.txt", "/d")
    assert argv[:4] == ["/python", "-m", "pip", "download"]
    assert {"--require-hashes", "--no-deps"} <= set(argv)
    assert argv[argv.index("--only-binary") + 1] == ":all:"
    assert argv[argv.index("--python-version") + 1] == "3.12"
    platforms = [argv[place + 1] for place, word in enumerate(argv) if word == "--platform"]
    assert platforms[0] == "manylinux_2_36_aarch64"
    assert "manylinux2014_aarch64" in platforms
    assert all(one.endswith("_aarch64") for one in platforms)


@pytest.mark.parametrize("python", ["3", "3.13.1", "2.7", "py313", "", "3.13 "])
def test_what_is_no_version_of_python_is_refused(python: str) -> None:
    with pytest.raises(DepotError, match="pythons"):
        check_target(Target(python, "amd64"))


def test_the_newest_pip_is_taken() -> None:
    paths = ["/usr/pip-9.0.3-py3-none-any.whl", "/a/pip-24.2-py3-none-any.whl", "/b/pip-23.3-py3-none-any.whl"]
    assert newest_pip(paths) == "/a/pip-24.2-py3-none-any.whl"


@pytest.mark.parametrize("paths", [[], ["/usr/share/python-wheels/pip-23.0.1-py3-none-any.whl"]])
def test_a_pip_that_does_not_run_on_the_hosts_is_refused(paths: list[str]) -> None:
    with pytest.raises(DepotError, match=r"23\.2") as caught:
        newest_pip(paths)
    assert caught.value.reason == "library_missing"


def test_without_the_library_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_depot_wheels, "HAS_PACKAGING", False)
    with pytest.raises(DepotError, match="ansible_playbook_python") as caught:
        check_library()
    assert caught.value.reason == "library_missing"
