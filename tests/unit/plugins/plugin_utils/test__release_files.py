# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._release_files import LARGEST_FILE

Load = t.Callable[..., dict[str, t.Any]]
Problems = t.Callable[..., list[str]]
Edit = t.Callable[[str, str, str], None]


def test_compose_files_and_what_the_gate_sends_travel_with_the_release(load: Load) -> None:
    files = load("prod")["release"]["files"]
    assert list(files) == ["compose.prod.yml", "compose.release.yml", "compose.yml", "gate/golden.wav"]
    assert base64.b64decode(files["gate/golden.wav"]) == b"RIFF"


@pytest.mark.parametrize(
    "volume", ["./conf/app.toml:/app.toml:ro", "{type: bind, source: ./conf//app.toml, target: /x}"]
)
def test_a_file_that_compose_mounts_travels_with_the_release(
    folder: pathlib.Path, load: Load, edit: Edit, volume: str
) -> None:
    (folder / "conf").mkdir()
    (folder / "conf" / "app.toml").write_text("x = 1\n")
    edit("compose.yml", "{image: busybox}", f"{{image: busybox, volumes: [{volume}]}}")
    release = load("prod")["release"]
    assert base64.b64decode(release["files"]["conf/app.toml"]) == b"x = 1\n"
    assert set(release["document"]["files"]) == set(release["files"])


@pytest.mark.parametrize(("there", "carried"), [(True, True), (False, False)])
def test_an_optional_env_file_travels_if_it_is_there(
    folder: pathlib.Path, load: Load, edit: Edit, there: bool, carried: bool
) -> None:
    if there:
        (folder / "more.env").write_text("A=1\n")
    edit("compose.yml", "{image: busybox}", "{image: busybox, env_file: [{path: more.env, required: false}]}")
    assert ("more.env" in load("prod")["release"]["files"]) is carried


def make_folder(path: pathlib.Path) -> None:
    path.mkdir()


def make_large(path: pathlib.Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)


def make_link_out(path: pathlib.Path) -> None:
    outside = path.parents[1] / "outside"
    outside.write_text("secret")
    path.symlink_to(outside)


def make_nothing(_path: pathlib.Path) -> None:
    pass


FAULTS = [
    pytest.param("x", make_nothing, '"x" does not exist in the stack\'s folder', id="missing"),
    pytest.param(
        "x",
        make_folder,
        '"x" is a folder; a release carries files: name them one by one, or put them into an image',
        id="folder",
    ),
    pytest.param("x", make_large, '"x" is larger than 10 MB; make it a model, or put it into an image', id="large"),
    pytest.param(
        "x",
        make_link_out,
        '"x" is outside the stack\'s folder; a release carries only files that are in it',
        id="link that leads out",
    ),
    pytest.param(
        "../x",
        make_nothing,
        '"../x" is outside the stack\'s folder; a release carries only files that are in it',
        id="outside",
    ),
    pytest.param(
        "release.json",
        make_nothing,
        "\"release.json\" cannot be carried: the host itself writes 'release.json' there; give the file another name",
        id="name of the host's own",
    ),
    pytest.param(
        "${ROBOT}.toml",
        make_nothing,
        '"${ROBOT}.toml" has a variable, so that nobody can say which file the release needs; name the file',
        id="variable",
    ),
]


@pytest.mark.parametrize(("name", "make", "fault"), FAULTS)
def test_what_cannot_travel_with_a_release_is_refused(
    folder: pathlib.Path,
    problems: Problems,
    edit: Edit,
    name: str,
    make: t.Callable[[pathlib.Path], None],
    fault: str,
) -> None:
    make(folder / name)
    edit("compose.yml", "{image: busybox}", f"{{image: busybox, volumes: ['./{name}:/x']}}")
    assert problems("prod") == [f"demo/compose.yml:9: services.load.volumes[0]: {fault}"]


def test_a_body_file_that_is_not_there_is_named_where_the_gate_names_it(
    folder: pathlib.Path, problems: Problems
) -> None:
    (folder / "gate" / "golden.wav").unlink()
    place = "services.api.gate[1].http.body_file"
    assert problems() == [f'demo/stack.yml:20: {place}: "gate/golden.wav" does not exist in the stack\'s folder']


def test_models_are_no_files_of_the_release(problems: Problems, edit: Edit) -> None:
    edit("stack.yml", "gate/golden.wav", "models/minilm/x")
    (problem,) = problems()
    assert "cannot be carried: the host itself writes 'models' there" in problem
