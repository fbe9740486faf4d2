# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""health_gate against real containers on a real engine: what passes, what must not, and how soon it is noticed.

The containers are of one small image with a shell, made of a Debian package. All that is made bears the label
org.emorobcare.fleet.test=<project>, and is removed again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import tracemalloc
import typing as t
from dataclasses import dataclass, field

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._containers import look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import DockerCli, Stream, default_cli
from ansible_collections.emorobcare.fleet.plugins.module_utils._gate_log import LogReader
from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
from ansible_collections.emorobcare.fleet.plugins.modules import health_gate, image_base
from ansible_collections.emorobcare.fleet.tests.faults._releases import Result, docker, run_module

RUN = f"fleet-test-{secrets.token_hex(4)}"
LABEL = "org.emorobcare.fleet.test"
PATIENCE = 60.0  # seconds until a test gives up waiting for something to happen
LONG = 600.0  # seconds; a gate that waits so long hangs the test

APPLETS = ("cat", "chmod", "echo", "head", "httpd", "mkdir", "nc", "rm", "sh", "sleep", "tail", "test", "touch", "yes")
SHELL = {
    "suite": "trixie",
    "packages": ["busybox-static"],
    "remove": ["/usr/share", "/etc"],
    "directories": [{"path": "/tmp", "mode": "1777"}],
    "links": {f"/bin/{name}": "/usr/bin/busybox" for name in APPLETS},
    "environment": {"PATH": "/bin:/usr/bin"},
}

IDLE = "while true; do sleep 1; done"
SEEN = {"exec": {"command": ["touch", "/seen"]}}
"""A check by which a container sees that the gate is looking."""

WAIT_FOR_GATE = "until test -e /seen; do sleep 0.1; done"

Check = dict[str, t.Any]


@pytest.fixture(name="image", scope="module")
def image_fixture() -> t.Iterator[str]:
    digest = hashlib.sha256(json.dumps(SHELL, sort_keys=True).encode()).hexdigest()
    reference = f"{RUN}/base-shell:{digest[:16]}"
    base = {"name": "base-shell", "reference": reference, "input": digest, "recipe": SHELL}
    result = run_module(image_base.main, {"bases": [base]})
    assert result.get("changed"), result
    yield reference
    docker("image", "rm", reference)


@dataclass
class Project:
    """Containers as Compose would label them."""

    image: str
    name: str = field(default_factory=lambda: f"fleet-test-{secrets.token_hex(4)}")

    def start(self, service: str, script: str, *options: str) -> str:
        """Run a script as a service; return its container's id."""
        labels = {
            LABEL: self.name,
            "com.docker.compose.project": self.name,
            "com.docker.compose.service": service,
            "com.docker.compose.oneoff": "False",
        }
        marked = [word for name, value in labels.items() for word in ("--label", f"{name}={value}")]
        command = ["sh", "-c", script]
        name = f"{self.name}-{service}-1"
        return docker("run", "--detach", "--stop-timeout=0", "--name", name, *marked, *options, self.image, *command)

    def gate(self, services: dict[str, list[Check]], lifecycle: str = "stateless", **options: t.Any) -> Result:
        given = {name: {"lifecycle": lifecycle, "gate": checks} for name, checks in services.items()}
        defaults = {"projects": [self.name], "timeout": 20, "success_threshold": 2, "interval": 0.1}
        return run_module(health_gate.main, {**defaults, "services": given, **options})

    def passes(self, *checks: Check, **options: t.Any) -> Result:
        result = self.gate({"web": list(checks)}, **options)
        assert not result.get("failed"), result["msg"]
        assert not result["changed"]
        return result

    def fails(self, *checks: Check, reason: str = "gate_failed", **options: t.Any) -> Result:
        result = self.gate({"web": list(checks)}, **options)
        assert result.get("failed"), result
        assert result["reason"] == reason, result["msg"]
        return result

    def never_passes(self, *checks: Check, **options: t.Any) -> Result:
        return self.fails(*checks, reason="gate_timeout", **{"timeout": 2, **options})

    def ids(self) -> list[str]:
        return docker("ps", "--quiet", "--all", "--no-trunc", "--filter", f"label={LABEL}={self.name}").split()


@pytest.fixture(name="project")
def project_fixture(image: str) -> t.Iterator[Project]:
    project = Project(image)
    try:
        yield project
    finally:
        if project.ids():
            docker("rm", "--force", "--volumes", *project.ids())
        assert not project.ids()


