# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import hashlib
import json
import pathlib
import shutil
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import decode_files, parse_document
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack import load_stack

Load = t.Callable[..., dict[str, t.Any]]
Problems = t.Callable[..., list[str]]
Edit = t.Callable[[str, str, str], None]

COLLECTION = pathlib.Path(__file__).parents[4]
RECIPES = COLLECTION / "roles" / "image_build" / "files" / "bases"


def test_a_stack_is_resolved(load: Load, folder: pathlib.Path) -> None:
    stack = load("prod")
    (image,), (base,) = stack["images"], stack["bases"]
    assert {key: stack[key] for key in ("name", "environment", "path", "compose_files")} == {
        "name": "demo",
        "environment": "prod",
        "path": str(folder),
        "compose_files": ["compose.yml", "compose.prod.yml"],
    }
    assert image == {
        "service": "api",
        "name": "demo/api",
        "reference": f"demo/api:{image['input'][:16]}",
        "input": image["input"],
        "context": str(folder / "images" / "api"),
        "dockerfile": "Dockerfile",
        "args": {"REVISION": "7", "BASE_PYTHON": base["reference"]},
        "base_args": ["BASE_PYTHON"],
        "max_size": 300_000_000,
    }
    assert (base["name"], base["recipe"]) == ("base-python", {"suite": "trixie", "packages": ["python3-minimal"]})
    assert stack["models"][0]["files"][0]["sources"] == ["https://example.org/model.bin"]
    assert stack["parameters"]["PORT"]["default"] == 8080
    assert stack["secrets"] == {"db_password": {"description": "Of the application's user."}}
    assert stack["services"]["api"]["gate"][1]["http"]["max_latency"] == 0.5
    assert stack["rollout"] == {"success_threshold": 3, "gate_timeout": 120.0}


def test_the_result_is_json_and_survives_it(load: Load) -> None:
    stack = load("prod")
    assert json.loads(json.dumps(stack)) == stack


