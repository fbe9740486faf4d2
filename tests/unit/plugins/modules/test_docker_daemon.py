# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module over real files and the real transaction; the engine alone is one in memory."""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.emorobcare.fleet.plugins.doc_fragments._probes import ModuleDocFragment
from ansible_collections.emorobcare.fleet.plugins.module_utils import _docker_daemon_look, _docker_daemon_run
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_engine import Answer, Engine
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_restart import Order, Report
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_change_run import transact
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.modules import docker_daemon

Result = dict[str, t.Any]
KEYS = ("type", "elements", "default", "choices")


@dataclass
class Fake:
    """An engine of a version: it has read its file at its start, and takes part of it by a reload."""

    file: Path
    version: str = "26.1.5+dfsg1"
    containers: int = 1
    has: Result = field(default_factory=dict)
    start: int = 1
    acts: list[str] = field(default_factory=list)
    bad: str = "max-fle"
    silent: bool = False
    deaf: bool = False
    lame: bool = False
    command_line: bool = True
    flags: tuple[str, ...] = ()
    images: int = 1
    takes: tuple[str, ...] = ("live-restore", "debug")
    pid: int = 7

    def __call__(
        self,
        argv: t.Sequence[str],
        content: str = "",
        patience: float = 0,
        environment: t.Mapping[str, str] | None = None,
    ) -> Answer:
        words = " ".join(argv)
        if argv[0] == "docker" and not self.command_line:
            return Answer(127, "", "docker: No such file or directory")
        if words == "dockerd --version":
            return Answer(0, f"Docker version {self.version}, build 0")
        if words.startswith("dockerd --validate"):
            return self._validated(argv[2].partition("=")[2])
        if words.startswith("docker info"):
            if argv[-1] == "{{.LiveRestoreEnabled}}":
                return Answer(0, str(self._info()["LiveRestoreEnabled"]).lower())
            return Answer(1, "", "Cannot connect") if self.silent else Answer(0, json.dumps(self._info()))
        if words.startswith("docker container ls"):
            return Answer(0, "\n".join(str(number) for number in range(self.containers)))
        if words.startswith("docker container inspect"):
            shown = {"Name": "/web", "State": {"Running": True}, "HostConfig": {"LogConfig": {"Type": "json-file"}}}
            return Answer(0, json.dumps([shown] * self.containers))
        if words.startswith("docker network"):
            return Answer(0, "[]")
        if words.startswith("ss "):
            return Answer(0, "0 0 10.1.2.3:22 198.51.100.7:50000")
        if words.startswith("ip -json address"):
            return Answer(0, json.dumps([{"ifname": "eth0", "addr_info": [{"local": "10.1.2.3", "prefixlen": 24}]}]))
        return Answer(0, "")

    def engine(self, _run: t.Any, _pid_file: str) -> Engine:
        return Engine(self.pid, str(self.start), "docker.service", ("-H", "fd://", *self.flags), "unit docker.service")

    def carry_out(self, action: str, order: Order, run: t.Any, *, way_back: bool = False) -> Report | None:
        self.acts.append(action)
        text = self.file.read_text() if self.file.exists() else "{}"
        document = json.loads(text)
        if self.deaf or "bogus" in text:
            self.deaf = False
            raise HostError("the engine has not taken its file", reason="reload_failed")
        if action == "reload":
            self.has.update({key: document[key] for key in self.takes if key in document})
            return None
        if way_back and self.lame:
            raise HostError("what ran before does not run again: web", reason="restart_failed", vain=True)
        if self.bad in text:
            raise HostError("the engine did not start: unknown log opt", reason="restart_failed")
        self.start += 1
        live, self.has = bool(self.has.get("live-restore")), document
        return Report(0.5, live, True, "", 3, 0)

    def _info(self) -> Result:
        return {
            "ServerVersion": self.version,
            "LiveRestoreEnabled": bool(self.has.get("live-restore")) or "--live-restore" in self.flags,
            "Images": self.images,
        }

    def _validated(self, path: str) -> Answer:
        document = json.loads(Path(path).read_text())
        if "bogus" in document:
            said = f"unable to configure the Docker daemon with file {path}: the following directives don't match any "
            return Answer(1, "", f"{said}configuration option: bogus\n")
        if document.get("mtu") == -1:
            return Answer(1, "", f"unable to configure the Docker daemon with file {path}: invalid mtu\n")
        return Answer(0, "configuration OK")