def wait_for(condition: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def server(**scripts: str) -> str:
    """A web server on port 8000 whose pages are made by these scripts, which print what comes after the headers."""
    lines = ["mkdir -p /www/cgi-bin"]
    for name, script in scripts.items():
        page = f"/www/cgi-bin/{name}"
        lines += [f"cat > {page} <<'END'", "#!/bin/sh", script, "END", f"chmod +x {page}"]
    return "\n".join([*lines, "echo serving", "exec httpd -f -p 8000 -h /www"])


def answer(text: str, status: str = "200 OK") -> str:
    return f"echo 'Status: {status}'; echo 'Content-Type: application/json'; echo; echo '{text}'"


def http(page: str, **more: t.Any) -> Check:
    return {"http": {"port": 8000, "path": f"/cgi-bin/{page}", **more}}


def row(result: Result, check: str) -> dict[str, t.Any]:
    return next(one for one in result["checks"] if one["check"] == check)


def test_a_service_that_does_everything_right_passes(project: Project) -> None:
    project.start(
        "web", server(ok=answer('{"ok": true}')), "--health-cmd", "test -e /www", "--health-interval", "200ms"
    )
    result = project.passes(
        {"container": {"health": "healthy", "restarts": 0}},
        http("ok", expect="ok", max_latency=5),
        {"tcp": {"port": 8000, "max_latency": 5}},
        {"exec": {"command": ["echo", "it's", "$HOME"], "expect_output": "^it's [$]HOME$"}},
        {"exec": {"command": ["sh", "-c", "exit 3"], "exit_code": 3}},
        {"log": {"pattern": "^serving$"}},
        {"log": {"pattern": "panic", "absent": True}},
    )
    assert [(one["check"], one["ok"]) for one in result["checks"]] == [
        ("container", True),
        ("http GET :8000/cgi-bin/ok", True),
        ("tcp :8000", True),
        ("exec echo 'it'\"'\"'s' '$HOME'", True),
        ("exec sh -c 'exit 3'", True),
        ("log with ^serving$", True),
        ("log without panic", True),
    ]
    request = row(result, "http GET :8000/cgi-bin/ok")
    assert request["attempts"] >= 2
    assert 0 < request["median"] <= request["slowest"]
    assert result["ready_seconds"]["web"] >= 0


def test_a_container_that_never_becomes_healthy_does_not_pass(project: Project) -> None:
    project.start(
        "web",
        IDLE,
        *("--health-cmd", "echo no database; false", "--health-interval", "200ms", "--health-retries", "1"),
    )
    result = project.never_passes()
    assert result["answer"] == "running but unhealthy; its health check said: no database"
    project.passes({"container": {"health": "any"}})


def test_a_health_check_that_is_missing_is_told_at_once(project: Project) -> None:
    project.start("web", IDLE)
    assert "it has no health check" in project.fails({"container": {"health": "healthy"}}, timeout=LONG)["answer"]


def test_a_death_wakes_the_gate_that_would_wait_for_long(project: Project) -> None:
    project.start("web", f"{WAIT_FOR_GATE}; echo no disk left; exit 5")
    result = project.fails(SEEN, interval=LONG, timeout=LONG)
    assert result["answer"] == "ended with exit code 5 and is not restarted (restart policy: no)"
    assert result["log"] == ["no disk left"]
    assert result["msg"].endswith("Last lines of its log:\n  no disk left")
    assert result["rounds"] == 2


def test_becoming_healthy_wakes_the_gate_that_would_wait_for_long(project: Project) -> None:
    health = ("--health-cmd", "test -e /up", "--health-interval", "200ms", "--health-retries", "1000")
    project.start("web", f"sleep 1; touch /up; {IDLE}", *health)
    result = project.passes(success_threshold=1, interval=LONG, timeout=LONG)
    assert result["rounds"] == 2


class Deaf(DockerCli):
    """Cannot hear what happens: there is no stream of events, or it ends at once."""

    def __init__(self, cli: t.Literal["none", "ends"]) -> None:
        super().__init__({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self._how = cli

    def stream(self, argv: t.Sequence[str]) -> Stream:
        if argv[1] != "events":
            return super().stream(argv)
        if self._how == "none":
            raise ReleaseError("no", reason="docker_unavailable")
        return super().stream(["true"])


@pytest.mark.parametrize("how", ["none", "ends"])
def test_without_events_the_gate_looks_by_the_clock(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: t.Literal["none", "ends"]
) -> None:
    monkeypatch.setattr(health_gate, "default_cli", lambda: Deaf(how))
    project.start("web", f"{WAIT_FOR_GATE}; exit 5")
    result = project.fails(SEEN, success_threshold=1000)
    assert "ended with exit code 5" in result["answer"]


def test_a_service_that_comes_and_goes_does_not_reach_the_threshold(project: Project) -> None:
    flapping = (
        "if test -e /odd; then rm /odd; " + answer("no", "500 No") + "; else touch /odd; " + answer("yes") + "; fi"
    )
    project.start("web", server(flaps=flapping))
    result = project.never_passes(http("flaps"), success_threshold=3)
    request = row(result, "http GET :8000/cgi-bin/flaps")
    assert 0 < request["failures"] < request["attempts"]
    assert result["answer"] == "status 500, not 200: no"


def test_a_wrong_answer_does_not_pass_and_is_shown(project: Project) -> None:
    project.start("web", server(wrong=answer('{"ok": false}')))
    result = project.never_passes(http("wrong", expect="ok"))
    assert result["check"] == "http GET :8000/cgi-bin/wrong"
    assert result["answer"] == "status 200, expect 'ok' gave false, not true: {\"ok\": false}"
    assert result["log"] == ["serving"]


def test_an_answer_that_comes_late_does_not_pass(project: Project) -> None:
    project.start("web", server(slow=f"sleep 0.5; {answer('here')}"))
    result = project.never_passes(http("slow", max_latency=0.1))
    assert result["answer"].startswith("took 0.")
    assert result["answer"].endswith("allowed are 0.1 s: here")
    assert row(result, "http GET :8000/cgi-bin/slow")["slowest"] > 0.1


def test_a_port_that_is_closed_is_told_with_its_address(project: Project) -> None:
    project.start("web", f"nc -ll -p 9000 -e cat & {IDLE}")
    project.passes({"tcp": {"port": 9000}})
    result = project.never_passes({"tcp": {"port": 9000}}, {"tcp": {"port": 9001}})
    assert row(result, "tcp :9000")["ok"]
    assert "refused the connection: nothing listens there" in result["answer"]
    assert result["check"] == "tcp :9001"


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"command": ["sh", "-c", "echo no db >&2; exit 2"]}, "exit code 2, not 0: no db"),
        (
            {"command": ["echo", "3 rows"], "expect_output": "^12"},
            "exit code 0, but nothing printed matches '^12': 3 rows",
        ),
        ({"command": ["sleep", "0.3"], "max_latency": 0.1}, "allowed are 0.1 s"),
        ({"command": ["nothing-like-this"], "exit_code": 127}, "executable file not found in $PATH"),
    ],
)
def test_a_command_that_fails_is_shown(project: Project, check: Check, said: str) -> None:
    project.start("web", IDLE)
    result = project.never_passes({"exec": check})
    assert said in result["answer"]
    assert result["check"].startswith("exec ")


