# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bases that the role ships do their work as stacks run them: no rights, a read-only root, no network."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.modules import image_base
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._bases import load_base
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._dockerfile import Arg

RECIPES = Path(__file__).resolve().parents[2] / "roles" / "image_build" / "files" / "bases"
HARDENED = ["--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
ROOM = ["--tmpfs=/tmp:mode=1777", "--tmpfs=/data:uid=10001,mode=0700", "--user=10001:10001"]

POSTGRES = """set -e
initdb -D /data/pg --username=postgres --auth=trust --locale=C.UTF-8 > /dev/null
pg_ctl -D /data/pg -o '-k /tmp -c listen_addresses=' -w -l /tmp/log start > /dev/null
psql -h /tmp -U postgres -Atqc 'CREATE EXTENSION pg_trgm' -c "SELECT similarity('word', 'words')"
psql -h /tmp -U postgres -Atqc "SELECT timestamptz '2026-07-01 12:00Z' AT TIME ZONE 'Europe/Madrid'"
"""
MARIADB = """set -e
paths='--no-defaults --datadir=/data --tmpdir=/tmp --lc-messages-dir=/usr/share/mariadb --skip-networking'
{ printf 'CREATE DATABASE mysql;\\nUSE mysql;\\nSET @auth_root_socket=NULL;\\n'
  cd /usr/share/mariadb; cat mariadb_system_tables.sql mariadb_performance_tables.sql mariadb_system_tables_data.sql
} | mariadbd $paths --bootstrap 2> /tmp/log
exec mariadbd $paths --socket=/tmp/socket
"""
HAPROXY = (
    "global\ndefaults\n timeout client 1s\n timeout server 1s\n timeout connect 1s\nfrontend f\n bind 127.0.0.1:8080\n"
)
SPEAK = """import io, subprocess, wave
said = subprocess.run(["espeak-ng", "--stdout", "--stdin"], input=b"Good evening", capture_output=True, check=True)
wav = wave.open(io.BytesIO(said.stdout)); print(wav.getframerate(), len(said.stdout) > 20000)
"""
NODE = """const month = new Intl.DateTimeFormat("de", {month: "long", timeZone: "UTC"}).format(new Date(0));
console.log(month, typeof fetch)"""
PYTHON = "import ssl, sqlite3, zoneinfo; print(ssl.create_default_context().cert_store_stats()['x509_ca'] > 100)"


class Work(t.NamedTuple):
    """What is run, what it must say, its input; of a server, what is asked of it while it runs."""

    argv: list[str]
    said: str
    fed: str = ""
    asked: tuple[str, ...] = ()


WORK = {
    "base-espeak": Work(["python3", "-c", SPEAK], "22050 True\n"),
    "base-haproxy": Work(["haproxy", "-V", "-c", "-f", "/dev/stdin"], "Configuration file is valid\n", HAPROXY),
    "base-mariadb": Work(
        ["sh", "-c", MARIADB],
        "9\n",
        asked=("mariadb", "--socket=/tmp/socket", "-uroot", "-Ne", "SELECT LENGTH(USER()) - 5"),
    ),
    "base-minimal": Work(["/lib64/ld-linux-x86-64.so.2", "--version"], "stable release"),
    "base-nginx": Work(["nginx", "-e", "stderr", "-t"], "test is successful\n"),
    "base-node": Work(["node", "-e", NODE], "Januar function\n"),
    "base-postgres": Work(["sh", "-c", POSTGRES], "0.5714286\n2026-07-01 14:00:00\n"),
    "base-prometheus": Work(
        ["prometheus", "--config.file=/dev/null", "--storage.tsdb.path=/data"],
        "Ready",
        asked=("wget", "-qO-", "http://127.0.0.1:9090/-/ready"),
    ),
    "base-python": Work(["python3", "-c", PYTHON], "True\n"),
    "base-python-build": Work(["python3", "-m", "venv", "/tmp/venv"], ""),
    "base-redis": Work(["redis-server", "--dir", "/data"], "3\n", asked=("redis-cli", "APPEND", "key", "abc")),
}


def make(name: str) -> str:
    """Make a base of the role, unless the engine has it; return its reference."""
    base = load_base(Arg(name.upper().replace("-", "_"), None, 1), "a test", RECIPES).as_result()
    with (
        patch_module_args({"bases": [base]}),
        contextlib.redirect_stdout(io.StringIO()) as output,
        pytest.raises(SystemExit),
    ):
        image_base.main()
    result = json.loads(output.getvalue())
    assert not result.get("failed"), result
    return t.cast("str", base["reference"])


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.yml")))
def test_a_base_does_its_work_without_rights(name: str) -> None:
    work = WORK[name]
    said = ask_server(make(name), work) if work.asked else run(make(name), work)
    assert work.said in said


def run(image: str, work: Work) -> str:
    argv = ["docker", "run", "--interactive", *HARDENED, *ROOM, image, *work.argv]
    done = subprocess.run(argv, input=work.fed, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def ask_server(image: str, work: Work) -> str:
    """Ask a server until it answers, or has ended, or a minute has passed."""
    argv = ["docker", "run", "--detach", *HARDENED, *ROOM, image, *work.argv]
    container = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        deadline = time.monotonic() + 60
        while True:
            asked = subprocess.run(
                ["docker", "exec", container, *work.asked], capture_output=True, text=True, check=False
            )
            if asked.returncode == 0:
                return asked.stdout
            assert time.monotonic() < deadline, asked.stderr
            assert "No such container" not in asked.stderr, f"{work.argv[0]} ended"
    finally:
        subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)


# The files of a container, as a tar archive would list them, without what the engine puts over them.
@pytest.mark.parametrize("name", sorted(set(WORK) - {"base-python-build"}))
def test_a_base_holds_nothing_that_raises_rights_and_no_package_manager(name: str) -> None:
    container = subprocess.run(["docker", "create", make(name), "none"], capture_output=True, text=True, check=True)
    try:
        listing = f"docker export {container.stdout.strip()} | tar --list --verbose"
        lines = subprocess.run(listing, shell=True, capture_output=True, text=True, check=True).stdout.splitlines()
    finally:
        subprocess.run(["docker", "rm", container.stdout.strip()], capture_output=True, check=True)
    files = {line.split(maxsplit=5)[5].partition(" -> ")[0]: line.split()[0] for line in lines}
    assert [name for name, mode in files.items() if "s" in mode.lower()] == []
    assert [name for name, mode in files.items() if mode[0] in "-d" and mode[8] == "w" and mode[9] != "t"] == []
    programs = {Path(name).name for name, mode in files.items() if "x" in mode and mode[0] == "-"}
    assert programs & {"apt", "apt-get", "dpkg", "pip", "pip3", "npm", "gcc", "cc", "perl"} == set()
    assert any(name.startswith("var/lib/dpkg/status.d/") for name in files)
