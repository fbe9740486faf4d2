# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The process of a host's own Docker engine: find it, tell it to read its file again, start it anew.

With systemd it is a unit's. Without, it is started by start-stop-daemon, as role docker_host does it: with the
arguments, the settings and the limit of open files that it had.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import time
import typing as t
from dataclasses import dataclass, field

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._text import last_lines

UNIT = "docker.service"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONTEXT = "default"  # of the command line: the engine of this host
PID_FILE = "/var/run/docker.pid"  # the engine's own
OPTIONS = "/etc/default/docker"  # where Debian's script and our role look for its options
STARTED_PID = "/run/docker-host.pid"  # of the engine that role docker_host started
STARTED_LOG = "/var/log/docker-host.log"
SHOWN = "LoadState,MainPID,ExecStart,EnvironmentFiles,Environment"

_SYSTEMD = "/run/systemd/system"  # there where systemd is process 1; see sd_booted(3)
_POLL = 0.05  # seconds
NOT_FOUND, _HUNG = 127, 124  # exit codes, as shells and timeout(1) say it
_TELLING = re.compile(r"fail|unable|cannot|can't|fatal|invalid|unknown|refus|conflict", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    stdout: str = ""
    stderr: str = ""


class Run(t.Protocol):
    """Runs a command: its words, what it reads, seconds until it is given up, settings besides the usual ones."""

    def __call__(
        self,
        argv: t.Sequence[str],
        content: str = ...,
        patience: float = ...,
        environment: t.Mapping[str, str] | None = ...,
    ) -> Answer: ...


def run_command(
    argv: t.Sequence[str],
    content: str = "",
    patience: float = 60.0,
    environment: t.Mapping[str, str] | None = None,
) -> Answer:
    """Run a command with a small environment, in which `docker` talks to this host's engine.

    Neither the caller's settings count, nor what `docker context use` has left in its home. What is not there, or
    hangs, answers by an exit code as a shell would.
    """
    try:
        # AnsibleModule.run_command is not there for the program that does this without Ansible.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(argv),
            input=content.encode(),
            env={"PATH": PATH, "LC_ALL": "C", "DOCKER_CONTEXT": CONTEXT, **(environment or {})},
            cwd="/",
            capture_output=True,
            timeout=patience,
            check=False,
        )
    except OSError as exc:
        return Answer(NOT_FOUND, "", f"{argv[0]}: {exc.strerror}")
    except subprocess.TimeoutExpired:
        return Answer(_HUNG, "", f"{' '.join(argv[:3])} did not end within {patience:g} s")
    return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@dataclass(frozen=True)
class Launch:
    """How an engine without a service manager is started; `files` is its limit of open files, (soft, hard)."""

    program: str
    arguments: tuple[str, ...] = ()
    environment: t.Mapping[str, str] = field(default_factory=dict)
    files: tuple[int, int] | None = None
    log: str = STARTED_LOG
    pid_file: str = STARTED_PID

    def as_json(self) -> dict[str, t.Any]:
        return {**self.__dict__, "environment": dict(self.environment)}

    @classmethod
    def from_json(cls, data: t.Mapping[str, t.Any]) -> Launch:
        files = data["files"]
        return cls(**{**data, "arguments": tuple(data["arguments"]), "files": (files[0], files[1]) if files else None})


@dataclass(frozen=True)
class Engine:
    """An engine, running or not.

    :ivar pid: 0 where it does not run.
    :ivar began: when its process began, in ticks since boot: with the pid it tells two starts apart.
    :ivar unit: the unit that systemd starts it by; empty without one.
    :ivar arguments: those that it is started with the next time.
    :ivar origin: where those come from, for the user.
    """

    pid: int = 0
    began: str = ""
    unit: str = ""
    arguments: tuple[str, ...] = ()
    origin: str = ""

    @property
    def identity(self) -> str:
        return f"{self.pid}:{self.began}" if self.pid else ""


