# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_folder import Source
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import Manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_serve import main, place_of
from ansible_collections.emorobcare.fleet.tests.unit.plugins.module_utils._served_depot import Depot, ask

PROGRAM = """
import sys
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_release import parse_manifest
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_serve import main
sys.exit(main(sys.argv[1:], lambda source: [parse_manifest(source.read("release.json", 1 << 20))]))
"""


def nobody(_source: Source) -> t.Sequence[Manifest]:
    return ()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("0.0.0.0:5000", ("0.0.0.0", 5000)),
        ("[::1]:5000", ("::1", 5000)),
        ("localhost:5000", ("127.0.0.1", 5000)),
    ],
)
def test_a_place_is_an_address_and_a_port(text: str, place: tuple[str, int]) -> None:
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "5000", ":5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "::1:5000", "a:²"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="ADDRESS:PORT"):
        place_of(text)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "required: depot"),
        (["/d", "--listen", "x"], 2, "ADDRESS:PORT"),
        (["--help"], 0, "read-only registry"),
        (["/d", "--listen", "0.0.0.0:0"], 1, "give a certificate and its key"),
        (["/d", "--tls-cert", "c.pem"], 1, "both a certificate and its key"),
    ],
)
def test_arguments_that_cannot_be_are_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str
) -> None:
    assert main(arguments, nobody) == code
    assert told in " ".join("".join(capsys.readouterr()).split())


def test_a_depot_that_is_not_trusted_is_refused_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(_source: Source) -> t.Sequence[Manifest]:
        raise DepotError("nobody whom this host trusts signed it", reason="unsigned")

    assert main(["/d"], refuse) == 1
    assert capsys.readouterr().err == "fleet-depot: nobody whom this host trusts signed it [unsigned]\n"


def start(depot: Depot, *arguments: str) -> subprocess.Popen[str]:
    (depot.path / "release.json").write_bytes(depot.manifest.encode())
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(depot.path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    depot = Depot(tmp_path)
    depot.add_image("emo/api:1", b"layer")
    depot.add_model("tiny", "1", {"w": b"weights"})
    with start(depot, "--verbose") as process:
        assert process.stdout is not None
        greeting = process.stdout.readline()
        place = greeting.partition("http://")[2].partition(": ")[0]
        assert greeting.endswith(f"http://{place}: 1 images and 1 models\n")
        assert ask(place, "/v2/emo/api/tags/list").status == 200
        process.send_signal(number)
        _out, err = process.communicate(timeout=20)
        assert process.returncode == 0, err
        assert "/v2/emo/api/tags/list" in err
        assert "Traceback" not in err


def test_a_depot_in_which_nothing_is_for_this_host_is_served_and_told(tmp_path: Path) -> None:
    with start(Depot(tmp_path)) as process:
        assert process.stdout is not None
        assert "no release in it is trusted here" in process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=20) == 0