def test_an_id_is_the_digest_of_the_canonical_document_and_a_host_agrees(load: Load) -> None:
    release = load("prod")["release"]
    text = json.dumps(release["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert release["id"] == hashlib.sha256(text.encode()).hexdigest()
    host = parse_document(release["document"], release["id"])
    assert set(decode_files(host, release["files"])) == set(release["document"]["files"])
    assert host.lifecycles == {"api": "stateless", "db": "stateful", "load": "job"}


def test_a_release_is_the_same_wherever_the_stack_is_checked_out(load: Load, folder: pathlib.Path) -> None:
    here = load("prod")
    there = shutil.copytree(folder, folder.parent / "another" / "place")
    assert load_stack(there, "prod", "debian", folder.parent / "recipes")["release"] == here["release"]
    assert str(folder.parent) not in json.dumps(here["release"])


def test_an_environment_has_its_own_services_and_release(load: Load) -> None:
    dev, prod, plain = load("dev"), load("prod"), load(None)
    assert sorted(dev["services"]) == ["api", "load"]
    assert sorted(prod["services"]) == ["api", "db", "load"]
    assert (plain["environment"], plain["compose_files"]) == (None, ["compose.yml"])
    assert len({stack["release"]["id"] for stack in (dev, prod, plain)}) == 3


def test_bases_of_a_registry_stay_as_the_dockerfile_names_them(load: Load) -> None:
    stack = load("prod", "registry")
    assert stack["bases"] == []
    assert stack["images"][0]["args"]["BASE_PYTHON"] == "python:3.13-slim@sha256:" + "1" * 64
    assert stack["images"][0]["base_args"] == []
    assert stack["images"][0]["input"] != load("prod", "debian")["images"][0]["input"]


def change_context(folder: pathlib.Path) -> None:
    (folder / "images" / "api" / "app.py").write_text("print('other')\n")


def change_recipe(folder: pathlib.Path) -> None:
    (folder.parent / "recipes" / "base-python.yml").write_text("suite: trixie\npackages: [python3]\n")


@pytest.mark.parametrize("change", [change_context, change_recipe])
def test_what_goes_into_an_image_changes_its_reference_and_the_release(
    load: Load, folder: pathlib.Path, change: t.Callable[[pathlib.Path], None]
) -> None:
    before = load("prod")
    change(folder)
    after = load("prod")
    assert after["images"][0]["reference"] != before["images"][0]["reference"]
    assert after["release"]["id"] != before["release"]["id"]


MODELS = """\
models:
  - name: minilm
    version: "1"
    files:
      - {path: model.bin, sha256: "%s", size: 3, source: "https://example.org/model.bin"}
""" % ("0" * 64)
LIST = '[{"name": "minilm", "version": "1", "files": [%s]}]' % (
    '{"path": "model.bin", "sha256": "' + "0" * 64 + '", "size": 3, "sources": ["https://example.org/model.bin"]}'
)
PLAIN = '{"minilm": {"url": "https://example.org/model.bin", "checksum": "sha256:%s", "size": 3, "version": "1"}}' % (
    "0" * 64
)


@pytest.mark.parametrize("content", [LIST, PLAIN, PLAIN.replace(", ", ",\n\t")])
def test_models_in_a_file_or_in_the_plain_form_give_the_same_release(
    load: Load, edit: Edit, folder: pathlib.Path, content: str
) -> None:
    before = load("prod")
    (folder / "models").mkdir()
    (folder / "models" / "all.json").write_text(content)
    edit("stack.yml", MODELS, "models: models/all.json\n")
    assert load("prod") == before
    if "\t" not in content:
        edit("stack.yml", "models/all.json", content)
        assert load("prod") == before


def test_comments_in_stack_yml_do_not_change_the_release(load: Load, edit: Edit) -> None:
    before = load("prod")
    edit("stack.yml", "name: demo\n", "# A comment.\nname: demo\n\n")
    assert load("prod") == before


def test_images_of_services_that_the_environment_lacks_are_not_built(load: Load, edit: Edit) -> None:
    edit("stack.yml", "api: {context", "db: {context: images/api, args: {REVISION: 1}}\n  api: {context")
    assert [image["service"] for image in load("dev")["images"]] == ["api"]
    assert [image["service"] for image in load("prod")["images"]] == ["api", "db"]
    assert len(load("prod")["bases"]) == 1


def test_services_whose_images_come_from_the_same_input_share_one(load: Load, edit: Edit) -> None:
    edit(
        "stack.yml", "api: {context", "load: {context: images/api, max_size: 9MB, args: {REVISION: 7}}\n  api: {context"
    )
    whole = load("dev")
    images = whole["release"]["document"]["images"]
    assert images["load"] == images["api"]
    assert [image["reference"] for image in whole["images"]] == [images["api"]["reference"]]
    (audited,) = whole["audit"]
    assert (audited["service"], audited["lifecycle"], audited["max_size"]) == ("api", "stateless", 9_000_000)


def test_services_whose_images_are_judged_otherwise_share_none(load: Load, edit: Edit) -> None:
    own = "load: {context: images/api, args: {REVISION: 7}, audit: {max_layers: 3}}\n  api: {context"
    edit("stack.yml", "api: {context", own)
    assert [image["name"] for image in load("dev")["images"]] == ["demo/api", "demo/load"]


def remove(name: str) -> t.Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        (folder / name).unlink()

    return change


def write(name: str, text: str) -> t.Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        (folder / name).write_text(text)

    return change


def replace(name: str, old: str, new: str) -> t.Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def link_context_out(folder: pathlib.Path) -> None:
    shutil.move(folder / "images" / "api", folder.parent / "outside")
    (folder / "images" / "api").symlink_to(folder.parent / "outside")


def link_models_out(folder: pathlib.Path) -> None:
    replace("stack.yml", MODELS, "models: models.yml\n")(folder)
    (folder.parent / "models.yml").write_text(PLAIN)
    (folder / "models.yml").symlink_to("../models.yml")


def write_wrong_models(folder: pathlib.Path) -> None:
    replace("stack.yml", MODELS, "models: models.yml\n")(folder)
    (folder / "models.yml").write_text(f'minilm:\n  url: "pip://x!/y"\n  checksum: "sha256:{"0" * 64}"\n')


NO_FILE = "there is no such file; a stack is a folder with compose.yml, and with stack.yml to say more"
DOCKERFILE = "images/api/Dockerfile"

FAULTS = [
    pytest.param(
        remove("stack.yml"),
        [
            "demo/compose.yml:3: services.api.build: there is no stack.yml, which says how service 'api' is built; name"
            " an image, or write one with images: {api: {context: …}}"
        ],
        id="no stack.yml, and something to build",
    ),
    pytest.param(remove("compose.yml"), [f"demo/compose.yml: {NO_FILE}"], id="no compose.yml"),
    pytest.param(
        remove("compose.prod.yml"),
        ["demo: unknown environment 'prod'. Overlays here (compose.<environment>.yml): dev"],
        id="no overlay",
    ),
    pytest.param(
        write("compose.release.yml", "{}"),
        ["demo/compose.release.yml: a release's own Compose file has this name; rename the environment"],
        id="overlay with the name of ours",
    ),
    pytest.param(
        write("compose.dev.yml", "services: [\n"),
        ["demo/compose.dev.yml:2: not YAML: did not find expected node content"],
        id="overlay of another environment that is no YAML",
    ),
    pytest.param(
        replace("stack.yml", "images/api,", "images/app,"),
        ['demo/stack.yml:3: images.api.context: "images/app" is not a folder of the stack\'s folder'],
        id="no context",
    ),
    pytest.param(
        link_context_out,
        ['demo/stack.yml:3: images.api.context: "images/api" leads out of the stack\'s folder'],
        id="context elsewhere",
    ),
    pytest.param(
        remove(DOCKERFILE),
        ['demo/stack.yml:3: images.api.dockerfile: there is no "Dockerfile" in demo/images/api'],
        id="no Dockerfile",
    ),
    pytest.param(
        replace("stack.yml", "REVISION: 7", "REVISON: 7, HTTP_PROXY: x"),
        [
            "demo/stack.yml:3: images.api.args.REVISON: unknown build argument 'REVISON'; did you mean 'REVISION'?"
            " ARGs of the Dockerfile: BASE_PYTHON, REVISION"
        ],
        id="argument that no Dockerfile has",
    ),
    pytest.param(
        replace("stack.yml", MODELS, "models: models.json\n"),
        [
            'demo/stack.yml:4: models: "models.json" is no file in the stack\'s folder; give a list, a mapping, or the'
            " path of a JSON or YAML file"
        ],
        id="no file of models",
    ),
    pytest.param(
        link_models_out,
        ['demo/stack.yml:4: models: "models.yml" leads out of the stack\'s folder'],
        id="file of models elsewhere",
    ),
    pytest.param(
        write_wrong_models,
        [
            "demo/models.yml:2: minilm.url: model minilm: source 'pip://x!/y' must be pip://package==version!/path/in/wheel"
        ],
        id="file of models with a fault",
    ),
    pytest.param(
        replace(DOCKERFILE, "BASE_PYTHON", "BASE_RUBY"),
        [
            "demo/images/api/Dockerfile:1: ARG BASE_RUBY: unknown recipe 'base-ruby'; did you mean 'base-python'?"
            " Recipes: base-nginx, base-python",
        ],
        id="unknown base",
    ),
    pytest.param(
        write("images/api/.env", "A=1"),
        [
            "demo/images/api/.env: an environment file holds secrets;"
            " add it to .dockerignore, and give secrets to the build as build secrets"
        ],
        id="secret in the context",
    ),
]


@pytest.mark.parametrize(("change", "messages"), FAULTS)
def test_a_stack_that_cannot_be_used_is_refused(
    folder: pathlib.Path, problems: Problems, change: t.Callable[[pathlib.Path], None], messages: list[str]
) -> None:
    change(folder)
    assert problems("prod") == messages


def test_faults_of_all_files_are_told_at_once(folder: pathlib.Path, problems: Problems, edit: Edit) -> None:
    edit("stack.yml", "path: /hear, method: POST", "path: /hear")
    edit("compose.prod.yml", "mem_limit: 1g", "image: 'x:${TAG}'")
    edit(DOCKERFILE, "FROM build", "FROM nginx")
    (folder / "gate" / "golden.wav").unlink()
    assert [problem.split(": ")[0] for problem in problems("prod")] == [
        "demo/compose.prod.yml:2",
        "demo/images/api/Dockerfile:5",
        "demo/stack.yml:20",
        "demo/stack.yml:20",
    ]


@pytest.mark.parametrize("environment", ["dev", "prod"])
@pytest.mark.parametrize("base_source", ["debian", "registry"])
def test_emorobcare_is_a_stack(environment: str, base_source: t.Any) -> None:
    stack = load_stack(COLLECTION / "stacks" / "emorobcare", environment, base_source, RECIPES)
    assert {"api", "asr", "frontend", "fuseki-job"} <= set(stack["services"])
    assert {image["service"] for image in stack["images"]} >= {"api", "asr", "frontend"}
    document = copy.deepcopy(stack["release"]["document"])
    assert parse_document(document, stack["release"]["id"]).stack == "emorobcare"