def read_properties(text: str) -> dict[str, list[str]]:
    """Read what `systemctl show` prints: values by name; a property may be there several times."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, _equals, value = line.partition("=")
        found.setdefault(name, []).append(value)
    return found


def unit_arguments(properties: t.Mapping[str, t.Sequence[str]], read: t.Callable[[str], str]) -> tuple[str, ...]:
    """Return the arguments that a unit starts dockerd with; variables are replaced as systemd does it.

    :param read: returns what an environment file holds.
    """
    settings: dict[str, str] = {}
    for line in properties.get("Environment", ()):
        settings.update(_settings(line))
    for file in properties.get("EnvironmentFiles", ()):
        for line in read(file.partition(" (")[0]).splitlines():
            settings.update(_settings(line))
    command = re.search(r"argv\[\]=(.*?) ; ", " ".join(properties.get("ExecStart", ())))
    words = command[1].split()[1:] if command else []
    return tuple(word for one in words for word in _expanded(one, settings))


def _settings(line: str) -> dict[str, str]:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote without its end: systemd does not take that line either
        return {}
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}


def _expanded(word: str, settings: t.Mapping[str, str]) -> list[str]:
    if re.fullmatch(r"\$\w+", word):
        return settings.get(word[1:], "").split()
    return [re.sub(r"\$\{(\w+)\}", lambda found: settings.get(found[1], ""), word)]


def find_engine(run: Run, pid_file: str = PID_FILE) -> Engine:
    """Find this host's engine, and how it is started."""
    if os.path.isdir(_SYSTEMD):
        answer = run(["systemctl", "show", UNIT, f"--property={SHOWN}"])
        properties = read_properties(answer.stdout)
        if properties.get("LoadState") == ["loaded"]:
            pid = int((properties.get("MainPID") or ["0"])[0])
            if pid or not running_pid(pid_file):
                arguments = unit_arguments(properties, _read)
                return Engine(pid, began(pid), UNIT, arguments, f"unit {UNIT} with {OPTIONS}; see systemctl cat docker")
    pid = running_pid(pid_file)
    words = command_line(pid) if pid else ("dockerd", *shlex.split(_options()))
    origin = f"its process {pid}" if pid else OPTIONS
    return Engine(pid, began(pid), "", words[1:], origin)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""


def _options() -> str:
    settings: dict[str, str] = {}
    for line in _read(OPTIONS).splitlines():
        settings.update(_settings(line))
    return settings.get("DOCKER_OPTS", "")


def running_pid(pid_file: str) -> int:
    """Return the process that a file names if it is a dockerd, else 0."""
    text = _read(pid_file).strip()
    pid = int(text) if text.isdigit() else 0
    return pid if pid and _read(f"/proc/{pid}/comm").strip() == "dockerd" else 0


def began(pid: int) -> str:
    """Return when a process began, in ticks since boot; empty where there is none."""
    words = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() if pid else []
    return words[19] if len(words) > 19 else ""


def command_line(pid: int) -> tuple[str, ...]:
    return tuple(_read(f"/proc/{pid}/cmdline").split("\0")[:-1])


def read_launch(engine: Engine) -> Launch:
    """Return how to start an engine once more that no service manager starts."""
    program = shutil.which("dockerd", path=PATH) or "/usr/sbin/dockerd"
    if not engine.pid:
        return Launch(program, engine.arguments)
    pairs = (word.partition("=") for word in _read(f"/proc/{engine.pid}/environ").split("\0") if word)
    files = resource.prlimit(engine.pid, resource.RLIMIT_NOFILE)
    log = os.path.realpath(f"/proc/{engine.pid}/fd/1")
    ours = running_pid(STARTED_PID) == engine.pid
    return Launch(
        program,
        engine.arguments,
        {name: value for name, _equals, value in pairs},
        files,
        log if os.path.isfile(log) else STARTED_LOG,
        # The role stops what its own file names, and nothing else.
        STARTED_PID if ours else "/run/fleet-docker-engine.pid",
    )


def start_argv(launch: Launch) -> list[str]:
    """Return the command that starts an engine and leaves it behind."""
    return [
        *("start-stop-daemon", "--start", "--background", "--make-pidfile", "--pidfile", launch.pid_file),
        *("--output", launch.log, "--exec", launch.program, "--", *launch.arguments),
    ]