def test_a_command_that_hangs_is_killed_in_its_container_with_what_it_started(project: Project) -> None:
    container = project.start("web", IDLE)
    hanging = ["sh", "-c", "sleep 12345 & echo begun; sleep 12345"]
    result = project.never_passes({"exec": {"command": hanging, "timeout": 1}}, timeout=3)
    assert result["answer"] == "did not end within 1 s and was killed; it said: begun"
    wait_for(lambda: "12345" not in docker("top", container))


def test_a_command_is_killed_when_the_gate_is_over(project: Project) -> None:
    container = project.start("web", IDLE)
    result = project.never_passes({"exec": {"command": ["sleep", "12345"]}})
    assert "was killed" in result["answer"]
    wait_for(lambda: "12345" not in docker("top", container))


def test_a_forbidden_line_fails_the_gate_at_once_wherever_it_is_printed(project: Project) -> None:
    project.start("web", f"{WAIT_FOR_GATE}; echo 'panic: no disk' >&2; {IDLE}")
    result = project.fails(
        SEEN, {"log": {"pattern": "^panic", "absent": True}}, success_threshold=100_000, timeout=LONG
    )
    assert result["check"] == "log without ^panic"
    assert result["answer"] == "a line that must not appear: panic: no disk"
    assert result["log"] == ["panic: no disk"]


def test_a_line_that_is_not_there_yet_is_waited_for(project: Project) -> None:
    project.start("web", f"echo starting; {WAIT_FOR_GATE}; echo model loaded in 3 s; {IDLE}")
    result = project.passes(SEEN, {"log": {"pattern": r"loaded in \d+ s"}}, timeout=LONG)
    assert row(result, r"log with loaded in \d+ s")["answer"] == "found: model loaded in 3 s"
    missing = project.never_passes({"log": {"pattern": "unloaded"}})
    assert missing["answer"] == "no line matches; the last one is: model loaded in 3 s"


