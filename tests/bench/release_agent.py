# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on the measured host: one request as JSON on standard input, one answer on standard output. No dependency.

    {"do": "lay_out", "release": FILE, "folder": F, "models": FOLDER}   write a release's Compose files below F
    {"do": "module", "release": FILE, "options": {…}, "journal": bool}  run stack_release as a process of its own
    {"do": "commands", "argvs": [[…], …], "environment": {…}}           one after the other, until one fails
    {"do": "rollout", "compose": […], "services": […], "drain": {…}}    scale to two, wait until healthy, remove the old

All but the first answer {began, ended, code, output, events}: moments of the wall clock, and what the engine said of
containers meanwhile.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = str(CHECKOUT / ".venv" / "bin" / "python")
# As Ansible runs it, but for what Ansible itself costs.
MODULE = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.emorobcare.fleet.plugins.modules.stack_release import main
with patch_module_args(json.load(sys.stdin)):
    main()
"""
# The same, and says when the journal takes a step.
WATCHED = """
import sys, time
from ansible_collections.emorobcare.fleet.plugins.module_utils import _release_back as back
save = back.save_journal
def saved(places, journal):
    written = save(places, journal)
    print(f"STEP {time.time():.6f} {journal.phase}", file=sys.stderr, flush=True)
    return written
back.save_journal = saved
"""
POLL = 0.2  # seconds between two looks at a container's health
PATIENCE = 60.0  # seconds until a new container must be healthy

Answer = dict[str, t.Any]


class Events:
    """What the engine says of containers while the block lasts."""

    def __enter__(self) -> Events:
        self.found: list[Answer] = []
        kinds = ["start", "die", "health_status"]
        filters = [f"--filter=event={kind}" for kind in kinds]
        argv = [
            "docker",
            "events",
            "--filter=type=container",
            *filters,
            "--format={{json .}}",
            f"--since={time.time()}",
        ]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            labels = event["Actor"]["Attributes"]
            self.found.append(
                {
                    "at": event["timeNano"] / 1e9,
                    "action": event["Action"],
                    "service": labels.get("com.docker.compose.service", ""),
                    "container": event["Actor"]["ID"],
                }
            )


def lay_out(request: Answer) -> Answer:
    """Write what a release's document lists, and where its models are."""
    release = json.loads(Path(request["release"]).read_text())
    folder = Path(request["folder"])
    for name, content in release["files"].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(base64.b64decode(content))
    for model in release["document"]["models"]:
        link = folder / "models" / model["name"]
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(request["models"]) / model["name"] / model["version"])
    return {"compose": release["document"]["compose"], "strategy": release["document"]["rollout"].get("strategy")}


def measured(work: t.Callable[[list[str]], int]) -> Answer:
    output: list[str] = []
    with Events() as events:
        began = time.time()
        code = work(output)
        ended = time.time()
    found = [event for event in events.found if event["at"] >= began]
    return {"began": began, "ended": ended, "code": code, "output": "".join(output), "events": found}


def ask(argv: t.Sequence[str], output: list[str], environment: t.Mapping[str, str], content: str = "") -> int:
    whole = {**os.environ, **environment}
    done = subprocess.run(
        argv, env=whole, input=content, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    output.append(done.stdout)
    return done.returncode


def run_module(request: Answer) -> Answer:
    release = json.loads(Path(request["release"]).read_text()) if request.get("release") else {}
    options = dict(request["options"])
    if release:
        options |= {"release": release["document"], "id": release["id"], "files": release["files"]}
    program = (WATCHED if request.get("journal") else "") + MODULE
    environment = {"PYTHONPATH": str(CHECKOUT / "collections")}
    content = json.dumps(options)
    return measured(lambda output: ask([PYTHON, "-c", program], output, environment, content))


def run_commands(request: Answer) -> Answer:
    def work(output: list[str]) -> int:
        for argv in request["argvs"]:
            code = ask(argv, output, request["environment"])
            if code != 0:
                return code
        return 0

    return measured(work)


def run_rollout(request: Answer) -> Answer:
    def work(output: list[str]) -> int:
        for service in request["services"]:
            code = roll_out(request, service, output)
            if code != 0:
                return code
        return 0

    return measured(work)


def roll_out(request: Answer, service: str, output: list[str]) -> int:
    """Start as many containers again, wait until they are healthy, let the old ones drain, remove those."""
    compose, environment = request["compose"], request["environment"]
    old = containers(compose, service, environment)
    scale = ["up", "--detach", "--no-deps", "--no-recreate", f"--scale={service}={2 * max(len(old), 1)}", service]
    code = ask([*compose, *scale], output, environment)
    if code != 0:
        return code
    new = [one for one in containers(compose, service, environment) if one not in old]
    deadline = time.monotonic() + PATIENCE
    while not all(health(one) == "healthy" for one in new):
        if time.monotonic() > deadline:
            return ask(["docker", "rm", "--force", *new], output, {}) or 1
        time.sleep(POLL)
    drain = (request.get("drain") or {}).get(service)
    if drain:
        for one in old:
            ask(["docker", "exec", one, *drain["mark"]], output, {})
        time.sleep(drain["seconds"])
    return ask(["docker", "stop", *old], output, {}) or ask(["docker", "rm", *old], output, {})


def containers(compose: list[str], service: str, environment: t.Mapping[str, str]) -> list[str]:
    argv = [*compose, "ps", "--quiet", service]
    done = subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.split()


def health(container: str) -> str:
    argv = ["docker", "inspect", "--format={{.State.Health.Status}}", container]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


WORK: dict[str, t.Callable[[Answer], Answer]] = {
    "lay_out": lay_out,
    "module": run_module,
    "commands": run_commands,
    "rollout": run_rollout,
}


def main() -> int:
    request = json.load(sys.stdin)
    print(json.dumps(WORK[request["do"]](request)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