def stop_argv(pid: int) -> list[str]:
    return ["start-stop-daemon", "--stop", "--pid", str(pid), "--name", "dockerd", "--retry", "TERM/30/KILL/5"]


def answers(run: Run) -> bool:
    return run(["docker", "version", "--format", "{{.Server.Version}}"], patience=10).code == 0


def start_anew(run: Run, engine: Engine, launch: Launch | None, timeout: float) -> None:
    """Stop an engine if it runs, start it, and wait until it answers; `timeout` in seconds.

    :raises HostError: it does not start, or does not answer in time (`restart_failed`); with the end of its log.
    """
    since = time.time()
    deadline = time.monotonic() + timeout
    if launch is None:
        # Tries that failed count, and the unit would be kept from starting (StartLimitBurst).
        run(["systemctl", "reset-failed", engine.unit])
        done = run(["systemctl", "restart", engine.unit], patience=timeout)
    else:
        done = _start_directly(run, engine, launch)
    problem = done.stderr if done.code else ""
    while not problem and not answers(run):
        if launch is not None and not running_pid(launch.pid_file):
            problem = "its process has ended"
        if time.monotonic() > deadline:
            problem = f"it gave no answer within {timeout:g} s"
        time.sleep(_POLL)
    if problem:
        said = " / ".join(last_words(run, engine, launch, since) or last_lines(problem, 2))
        raise HostError(f"the engine did not start: {said}", reason="restart_failed")


def _start_directly(run: Run, engine: Engine, launch: Launch) -> Answer:
    if engine.pid:
        stopped = run(stop_argv(engine.pid), patience=60)
        if stopped.code:
            return stopped
    if launch.files:
        with contextlib.suppress(ValueError, OSError):  # we may not raise it: then ours has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, launch.files)
    return run(start_argv(launch), patience=30, environment=launch.environment)


def reload(run: Run, engine: Engine, timeout: float) -> None:
    """Have an engine read its file again, and wait until it says that it has; `timeout` in seconds.

    :raises HostError: it does not say so (`reload_failed`): the file has something that it does not take.
    """
    since = time.time()
    os.kill(engine.pid, signal.SIGHUP)
    deadline = time.monotonic() + timeout
    while not reloaded(run, since):
        if time.monotonic() > deadline:
            said = last_words(run, engine, None if engine.unit else read_launch(engine), since)
            raise HostError(
                f"the engine has not taken its file within {timeout:g} s of being told to read it again. Its log ends: "
                f"{' / '.join(said) or 'empty'}",
                reason="reload_failed",
            )
        time.sleep(_POLL)


def reloaded(run: Run, since: float) -> bool:
    """Tell whether an engine has read its file since a moment, in seconds since 1970."""
    filters = ["--filter", "type=daemon", "--filter", "event=reload", "--format", "{{json .}}"]
    period = ["--since", f"{since:.6f}", "--until", f"{time.time():.6f}"]
    answer = run(["docker", "events", *period, *filters], patience=10)
    return answer.code == 0 and any(_is_event(line) for line in answer.stdout.splitlines())


def _is_event(line: str) -> bool:
    try:
        return bool(json.loads(line).get("Action") == "reload")
    except ValueError:
        return False


def last_words(run: Run, engine: Engine, launch: Launch | None, since: float) -> tuple[str, ...]:
    """Return what an engine's log says last since a moment: of it what tells of a failure, where anything does."""
    if launch is None:
        options = ["--since", f"@{since - 1:.0f}", "--lines", "60", "--no-pager", "--output", "cat"]
        # What the unit's own processes said: not what systemd says of them.
        log = run(["journalctl", f"_SYSTEMD_UNIT={engine.unit or UNIT}", *options]).stdout
    else:
        log = run(["tail", "--lines", "20", launch.log]).stdout
    telling = "\n".join(line for line in log.splitlines() if _TELLING.search(line))
    return last_lines(telling or log, 3)
