# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_depot import DepotOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_file import FileOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_http import HttpOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_hub import HubOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_oci import OciOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origins import make_origin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip, PipOrigin
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import parse_source

SECRETS = Network(proxy="http://me:s3cret@p", hub_token="s3cret", registry_password="s3cret")


def no_commands(command: t.Sequence[str], _folder: str) -> Ended:
    raise AssertionError(f"nothing here needs {command}")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://h/model", HttpOrigin),
        ("http://h/model", HttpOrigin),
        ("hf://org/repo@main/model", HubOrigin),
        (f"oci://registry/repository@sha256:{'0' * 64}", OciOrigin),
        (f"depot:///depot!/sha256:{'0' * 64}", DepotOrigin),
        ("file:///model", FileOrigin),
        ("pip://package==1.0!/model", PipOrigin),
    ],
)
def test_each_kind_of_source_has_its_origin(text: str, kind: type, tmp_path: Path) -> None:
    origin = make_origin(parse_source(text, "source"), Network(), HostPip(no_commands), str(tmp_path), 4)
    with contextlib.closing(origin):
        assert isinstance(origin, kind)


def test_a_proxy_that_is_none_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    source = parse_source("https://h/model", "source")
    with pytest.raises(ModelError, match="proxy 'socks5://p' cannot be used"):
        make_origin(source, Network(proxy="socks5://p"), HostPip(no_commands), str(tmp_path), 4)


def test_the_secrets_of_the_network_are_not_shown() -> None:
    assert "s3cret" not in repr(SECRETS)
