# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pathlib
import textwrap
import typing as t

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack import load_stack
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError

Load = t.Callable[..., dict[str, t.Any]]
Problems = t.Callable[..., list[str]]
Edit = t.Callable[[str, str, str], None]

FILES = {
    "demo/stack.yml": """\
        name: demo
        images:
          api: {context: images/api, max_size: 300MB, args: {REVISION: 7}}
        models:
          - name: minilm
            version: "1"
            files:
              - {path: model.bin, sha256: "%s", size: 3, source: "https://example.org/model.bin"}
        parameters:
          PORT: {type: port, default: 8080, description: Where the page is.}
          ROBOT: {type: str}
        secrets:
          db_password: {description: Of the application's user.}
        services:
          api:
            lifecycle: stateless
            url: "http://127.0.0.1:${PORT}/"
            gate:
              - http: {port: 8000, path: /health}
              - http: {port: 8000, path: /hear, method: POST, body_file: gate/golden.wav, max_latency: 500ms}
          db: {lifecycle: stateful}
          load: {lifecycle: job}
        """
    % ("0" * 64),
    "demo/compose.yml": """\
        services:
          api:
            build: images/api
            environment: {ROBOT: "${ROBOT}", PRICE: 3$$}
            ports: ["127.0.0.1:${PORT}:8000"]
            volumes: ["./models/minilm:/models/minilm:ro", "data:/data"]
            secrets: [db_password]
          db: {image: postgres, volumes: ["data:/data"]}
          load: {image: busybox}
        volumes:
          data:
        secrets:
          db_password: {file: "${FLEET_SECRETS}/db_password"}
        """,
    "demo/compose.dev.yml": """\
        services:
          db: !reset null
        """,
    "demo/compose.prod.yml": """\
        services:
          db: {mem_limit: 1g}
        """,
    "demo/gate/golden.wav": "RIFF",
    "demo/images/api/Dockerfile": """\
        ARG BASE_PYTHON=python:3.13-slim@sha256:%s
        FROM ${BASE_PYTHON} AS build
        ARG REVISION
        COPY . /app
        FROM build
        """
    % ("1" * 64),
    "demo/images/api/app.py": "print('hello')\n",
    "recipes/base-python.yml": """\
        suite: trixie
        packages: [python3-minimal]
        """,
    "recipes/base-nginx.yml": """\
        suite: trixie
        packages: [nginx]
        """,
}


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """Write a stack in which nothing is wrong; messages name its files from demo/ on."""
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "demo"


@pytest.fixture(name="load")
def load_fixture(folder: pathlib.Path) -> Load:
    """Load the stack as the lookup does."""

    def load(environment: str | None = "prod", base_source: t.Any = "debian") -> dict[str, t.Any]:
        return load_stack(folder, environment, base_source, folder.parent / "recipes")

    return load


@pytest.fixture(name="problems")
def problems_fixture(load: Load) -> Problems:
    """Load the stack; return what is wrong with it."""

    def problems(*args: t.Any, **kwargs: t.Any) -> list[str]:
        with pytest.raises(StackFileError) as caught:
            load(*args, **kwargs)
        return [str(problem) for problem in caught.value.problems]

    return problems


@pytest.fixture(name="edit")
def edit_fixture(folder: pathlib.Path) -> Edit:
    """Replace a text that is there in a file of the stack."""

    def edit(name: str, old: str, new: str) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit
