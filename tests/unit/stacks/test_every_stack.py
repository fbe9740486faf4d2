# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for each of the stacks that come with the collection."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml

STACKS = Path(__file__).parents[3] / "stacks"
NAMES = sorted(file.parent.name for file in STACKS.glob("*/stack.yml"))
IMAGES = sorted(str(file.parent.relative_to(STACKS)) for file in STACKS.glob("*/images/*/Dockerfile"))
PAGES = sorted(name for name in IMAGES if (STACKS / name / "site").is_dir())


class Loader(yaml.SafeLoader):
    """Reads Compose's own tags as the values behind them."""


def plain(loader: yaml.SafeLoader, node: yaml.Node) -> t.Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(t.cast(yaml.ScalarNode, node))


for tag in ("!reset", "!override"):
    Loader.add_constructor(tag, plain)


def read(path: Path) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], yaml.load(path.read_text(encoding="utf-8"), Loader))


def dockerfile(image: str) -> str:
    return (STACKS / image / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_a_service_can_do_no_more_than_it_must(name: str) -> None:
    for service, settings in read(STACKS / name / "compose.yml")["services"].items():
        assert settings["read_only"] is True, service
        assert settings["cap_drop"] == ["ALL"], service
        assert settings["security_opt"] == ["no-new-privileges:true"], service
        assert int(str(settings["user"]).partition(":")[0]) > 0, service
        assert {"cpus", "memory", "pids"} <= set(settings["deploy"]["resources"]["limits"]), service
        assert {"max-size", "max-file"} <= set(settings["logging"]["options"]), service
        assert "container_name" not in settings, service


@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_a_services_and_every_service_has_a_lifecycle(name: str) -> None:
    file = read(STACKS / name / "stack.yml")
    services = {service for compose in (STACKS / name).glob("compose*.yml") for service in read(compose)["services"]}
    assert set(file["services"]) == services
    assert {Path(image).name for image in IMAGES if image.startswith(f"{name}/")} == {
        Path(image["context"]).name for image in file["images"].values()
    }


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_says_what_it_adds_and_runs_without_rights(image: str) -> None:
    text = dockerfile(image)
    assert re.search(r'^LABEL org\.emorobcare\.fleet\.paths="/\S+( /\S+)*"$', text, re.MULTILINE)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert (STACKS / image / ".dockerignore").read_text(encoding="utf-8").splitlines()[1] == "*"


@pytest.mark.parametrize("image", [image for image in IMAGES if (STACKS / image / "requirements.txt").exists()])
def test_every_requirement_of_an_image_has_hashes(image: str) -> None:
    text = (STACKS / image / "requirements.txt").read_text(encoding="utf-8")
    pinned = re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==\S+ \\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[\w]", text, re.MULTILINE)) > 0
    assert "--require-hashes" in dockerfile(image)


@pytest.mark.parametrize("name", NAMES)
def test_compose_and_the_images_check_health_in_the_same_way(name: str) -> None:
    services = read(STACKS / name / "compose.yml")["services"]
    declared: dict[Path, list[list[str]]] = {}  # an image may serve several services, each with a check of its own
    for service, image in read(STACKS / name / "stack.yml")["images"].items():
        file = STACKS / name / image["context"] / image.get("dockerfile", "Dockerfile")
        check = services[service].get("healthcheck", {})
        declared.setdefault(file, []).extend([check["test"]] if "test" in check else [])
    for file, checks in declared.items():
        found = re.search(r"^HEALTHCHECK[^[]*(\[.*\])$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert not checks or (found and ["CMD", *json.loads(found[1])] in checks), file


@pytest.mark.parametrize("page", PAGES)
def test_pages_share_one_plain_style(page: str) -> None:
    style = "site/style.css"
    assert (STACKS / page / style).read_bytes() == (STACKS / "emorobcare/images/frontend" / style).read_bytes()