Run = t.Callable[..., Result]


@pytest.fixture(name="fake")
def fake_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    fake = Fake(tmp_path / "daemon.json")

    def quiet(*words: t.Any, **more: t.Any) -> t.Any:
        return transact(*words, **{**more, "settle": 0}, guard=lambda places: None)

    def forgetful(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        return lambda *words: function(*words, str(tmp_path / "run"))

    monkeypatch.setattr(_docker_daemon_look, "find_engine", fake.engine)
    monkeypatch.setattr(_docker_daemon_run, "find_engine", fake.engine)
    monkeypatch.setattr(_docker_daemon_run, "carry_out", fake.carry_out)
    monkeypatch.setattr(_docker_daemon_run, "transact", quiet)
    for name in ("read_pending", "write_pending"):
        monkeypatch.setattr(_docker_daemon_run, name, forgetful(getattr(_docker_daemon_look, name)))
    monkeypatch.setattr(_docker_daemon_run.run, "__kwdefaults__", {"runner": fake})
    return fake


@pytest.fixture(name="run")
def run_fixture(fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module as Ansible would, for the fake engine's file; return its JSON."""

    def run(**args: t.Any) -> Result:
        mine = {"owner": str(os.getuid()), "group": str(os.getgid())}
        places = {"path": str(fake.file), "folder": str(tmp_path / "host"), **mine}
        with patch_module_args({**places, "probe": False, **args}), pytest.raises(SystemExit):
            docker_daemon.main()
        return t.cast(Result, json.loads(capsys.readouterr().out))

    return run


def content(fake: Fake) -> t.Any:
    return json.loads(fake.file.read_text())


ON = {"live-restore": True}


def test_live_restore_is_reloaded_before_the_engine_is_restarted(run: Run, fake: Fake) -> None:
    result = run(options={**ON, "init": True}, restart=True)
    assert fake.acts == ["reload", "restart"]
    assert (result["changed"], result["action"], result["needs_restart"]) == (True, "restart", False)
    assert result["restarted"]["live_restore"]
    assert (content(fake), fake.has) == ({**ON, "init": True}, {**ON, "init": True})
    assert not run(options={**ON, "init": True}, restart=True)["changed"]
    assert len(fake.acts) == 2


def test_a_file_that_the_engine_does_not_take_is_never_what_it_is_told_to_read(run: Run, fake: Fake) -> None:
    fake.file.write_text('{"bogus": true, "debug": true}')
    result = run(remove=["bogus"], options={**ON, "init": True}, restart=True)
    assert (result["action"], fake.acts) == ("restart", ["reload", "restart"])
    assert content(fake) == fake.has == {"debug": True, **ON, "init": True}


def test_a_reload_that_fails_is_taken_back_without_a_restart(run: Run, fake: Fake) -> None:
    fake.deaf = True
    result = run(options={**ON, "init": True}, restart=True)
    assert (result["reason"], fake.acts) == ("reload_failed", ["reload", "reload"])


def test_live_restore_that_is_in_the_file_alone_is_told_to_the_engine_first(run: Run, fake: Fake) -> None:
    fake.file.write_text('{\n  "live-restore": true\n}\n')
    result = run(options={**ON, "init": True}, restart=True, mode=f"{fake.file.stat().st_mode & 0o777:o}")
    assert (fake.acts, result["restarted"]["live_restore"]) == (["reload", "restart"], True)


def test_an_engine_that_would_stop_what_is_to_run_on_is_not_restarted(run: Run, fake: Fake) -> None:
    fake.takes = ()
    result = run(options={**ON, "init": True}, restart=True)
    assert (result["reason"], fake.acts, content(fake)) == ("reload_failed", ["reload"], ON)
    assert "would stop 1 containers" in result["msg"]


def test_an_engine_with_live_restore_as_a_flag_is_not_told_again(run: Run, fake: Fake) -> None:
    fake.flags = ("--live-restore",)
    result = run(options={"init": True}, restart=True)
    assert (result["action"], fake.acts, content(fake)) == ("restart", ["restart"], {"init": True})
    assert "run on meanwhile: 1" in result["msg"]


def test_without_containers_one_restart_does_it(run: Run, fake: Fake) -> None:
    fake.containers = 0
    assert "no container runs" in run(options={**ON, "init": True}, restart=True)["msg"]
    assert fake.acts == ["restart"]


def test_what_must_wait_is_told_again_until_it_is_done(run: Run, fake: Fake) -> None:
    first = run(options={**ON, "init": True})
    assert (fake.acts, first["pending"], first["stale"]) == (["reload"], ["init"], [])
    second = run(options={**ON, "init": True})
    assert (second["changed"], second["pending"]) == (False, ["init"])
    assert "waits until the engine is restarted" in second["msg"]
    third = run(options={**ON, "init": True}, restart=True)
    assert (third["changed"], third["pending"], fake.acts) == (True, [], ["reload", "restart"])
    assert not run(options={**ON, "init": True}, restart=True)["changed"]


def test_what_waited_is_taken_back_as_a_whole(run: Run, fake: Fake) -> None:
    fake.file.write_text('{"debug": false}')
    run(options={**ON, "log-opts": {"max-fle": "3"}})
    result = run(options={**ON, "log-opts": {"max-fle": "3"}}, restart=True)
    assert (result["reason"], result["reverted"]) == ("restart_failed", True)
    assert content(fake) == {"debug": False, **ON}


def test_what_waits_stays_where_what_comes_now_is_refused(run: Run, fake: Fake) -> None:
    fake.images = fake.containers = 0
    run(options={"data-root": "/srv"})
    kept, fake.images = fake.file.read_text(), 1
    result = run(options={"data-root": "/srv"}, restart=True)
    assert (result["reason"], fake.file.read_text(), fake.acts) == ("data_hidden", kept, [])


def test_what_somebody_writes_between_the_look_and_the_lock_is_not_lost(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = _docker_daemon_run.write_program

    def edited(folder: str) -> None:
        fake.file.write_text('{"labels": ["by=hand"]}')
        changing(folder)

    fake.file.write_text('{"debug": false}\r\n')
    assert run(options={"debug": True})["changed"]
    monkeypatch.setattr(_docker_daemon_run, "write_program", edited)
    result = run(options={"debug": False})
    assert (result["reason"], content(fake)) == ("locked", {"labels": ["by=hand"]})
    assert "run this again" in result["msg"]


def test_what_somebody_edits_meanwhile_is_not_lost(run: Run, fake: Fake) -> None:
    run(options={**ON, "init": True})
    fake.file.write_text(json.dumps({**content(fake), "labels": ["by=hand"]}))
    assert run(options={**ON, "init": True}, restart=True)["changed"]
    assert content(fake) == {**ON, "init": True, "labels": ["by=hand"]}
    assert fake.has == content(fake)


def test_an_engine_that_does_not_start_gets_its_file_back(run: Run, fake: Fake) -> None:
    fake.file.write_text('{"debug":true}')
    fake.has = {"debug": True}
    result = run(options={"log-opts": {"max-fle": "3"}}, restart=True)
    assert (result["failed"], result["reason"], result["reverted"]) == (True, "restart_failed", True)
    assert fake.file.read_text() == '{"debug":true}'
    assert fake.acts == ["restart", "restart"]


def test_a_container_that_does_not_come_up_restarts_the_engine_twice_and_not_more(run: Run, fake: Fake) -> None:
    fake.lame = True
    result = run(options={"log-opts": {"max-fle": "3"}}, restart=True)
    assert (result["reason"], result["reverted"], fake.acts) == ("restart_failed", True, ["restart", "restart"])
    assert "does not work: what ran before does not run again: web" in result["msg"]


def test_the_file_of_before_comes_back_with_live_restore_switched_off_last(run: Run, fake: Fake) -> None:
    fake.file.write_text('{"debug":true}')
    run(options={**ON, "init": True}, restart=True)
    fake.acts.clear()
    result = run(state="absent", restart=True)
    assert (result["changed"], fake.acts, fake.file.read_text()) == (True, ["restart", "reload"], '{"debug":true}')
    assert not fake.has["live-restore"]
    assert not run(state="absent", restart=True)["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_a_file_of_before_that_would_hide_what_has_come_since_stays_where_it_is(
    run: Run, fake: Fake, check: bool
) -> None:
    fake.images = fake.containers = 0
    run(options={"data-root": "/srv"}, restart=True)
    fake.images, fake.acts = 1, []
    result = run(state="absent", restart=True, _ansible_check_mode=check)
    assert (result["reason"], fake.acts, content(fake)) == ("data_hidden", [], {"data-root": "/srv"})


def test_a_file_that_was_not_there_goes_again_but_one_that_was_edited_stays(run: Run, fake: Fake) -> None:
    run(options={"debug": True})
    edited = fake.file.read_text() + "\n"
    fake.file.write_text(edited)
    result = run(state="absent")
    assert (result["changed"], fake.file.read_text()) == (False, edited)
    assert result["kept"] == [f"{fake.file}: somebody has changed its content since"]
    fake.file.write_text(edited[:-1])
    assert run(state="absent")["changed"]
    assert not fake.file.exists()


def test_check_mode_says_it_all_and_does_nothing(run: Run, fake: Fake, tmp_path: Path) -> None:
    result = run(options={**ON, "icc": False}, restart=True, _ansible_check_mode=True, _ansible_diff=True)
    assert (result["changed"], result["action"], result["pending"]) == (True, "restart", ["icc"])
    assert "would be restarted for icc; containers that run on meanwhile: 1" in result["msg"]
    assert result["diff"][0]["after"] == '{\n  "live-restore": true,\n  "icc": false\n}\n'
    assert (fake.acts, fake.file.exists(), (tmp_path / "host").exists()) == ([], False, False)


def test_the_whole_difference_is_shown_not_that_of_the_last_step(run: Run, fake: Fake) -> None:
    fake.file.write_text('{"debug":true}')
    diff = run(options={**ON, "init": True}, restart=True, _ansible_diff=True)["diff"]
    assert diff[0]["before"] == '{"debug":true}'
    assert json.loads(diff[0]["after"]) == {"debug": True, **ON, "init": True}


def test_a_mode_alone_is_no_matter_for_the_engine(run: Run, fake: Fake) -> None:
    fake.file.write_text("{}")
    fake.file.chmod(0o666)
    assert run(restart=True, mode="0644")["changed"]
    assert (fake.acts, fake.file.stat().st_mode & 0o777) == ([], 0o644)


@pytest.mark.parametrize(
    ("args", "reason", "says"),
    [
        pytest.param({"options": {"bogus": 1}}, "option_unknown", "options.bogus: Docker 26.1 does not know", id="key"),
        pytest.param({"options": {"mtu": -1}}, "option_invalid", "would not start with what is wanted", id="value"),
        pytest.param({"options": {"bip": "10.1.2.1/24"}}, "address_collision", "eth0", id="addresses"),
        pytest.param({"options": {"bip": "198.51.100.1/24"}}, "address_collision", "has a connection", id="operator"),
        pytest.param({"options": {"hosts": []}}, "option_is_flag", "-H (unit docker.service)", id="flag"),
        pytest.param({"options": {"data-root": "/srv"}}, "data_hidden", "1 images", id="data"),
        pytest.param({"options": {}, "mode": "rw"}, "invalid", "mode", id="mode"),
        pytest.param({"probes": {"outbound": "x"}}, "invalid", "outbound: 'x' is no host:port", id="question"),
        pytest.param({"options": {}, "timeout": 0}, "invalid", "timeout is 0; it must be at least 1 s", id="time"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_what_is_refused_is_refused_in_check_mode_too(
    run: Run, fake: Fake, args: Result, reason: str, says: str, check: bool
) -> None:
    fake.file.write_text('{"debug":true}')
    result = run(**args, _ansible_check_mode=check)
    assert (result["failed"], result["reason"]) == (True, reason)
    assert says in result["msg"]
    assert (fake.file.read_text(), fake.acts) == ('{"debug":true}', [])


def test_an_older_engine_is_not_asked_to_check_its_file(run: Run, fake: Fake) -> None:
    fake.version = "20.10.24+dfsg1"
    assert run(options={"bogus": 1})["reason"] == "option_unknown"
    assert run(options={"debug": True})["action"] == "reload"


def test_an_engine_that_does_not_run_is_left_so_and_reads_the_file_when_it_starts(run: Run, fake: Fake) -> None:
    fake.pid = 0
    result = run(options={**ON, "init": True}, restart=True)
    assert (result["changed"], result["action"], result["needs_restart"], fake.acts) == (True, "none", False, [])
    assert "reads the file when it is started" in result["msg"]


def test_an_engine_that_does_not_answer_is_restarted_rather_than_told(run: Run, fake: Fake) -> None:
    fake.silent = True
    assert run(options={"debug": True})["pending"] == ["debug"]
    result = run(options={"debug": True}, restart=True)
    assert (result["action"], fake.acts) == ("restart", ["restart"])
    assert "does not answer" in result["msg"]


def test_a_host_without_an_engine_is_told_the_way_out(run: Run, fake: Fake) -> None:
    fake.version = ""
    result = run(options={"debug": True})
    assert result["reason"] == "engine_unavailable"
    assert "emorobcare.fleet.docker_host" in result["msg"]


def test_a_host_without_the_command_line_is_told_its_package_and_nothing_is_restarted(run: Run, fake: Fake) -> None:
    fake.command_line = False
    result = run(options={"init": True}, restart=True)
    assert (result["reason"], fake.acts, fake.file.exists()) == ("engine_unavailable", [], False)
    assert "package docker-cli" in result["msg"]


def test_containers_older_than_the_limit_are_named(run: Run, fake: Fake) -> None:
    assert run(options={"log-opts": {"max-size": "1m"}}, restart=True)["stale"] == ["web"]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"proxies": {"http-proxy": "http://me:geheim@proxy:1"}}, id="of a proxy"),
        pytest.param({"log-opts": {"splunk-token": "geheim"}}, id="of a log driver"),
    ],
)
def test_a_password_is_in_no_difference(run: Run, options: Result) -> None:
    diff = json.dumps(run(options=options, _ansible_diff=True)["diff"])
    assert ("geheim" in diff, "********" in diff) == (False, True)


def test_a_file_that_is_not_for_all_to_read_stays_so_and_a_new_one_is(run: Run, fake: Fake) -> None:
    run(options={"debug": True})
    assert fake.file.stat().st_mode & 0o777 == 0o644
    fake.file.chmod(0o600)
    run(options={"init": True})
    assert fake.file.stat().st_mode & 0o777 == 0o600
    run(options={"init": True}, restart=True)
    assert (fake.acts[-1], fake.file.stat().st_mode & 0o777) == ("restart", 0o600)


def test_the_documentation_says_what_the_options_are() -> None:
    documents = (docker_daemon.DOCUMENTATION, ModuleDocFragment.DOCUMENTATION)
    options = {name: one for text in documents for name, one in yaml.safe_load(text)["options"].items()}
    assert {name: {key: one[key] for key in KEYS if key in one} for name, one in options.items()} == {
        name: {key: one[key] for key in KEYS if key in one} for name, one in docker_daemon.ARGUMENT_SPEC.items()
    }
    tasks = yaml.safe_load(docker_daemon.EXAMPLES)
    assert all(set(task["emorobcare.fleet.docker_daemon"]) <= set(options) for task in tasks)
    returned = set(yaml.safe_load(docker_daemon.RETURN))
    assert "keys" not in returned
