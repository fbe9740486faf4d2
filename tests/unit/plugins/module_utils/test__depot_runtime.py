# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_runtime import (
    collection_argv,
    install_argv,
    install_failure,
    instructions,
    read_runtime,
    trial_argv,
)

PIP, COLLECTION = "pip-24.2-py3-none-any.whl", "emorobcare-fleet-0.1.0.tar"
FILES = {PIP: "a", COLLECTION: "b", "requirements.txt": "c", "wheels/x-1-py3-none-any.whl": "d", "README.txt": "e"}


def test_the_parts_are_found_among_the_files() -> None:
    runtime = read_runtime(FILES, "/src")
    assert (runtime.pip, runtime.collection) == (PIP, COLLECTION)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "no pip"),
        ({**FILES, "pip-24.3-py3-none-any.whl": "f"}, "should have one"),
        ({name: sha for name, sha in FILES.items() if name != COLLECTION}, "collection's archive"),
        ({name: sha for name, sha in FILES.items() if name != "requirements.txt"}, "no requirements.txt"),
    ],
)
def test_a_folder_that_lacks_a_part_is_no_runtime(files: dict[str, str], told: str) -> None:
    with pytest.raises(DepotError, match=told) as caught:
        read_runtime(files, "/src")
    assert caught.value.reason == "blob_missing"


def test_another_file_or_another_python_is_another_environment() -> None:
    runtime = read_runtime(FILES, "/src")
    ids = {
        runtime.id("3.13"),
        runtime.id("3.14"),
        read_runtime({**FILES, "README.txt": "f"}, "/src").id("3.13"),
        read_runtime({**FILES, "wheels/y.whl": "g"}, "/src").id("3.13"),
    }
    assert len(ids) == 4
    assert read_runtime(dict(reversed(FILES.items())), "/elsewhere").id("3.13") == runtime.id("3.13")


def test_pip_runs_out_of_its_wheel_asks_no_index_and_believes_digests_alone() -> None:
    argv = install_argv("/opt/x", "/src", read_runtime(FILES, "/src"))
    assert argv[:3] == ["/opt/x/bin/python3", f"/src/{PIP}/pip", "install"]
    assert {"--isolated", "--no-index", "--no-deps", "--require-hashes"} <= set(argv)
    assert argv[-4:] == ["--find-links", "/src/wheels", "--requirement", "/src/requirements.txt"]


def test_the_collection_goes_where_python_itself_looks() -> None:
    argv = collection_argv("/opt/x", "3.13", f"/src/{COLLECTION}")
    assert argv[argv.index("--collections-path") + 1] == "/opt/x/lib/python3.13/site-packages"
    assert "--offline" in argv
    assert trial_argv("/opt/x", COLLECTION)[-1] == "emorobcare.fleet"


@pytest.mark.parametrize(
    ("said", "reason", "told"),
    [
        ("ERROR: No matching distribution found for cffi==2.1.1", "wrong_hardware", "no cffi==2.1.1 for Python 3.11"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE FILE", "blob_corrupt", "copy the runtime again"),
        ("OSError: disk", "io_error", "last words"),
    ],
)
def test_what_pip_says_becomes_a_reason(said: str, reason: str, told: str) -> None:
    error = install_failure(said, "3.11", ["last words"])
    assert error.reason == reason
    assert told in str(error)


def test_the_instructions_say_the_same_commands_as_the_module_runs() -> None:
    told = instructions(PIP, COLLECTION).decode().replace("\\\n", " ").split()
    by_module = install_argv("/opt/fleet/by-hand", ".", read_runtime(FILES, "."))
    words = {word.removeprefix("./") for word in by_module} - {"--quiet", "--root-user-action=ignore"}
    assert words <= set(told)
