# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The probe is the same file in both services: what holds for one holds for the other."""

from __future__ import annotations

import http.server
import socket
import sys
import threading
import typing as t
from pathlib import Path

import emorobcare_asr.probe
import pytest
from emorobcare_api import probe


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = 200 if self.path == "/ready" else 503
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"what is missing")

    def log_message(self, *_args: t.Any, **_kwargs: t.Any) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> t.Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "code"), [("/ready", 0), ("/broken", 1)])
def test_only_200_is_healthy_and_the_answer_is_shown(
    port: int, path: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["probe", str(port), path])
    assert probe.main() == code
    assert "what is missing" in capsys.readouterr().out


def test_nobody_listening_is_unhealthy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but not listening
        port = bound.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["probe", str(port), "/ready"])
        assert probe.main() == 1
    assert str(port) in capsys.readouterr().out


def test_both_services_have_the_same_probe() -> None:
    ours, theirs = Path(probe.__file__), Path(emorobcare_asr.probe.__file__)
    assert ours.read_bytes() == theirs.read_bytes()