def test_only_lines_of_this_life_count_its_very_first_one_included(project: Project) -> None:
    script = f"if test -e /once; then echo second life; else touch /once; echo first life; fi; {IDLE}"
    container = project.start("web", script)
    project.passes({"log": {"pattern": "^first life"}})
    docker("restart", container)
    project.passes({"log": {"pattern": "^second life"}}, {"log": {"pattern": "^first life", "absent": True}})


def test_a_log_that_cannot_be_read_is_told_at_once(project: Project) -> None:
    project.start("web", IDLE, "--log-driver", "none")
    result = project.fails({"log": {"pattern": "x", "absent": True}}, timeout=LONG)
    assert "does not support reading" in result["answer"]


def test_a_large_log_needs_little_memory(project: Project) -> None:
    size = 20_000_000
    container = project.start(
        "web", f"yes {'x' * 70} | head -c {size // 2}; yes | head -c {size // 2 // 100}; echo; echo end"
    )
    wait_for(lambda: docker("container", "inspect", "--format", "{{.State.Status}}", container) == "exited")
    (seen,) = look(default_cli(), project.name)
    tracemalloc.start()
    try:
        view = LogReader(default_cli())(seen, ["^end$"], PATIENCE)["^end$"]
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert view.found == "end"
    assert peak < 2_000_000


def test_restarts_that_climb_fail_the_gate_with_the_last_exit_code(project: Project) -> None:
    project.start("web", "exit 3", "--restart", "always")
    result = project.fails(timeout=LONG, max_restarts=2)
    assert result["answer"].startswith("restarted ")
    assert result["answer"].endswith(" times, the last time after exit code 3")


def test_a_service_may_bear_more_restarts_than_the_others(project: Project) -> None:
    script = "test -e /1 && test -e /2 && while true; do sleep 1; done; test -e /1 && touch /2; touch /1; exit 3"
    project.start("web", script, "--restart", "always")
    project.passes({"container": {"restarts": 5}}, max_restarts=0, timeout=LONG)


@pytest.mark.parametrize("policy", ["no", "always"])
def test_a_container_that_ran_out_of_memory_is_named_with_its_limit(project: Project, policy: str) -> None:
    memory = ("--memory", "64000000", "--memory-swap", "64000000", "--restart", policy)
    project.start("web", f"{WAIT_FOR_GATE}; exec tail /dev/zero", *memory)
    result = project.fails(SEEN, timeout=LONG, max_restarts=1, success_threshold=100_000)
    assert "exit code 137 (killed: out of memory, limit 64 MB)" in result["answer"]


def test_a_container_that_somebody_killed_did_not_run_out_of_memory(project: Project) -> None:
    container = project.start("web", IDLE, "--memory", "64000000")
    docker("kill", container)
    result = project.fails(timeout=LONG)
    assert result["answer"] == "ended with exit code 137 and is not restarted (restart policy: no)"


def test_a_job_passes_by_its_exit_code_and_by_what_it_said(project: Project) -> None:
    project.start("web", "echo 12 rows; exit 3")
    project.passes({"container": {"exit_code": 3}}, {"log": {"pattern": "^12 rows"}}, lifecycle="job")
    result = project.fails({"log": {"pattern": "^12 rows"}}, lifecycle="job", timeout=LONG)
    assert "ended with exit code 3" in result["answer"]
    exit_code = {"container": {"exit_code": 3}}
    result = project.fails(exit_code, {"log": {"pattern": "^13 rows"}}, lifecycle="job", timeout=LONG)
    assert result["answer"] == "no line matches; the last one is: 12 rows"


def test_containers_of_several_projects_are_one_gate_which_a_death_in_any_wakes(project: Project) -> None:
    other = Project(project.image)
    try:
        project.start("web", IDLE)
        other.start("db", f"{WAIT_FOR_GATE}; exit 5")
        names = [project.name, other.name]
        lone = project.gate({"web": [], "db": []}, timeout=1)
        assert lone["answer"] == "there is no container of this service"
        result = project.gate({"web": [], "db": [SEEN]}, projects=names, interval=LONG, timeout=LONG)
        assert (result["service"], result["rounds"]) == ("db", 2)
    finally:
        docker("rm", "--force", *other.ids())
