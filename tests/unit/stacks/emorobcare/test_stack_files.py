# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must hold between the stack's own files."""

from __future__ import annotations

import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from emorobcare_api.seeds import SEEDS, read_seeds
from emorobcare_asr.audio import duration, read_wav

STACK = Path(__file__).parents[4] / "stacks" / "emorobcare"
OURS = ("api", "asr", "frontend", "fuseki-job")
UPSTREAM = ("mongodb", "qdrant", "fuseki")
HOST = re.compile(r"://|\.(?:org|com|io|net)\b")


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


def read(name: str) -> dict[str, t.Any]:
    return t.cast(dict[str, t.Any], yaml.load((STACK / name).read_text(encoding="utf-8"), Loader))


COMPOSE, DEV, PROD, FILE = (read(name) for name in ("compose.yml", "compose.dev.yml", "compose.prod.yml", "stack.yml"))


def health_check(service: str) -> list[str] | None:
    """The command of the HEALTHCHECK in a service's Dockerfile."""
    text = (STACK / "images" / service / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^HEALTHCHECK[^[]*(\[.*\])$", text, re.MULTILINE)
    return t.cast(list[str], json.loads(found[1])) if found else None


def pinned(service: str) -> dict[str, str]:
    """Names and versions in a service's lock."""
    text = (STACK / "images" / service / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def test_the_seven_services_are_there_and_each_has_a_lifecycle() -> None:
    assert set(COMPOSE["services"]) == {*OURS, *UPSTREAM}
    assert set(FILE["services"]) == set(COMPOSE["services"])
    assert set(FILE["images"]) == set(OURS)


@pytest.mark.parametrize("service", [*OURS, *UPSTREAM])
def test_a_service_can_do_no_more_than_it_must(service: str) -> None:
    settings = COMPOSE["services"][service]
    assert settings["read_only"] is True
    assert settings["cap_drop"] == ["ALL"]
    assert settings["security_opt"] == ["no-new-privileges:true"]
    assert int(settings["user"].split(":")[0]) > 0
    assert set(settings["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert float(settings["deploy"]["resources"]["limits"]["cpus"]) <= 1
    assert settings["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert "container_name" not in settings
    assert "ports" not in settings


@pytest.mark.parametrize("service", OURS)
def test_compose_and_the_image_check_health_in_the_same_way(service: str) -> None:
    check = health_check(service)
    declared = COMPOSE["services"][service].get("healthcheck")
    assert (declared is None) == (check is None) == (FILE["services"][service]["lifecycle"] == "job")
    if declared:
        assert declared["test"] == ["CMD", *t.cast(list[str], check)]


def test_only_the_frontend_is_published_and_only_the_frontend_has_a_way_out() -> None:
    assert [name for name, service in DEV["services"].items() if "ports" in service] == ["frontend"]
    assert not PROD["services"]  # there the ingress has the port
    assert [name for name, service in COMPOSE["services"].items() if "edge" in service["networks"]] == ["frontend"]
    assert COMPOSE["networks"]["backend"]["internal"] is True


def test_development_starts_no_upstream_image_and_waits_for_none() -> None:
    for name in UPSTREAM:
        assert DEV["services"][name]["profiles"] == ["upstream"]
    for service in COMPOSE["services"].values():
        for name, dependency in service.get("depends_on", {}).items():
            assert (name in UPSTREAM) == (dependency.get("required") is False)
    for value in DEV["services"]["api"]["environment"].values():
        assert not value.startswith(("http", "mongodb"))


@pytest.mark.parametrize("service", UPSTREAM)
def test_upstream_images_have_a_version(service: str) -> None:
    tag = COMPOSE["services"][service]["image"].partition("@")[0].rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+\.\d+", tag)


@pytest.mark.parametrize("service", ["api", "asr", "fuseki-job"])
def test_a_lock_has_a_hash_for_everything_and_names_no_registry(service: str) -> None:
    text = (STACK / "images" / service / "requirements.txt").read_text(encoding="utf-8")
    assert not HOST.search(text)
    entries = [entry for entry in re.split(r"\n(?=\w)", text) if "==" in entry.splitlines()[0]]
    assert len(entries) == len(pinned(service))
    assert all("--hash=sha256:" in entry for entry in entries)


def test_who_writes_the_store_and_who_reads_it_have_the_same_library() -> None:
    assert pinned("api")["pyoxigraph"] == pinned("fuseki-job")["pyoxigraph"]


def test_qdrants_client_is_within_one_minor_version_of_the_server() -> None:
    server = re.search(r":v(\d+)\.(\d+)", COMPOSE["services"]["qdrant"]["image"])
    assert server
    client = pinned("api")["qdrant-client"].split(".")
    assert client[0] == server[1]
    assert abs(int(client[1]) - int(server[2])) <= 1


def test_the_speech_model_and_the_recogniser_are_of_one_version() -> None:
    model = next(model for model in FILE["models"] if model["name"] == "pocketsphinx-en-us")
    assert pinned("asr")["pocketsphinx"] == model["version"]


def test_the_golden_recording_can_be_recognised_and_is_a_sample_on_the_page() -> None:
    golden = (STACK / "gate" / "golden.wav").read_bytes()
    assert 1 < duration(read_wav(golden)) < 5
    assert (STACK / "images" / "frontend" / "site" / "samples" / "go-forward.wav").read_bytes() == golden


def test_every_sample_on_the_page_is_small_and_can_be_recognised() -> None:
    page = (STACK / "images" / "frontend" / "site" / "index.html").read_text(encoding="utf-8")
    samples = set(re.findall(r'value="(samples/[^"]+)"', page))
    assert len(samples) == 2
    for sample in samples:
        data = (STACK / "images" / "frontend" / "site" / sample).read_bytes()
        assert len(data) < 150_000
        read_wav(data)


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in (STACK / "images" / "frontend" / "site").iterdir():
        if file.suffix in (".html", ".css", ".js"):
            links = re.findall(
                r"""(?:src|href|url|import|fetch)\s*[=(]?\s*["'(]?(https?:|//)""", file.read_text("utf-8")
            )
            assert not links, file.name


def test_seeds_are_sentences_with_stable_ids() -> None:
    seeds = read_seeds(SEEDS)
    assert 12 <= len(seeds) <= 24
    assert seeds[0].id == "seed-01"
    assert len({seed.text for seed in seeds}) == len(seeds)
