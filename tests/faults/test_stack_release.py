# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""stack_release and health_gate against a real engine: what goes well, and what must not go worse than said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.modules import health_gate
from ansible_collections.emorobcare.fleet.tests.faults._releases import (
    PYTHON,
    Lab,
    docker,
    fill,
    free_port,
    http,
    job,
    run_module,
    server,
    wait_for,
)

GOOD_GATE = {"gate": [http(expect="length(vector) == `3` && mode == 'good'")]}


def test_a_release_is_gated_committed_and_then_left_alone(lab: Lab) -> None:
    settings = {"PORT": str(free_port()), "TEXT": "a $HOME 'b' \\ c"}
    web = server(
        lab.image,
        ports=["127.0.0.1:${PORT}:8000"],
        environment={"TEXT": "${TEXT}"},
        depends_on={"load": {"condition": "service_completed_successfully"}},
        healthcheck={"test": ["CMD", PYTHON, "-S", "-c", "pass"], "interval": "1s"},
    )
    requests = [http(expect=f"text == `{json.dumps(settings['TEXT'])}`"), http(method="POST", body_file="gate/x")]
    options = lab.release(
        {"web": web, "load": job(lab.image), "other": {**server(lab.image), "profiles": ["upstream"]}},
        {"load": {"lifecycle": "job"}, "web": {"url": "http://127.0.0.1:${PORT}/", "gate": requests}},
        files={"gate/x": b"hello"},
        parameters={"PORT": {"type": "port"}, "TEXT": {"type": "str", "default": "no"}},
    )

    first = lab.deploy(options, parameters=settings)

    assert first["changed"]
    assert {row["service"]: (row["state"], row["health"]) for row in first["services"]} == {
        "load": ("exited", None),
        "web": ("running", "healthy"),
    }
    assert next(row["url"] for row in first["services"] if row["url"]) == f"http://127.0.0.1:{settings['PORT']}/"
    assert all(row["ready_seconds"] is not None for row in first["services"])
    journal = lab.journal()
    assert (journal["phase"], journal["candidate"], journal["failure"]) == ("idle", None, None)
    assert journal["committed"]["release"] == options["id"]
    assert (lab.base / "state.json").stat().st_mode & 0o777 == 0o600
    finished = lab.containers()["load"]["State"]["FinishedAt"]

    second = lab.deploy(options, parameters=settings)

    assert not second["changed"]
    assert second["services"] == first["services"]
    assert lab.containers()["load"]["State"]["FinishedAt"] == finished
    assert second["diff"]["before"] == second["diff"]["after"]


def test_only_a_service_whose_own_definition_changed_is_recreated(lab: Lab) -> None:
    def release(text: str) -> dict[str, t.Any]:
        model = {"path": "weights", "sha256": "0" * 64, "size": 3}
        mount = {"volumes": ["./models/tiny:/models/tiny:ro"]}
        return lab.release(
            {"web": server(lab.image, environment={"TEXT": text}), "data": server(lab.image, **mount)},
            {"data": {"lifecycle": "stateful", "gate": [http(expect="model == 'abc'")]}},
            models=[{"name": "tiny", "version": "1", "files": [model]}],
        )

    weights = lab.root / "fleet" / "models" / "tiny" / "1" / "weights"
    weights.parent.mkdir(parents=True)
    weights.write_text("abc")
    lab.deploy(release("one"))
    before = lab.ids()

    predicted = lab.deploy(release("two"), _ansible_check_mode=True)
    assert lab.ids() == before
    result = lab.deploy(release("two"))

    after = lab.ids()
    assert after["data"] == before["data"]
    assert after["web"] != before["web"]
    steps = [
        {"service": "data", "action": "none", "why": ""},
        {"service": "web", "action": "recreate", "why": "its configuration changed"},
    ]
    assert result["plan"] == predicted["plan"] == steps
    assert next(row["models"] for row in result["services"] if row["service"] == "data") == ["tiny/1"]
    folder = lab.base / "releases" / result["release"]
    assert os.readlink(folder / "models" / "tiny") == str(weights.parent)


def test_a_wrong_answer_takes_the_host_back_to_release_settings_and_model_of_before(lab: Lab) -> None:
    def release(mode: str, version: str) -> dict[str, t.Any]:
        mount = ["./models/tiny:/models/tiny:ro"]
        return lab.release(
            {"web": server(lab.image, environment={"MODE": mode, "TEXT": "${TEXT}"}, volumes=mount)},
            {"web": GOOD_GATE},
            timeout=20.0 if mode == "good" else 3.0,
            parameters={"TEXT": {"type": "str"}},
            models=[
                {"name": "tiny", "version": version, "files": [{"path": "weights", "sha256": "0" * 64, "size": 1}]}
            ],
        )

    for version in ("1", "2"):
        weights = lab.root / "fleet" / "models" / "tiny" / version / "weights"
        weights.parent.mkdir(parents=True)
        weights.write_text(version)
    good, bad = release("good", "1"), release("wrong", "2")
    lab.deploy(good, parameters={"TEXT": "before"})

    result = lab.refused(bad, "gate_timeout", parameters={"TEXT": "after"})

    assert (result["service"], result["check"]) == ("web", "http GET :8000/")
    assert "gave false, not true: {" in result["answer"]
    assert result["rolled_back_to"] == good["id"]
    assert lab.journal()["committed"]["release"] == good["id"]
    assert lab.journal()["failure"]["reason"] == "gate_timeout"
    assert [path.name for path in (lab.base / "releases").iterdir()] == [good["id"]]
    web = lab.containers()["web"]
    assert {"MODE=good", "TEXT=before"} <= set(web["Config"]["Env"])
    assert web["Mounts"][0]["Source"].endswith("/models/tiny/1")
    assert not lab.deploy(good, parameters={"TEXT": "before"})["changed"]


FAILURES = [
    pytest.param("broken", {}, "gate_timeout", "status 500, not 200", id="answers with an error"),
    pytest.param("dies", {}, "gate_failed", "ended with exit code 7", id="exits"),
    pytest.param("dies", {"restart": "always"}, "gate_failed", "restarted 4 times", id="crashes again and again"),
]


@pytest.mark.parametrize(("mode", "more", "reason", "answer"), FAILURES)
def test_a_first_release_that_fails_leaves_nothing_running_and_the_next_run_succeeds(
    lab: Lab, mode: str, more: dict[str, t.Any], reason: str, answer: str
) -> None:
    def release(mode: str) -> dict[str, t.Any]:
        web = server(lab.image, environment={"MODE": mode}, secrets=["key"], volumes=["data:/data"], **more)
        parts = {"secrets": {"key": {"file": "${FLEET_SECRETS}/db_key"}}, "volumes": {"data": {}}}
        return lab.release(
            {"web": web}, {"web": GOOD_GATE}, 3.0 if mode == "broken" else 20.0, compose=parts, secrets={"db_key": {}}
        )

    result = lab.refused(release(mode), reason, secrets={"db_key": "s3cr3t-value"})

    assert answer in result["answer"]
    assert result["service"] == "web"
    assert any("password is ********" in line for line in result["log"])
    assert "s3cr3t-value" not in json.dumps({**result, "invocation": None})
    assert result["rolled_back_to"] is None
    assert not lab.containers()
    assert docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={lab.stack}")
    assert not list((lab.base / "releases").iterdir())

    assert lab.deploy(release("good"), secrets={"db_key": "s3cr3t-value"})["changed"]


def test_a_service_that_never_becomes_healthy_is_named_with_what_its_check_said(lab: Lab) -> None:
    check = {"test": ["CMD", PYTHON, "-S", "-c", "raise SystemExit('no database')"], "interval": "300ms", "retries": 2}
    first = server(lab.image, healthcheck=check)
    second = server(lab.image, depends_on={"first": {"condition": "service_healthy"}})
    result = lab.refused(lab.release({"first": first, "second": second}), "gate_failed")
    assert (result["service"], result["check"]) == ("first", "container")
    assert "running but unhealthy; its health check said: no database" in result["answer"]
    assert not lab.containers()

    alone = lab.refused(lab.release({"first": first}, timeout=2.0), "gate_timeout")
    assert "running but unhealthy" in alone["msg"]


def test_a_failed_job_is_named_before_what_waits_for_it(lab: Lab) -> None:
    web = server(lab.image, depends_on={"load": {"condition": "service_completed_successfully"}})
    load = job(lab.image, "import sys; print('ontology is broken'); sys.exit(3)")
    result = lab.refused(lab.release({"load": load, "web": web}, {"load": {"lifecycle": "job"}}), "gate_failed")
    assert result["service"] == "load"
    assert "ended with exit code 3" in result["msg"]
    assert result["log"] == ["ontology is broken"]


def test_a_dependency_that_keeps_crashing_is_given_up_long_before_the_time_is_over(lab: Lab) -> None:
    check = {"test": ["CMD", PYTHON, "-S", "-c", "pass"], "interval": "60s"}
    first = server(lab.image, environment={"MODE": "dies"}, restart="always", healthcheck=check)
    second = server(lab.image, depends_on={"first": {"condition": "service_healthy"}})
    result = lab.refused(lab.release({"first": first, "second": second}, timeout=3600.0), "gate_failed")
    assert "restarted" in result["answer"]
    assert not lab.containers()


def test_crashing_once_and_then_being_well_is_no_failure_even_of_a_dependency(lab: Lab) -> None:
    check = {"test": ["CMD", PYTHON, "-S", "-c", "pass"], "interval": "500ms"}
    more = {"restart": "always", "volumes": ["data:/data"], "healthcheck": check}
    web = server(lab.image, environment={"MODE": "recovers"}, **more)
    waiting = server(lab.image, depends_on={"web": {"condition": "service_healthy"}})
    gates = {"web": {"gate": [http(expect="mode == 'recovers'")]}}
    options = lab.release({"web": web, "waiting": waiting}, gates, compose={"volumes": {"data": {}}})
    assert lab.deploy(options)["changed"]
    assert lab.containers()["web"]["RestartCount"] == 1


def test_a_missing_secret_is_named_before_anything_is_touched_and_a_changed_one_recreates_its_users(lab: Lab) -> None:
    reader = "import os, time; os.setuid(4711); print(open('/run/secrets/key').read(), flush=True); time.sleep(1e6)"
    user = {"image": lab.image, "command": [PYTHON, "-S", "-c", reader], "secrets": ["key"], "stop_signal": "SIGKILL"}
    options = lab.release(
        {"user": {**user, "cap_drop": ["ALL"], "cap_add": ["SETUID"]}, "other": server(lab.image)},
        compose={"secrets": {"key": {"file": "${FLEET_SECRETS}/db_key"}, "unused": {"file": "${FLEET_SECRETS}/more"}}},
        secrets={"db_key": {"description": "of the database"}, "more": {}},
    )
    result = lab.refused(options, "secret_missing")
    assert "'db_key' (of the database)" in result["msg"]
    assert str(lab.secrets / "db_key") in result["msg"]
    assert not lab.containers()
    assert not list((lab.base / "releases").iterdir())

    lab.deploy(options, secrets={"db_key": "first"})
    before = lab.containers()
    assert docker("logs", before["user"]["Id"]) == "first"
    assert lab.secrets.stat().st_mode & 0o777 == 0o700
    assert (lab.secrets / "db_key").stat().st_mode & 0o777 == 0o400
    assert not lab.deploy(options)["changed"]

    assert lab.deploy(options, secrets={"db_key": "second"})["changed"]
    after = lab.containers()
    assert after["other"]["Id"] == before["other"]["Id"]
    assert docker("logs", after["user"]["Id"]) == "second"
    journal = (lab.base / "state.json").read_text()
    assert "first" not in journal
    assert "second" not in journal


def test_a_failed_release_gives_the_old_secret_back(lab: Lab) -> None:
    def release(mode: str) -> dict[str, t.Any]:
        web = server(lab.image, environment={"MODE": mode}, secrets=["key"])
        parts = {"secrets": {"key": {"file": "${FLEET_SECRETS}/db_key"}}}
        return lab.release(
            {"web": web}, {"web": GOOD_GATE}, 20.0 if mode == "good" else 3.0, compose=parts, secrets={"db_key": {}}
        )

    lab.deploy(release("good"), secrets={"db_key": "the-old-one"})
    lab.refused(release("wrong"), "gate_timeout", secrets={"db_key": "the-new-one"})
    assert (lab.secrets / "db_key").read_text() == "the-old-one"
    assert docker("logs", lab.containers()["web"]["Id"]).splitlines()[-1] == "password is the-old-one"
    assert not lab.deploy(release("good"))["changed"]


def test_a_port_that_a_process_holds_is_refused_with_holder_and_way_out(lab: Lab) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        options = lab.release(
            {"web": server(lab.image, ports=["127.0.0.1:${PORT}:8000"])}, parameters={"PORT": {"type": "port"}}
        )
        result = lab.refused(options, "port_taken", parameters={"PORT": port})
        assert f"127.0.0.1:{port}/tcp, which service web publishes" in result["msg"]
        assert f"(pid {os.getpid()})" in result["msg"]
        assert "set parameter PORT to another port" in result["msg"]
        assert not lab.containers()
    assert lab.deploy(options, parameters={"PORT": port})["changed"]


def test_a_port_that_another_stacks_container_holds_is_refused_and_ones_own_is_not(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    other = Lab(tmp_path / "other", lab.image)
    ports = [f"127.0.0.1:{port}:8000"]
    try:
        other.deploy(other.release({"web": server(lab.image, ports=ports)}))
        result = lab.refused(lab.release({"web": server(lab.image, ports=ports)}), "port_taken")
        assert f"container {other.stack}-web-1" in result["msg"]
        changed = other.release({"web": server(lab.image, ports=ports, environment={"TEXT": "new"})})
        assert other.deploy(changed)["changed"]
    finally:
        other.remove()


def test_missing_images_are_refused_before_anything_is_touched(lab: Lab) -> None:
    built = f"{lab.stack}/web:0123456789abcdef"
    options = lab.release({"web": server(built)}, images={"web": {"reference": built, "input": "0" * 64}})
    result = lab.refused(options, "image_missing")
    assert built in result["msg"]
    assert "image_build" in result["msg"]
    assert not lab.containers()

    pulled = "registry.invalid/nothing:1"
    result = lab.refused(lab.release({"web": server(pulled)}), "image_unavailable")
    assert pulled in result["msg"]
    assert not lab.containers()


def test_missing_models_are_refused_before_anything_is_touched(lab: Lab) -> None:
    model = {"name": "tiny", "version": "1", "files": [{"path": "weights", "sha256": "0" * 64, "size": 3}]}
    options = lab.release({"web": server(lab.image)}, models=[model])
    assert "weights is not there" in lab.refused(options, "model_missing")["msg"]
    weights = lab.root / "fleet" / "models" / "tiny" / "1" / "weights"
    weights.parent.mkdir(parents=True)
    weights.write_text("ab")
    assert "has 2 bytes, not 3" in lab.refused(options, "model_missing")["msg"]
    weights.write_text("abc")
    assert lab.deploy(options)["changed"]


def web_release(lab: Lab, text: str, mode: str = "good") -> dict[str, t.Any]:
    web = server(lab.image, environment={"TEXT": text, "MODE": mode})
    return lab.release({"web": web}, {"web": GOOD_GATE}, 20.0 if mode == "good" else 3.0)


@pytest.mark.parametrize("phase", ["candidate", "gate"])
def test_a_first_run_killed_at_any_step_is_finished_by_the_next(lab: Lab, phase: str) -> None:
    options = web_release(lab, "one")
    lab.kill_in(options, phase)
    assert lab.journal()["committed"] is None
    assert lab.deploy(options)["changed"]
    assert lab.journal()["phase"] == "idle"
    assert not lab.deploy(options)["changed"]


KILLS = [("candidate", "old"), ("candidate", "new"), ("gate", "old"), ("gate", "new"), ("going_back", "old")]


@pytest.mark.parametrize(("phase", "wanted"), KILLS)
def test_an_update_killed_at_any_step_ends_on_the_release_that_the_next_run_wants(
    lab: Lab, phase: str, wanted: str
) -> None:
    old, new = web_release(lab, "old"), web_release(lab, "new", "wrong" if phase == "going_back" else "good")
    lab.deploy(old)
    lab.kill_in(new, phase)
    assert lab.journal()["committed"]["release"] == old["id"]

    assert lab.deploy(old if wanted == "old" else new)["changed"]

    assert f"TEXT={wanted}" in lab.containers()["web"]["Config"]["Env"]
    assert lab.journal()["committed"]["release"] == (old if wanted == "old" else new)["id"]
    assert lab.journal()["phase"] == "idle"


def test_a_bad_release_after_a_killed_run_still_goes_back(lab: Lab) -> None:
    old, bad = web_release(lab, "old"), web_release(lab, "new", "wrong")
    lab.deploy(old)
    lab.kill_in(bad, "gate")
    assert lab.refused(bad, "gate_timeout")["rolled_back_to"] == old["id"]
    assert "TEXT=old" in lab.containers()["web"]["Config"]["Env"]


def test_a_run_waits_for_another_on_the_same_stack_and_gives_up_in_time(lab: Lab) -> None:
    waits = {"load": {"condition": "service_completed_successfully"}}
    slow = job(lab.image, "import time; time.sleep(2)")
    options = lab.release({"web": server(lab.image, depends_on=waits), "load": slow}, {"load": {"lifecycle": "job"}})
    process = lab.start(options)
    wait_for((lab.base / "state.json").exists)
    result = lab.refused(options, "locked", lock_timeout=0)
    assert f"process {process.pid}" in result["msg"]
    assert not lab.deploy(options)["changed"]
    assert process.wait() == 0


def test_an_unreadable_journal_is_set_aside_and_nothing_that_runs_is_taken_down(lab: Lab) -> None:
    good, bad = web_release(lab, "one"), web_release(lab, "two", "wrong")
    lab.deploy(good)
    (lab.base / "state.json").write_text('{"schema": 1, "sta')
    (lab.base / "state.json.before").unlink()
    result = lab.refused(bad, "gate_timeout")
    assert "left as they are" in result["msg"]
    assert lab.containers()
    assert (lab.base / "state.json.unreadable").exists()
    assert lab.deploy(good)["changed"]
    assert not lab.deploy(good)["changed"]


def test_a_journal_from_the_future_is_refused(lab: Lab) -> None:
    options = lab.release({"web": server(lab.image)})
    lab.base.mkdir(parents=True)
    (lab.base / "state.json").write_text('{"schema": 3}')
    lab.refused(options, "journal_newer")
    assert (lab.base / "state.json").read_text() == '{"schema": 3}'


def test_files_changed_under_a_release_are_restored_and_reread(lab: Lab) -> None:
    reader = "import time; print(open('/conf').read(), flush=True); time.sleep(1e6)"
    user = {"image": lab.image, "command": [PYTHON, "-S", "-c", reader], "stop_signal": "SIGKILL"}
    options = lab.release(
        {"user": {**user, "volumes": ["./conf/a:/conf:ro"]}, "other": server(lab.image)}, files={"conf/a": b"right"}
    )
    lab.deploy(options)
    before = lab.ids()
    file = lab.base / "releases" / options["id"] / "conf" / "a"
    file.chmod(0o644)
    file.write_text("wrong")

    assert lab.deploy(options)["changed"]

    assert file.read_text() == "right"
    after = lab.ids()
    assert after["other"] == before["other"]
    assert after["user"] != before["user"]
    assert docker("logs", after["user"]) == "right"
    assert not lab.deploy(options)["changed"]


def test_a_stopped_container_is_started_and_a_removed_one_made_again(lab: Lab) -> None:
    options = lab.release(
        {"web": server(lab.image), "other": server(lab.image), "load": job(lab.image)}, {"load": {"lifecycle": "job"}}
    )
    lab.deploy(options)
    docker("stop", lab.ids()["web"])
    docker("rm", "--force", lab.ids()["other"])
    result = lab.deploy(options)
    assert [step["action"] for step in result["plan"]] == ["run", "create", "start"]
    assert not lab.deploy(options)["changed"]


def test_services_that_left_the_release_are_removed(lab: Lab) -> None:
    lab.deploy(lab.release({"web": server(lab.image), "other": server(lab.image)}))
    result = lab.deploy(lab.release({"web": server(lab.image)}))
    assert [step["action"] for step in result["plan"]] == ["none", "remove"]
    assert list(lab.containers()) == ["web"]


def test_a_service_in_another_ones_network_is_gated_and_then_left_alone(lab: Lab) -> None:
    idle = {"image": lab.image, "command": [PYTHON, "-S", "-c", "import time; time.sleep(1e6)"]}
    options = lab.release(
        {"net": {**idle, "stop_signal": "SIGKILL"}, "web": server(lab.image, network_mode="service:net")},
        {"web": GOOD_GATE},
    )
    assert lab.deploy(options)["changed"]
    assert not lab.deploy(options)["changed"]


def test_only_as_many_releases_as_wanted_are_kept(lab: Lab) -> None:
    for text in ("1", "2", "3"):
        lab.deploy(lab.release({"web": server(lab.image, environment={"TEXT": text})}), keep=2)
    assert len(list((lab.base / "releases").iterdir())) == 2
    assert len(lab.journal()["history"]) == 1


def test_a_full_disk_is_refused_before_anything_is_touched(lab: Lab) -> None:
    small = lab.root / "fleet"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(small)], check=True)
    try:
        options = lab.release({"web": server(lab.image)}, files={"gate/big": b"x" * 100_000})
        result = lab.refused(options, "write_failed")
        assert "No space left on device" in result["msg"]
        assert not lab.containers()
        assert not list((lab.base / "releases").iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert lab.deploy(options)["changed"]


def test_a_disk_that_fills_up_under_way_does_not_stop_the_way_back(lab: Lab) -> None:
    small = lab.root / "fleet"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)], check=True)
    try:
        old, new = web_release(lab, "old"), web_release(lab, "new")
        lab.deploy(old)
        process = lab.start(new)
        wait_for(lambda: lab.journal()["phase"] == "candidate")
        fill(small / "filler")
        assert process.wait() == 1
        assert "TEXT=old" in lab.containers()["web"]["Config"]["Env"]
        assert lab.journal()["committed"]["release"] == old["id"]
        (small / "filler").unlink()
        assert lab.deploy(new)["changed"]
    finally:
        lab.remove()
        subprocess.run(["umount", str(small)], check=True)


def test_check_mode_predicts_a_first_deployment_and_writes_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"name": "tiny", "version": "1", "files": [{"path": "weights", "sha256": "0" * 64, "size": 3}]}
    built = f"{lab.stack}/web:0123456789abcdef"
    images = {"web": {"reference": built, "input": "0" * 64}}
    options = lab.release({"web": server(built)}, models=[model], images=images)

    result = lab.deploy(options, _ansible_check_mode=True)
    assert result["changed"]
    assert result["diff"]["after"]["services"] == {"web": "created: it has no container"}
    assert [item.split()[-1] for item in result["pending"]] == ["there", "host"]

    with monkeypatch.context() as patch:
        patch.setenv("PATH", "/nothing")
        without = lab.run({**options, "_ansible_check_mode": True})
    assert without["changed"]
    assert without["diff"]["after"]["services"] == {"web": "created"}
    assert any("docker is not on this host" in item for item in without["pending"])
    assert not list(lab.root.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("DOCKER_HOST", "unix:///nothing.sock", "does not answer"), ("PATH", "/nothing", "install Docker")],
)
def test_no_engine_is_a_refusal_of_its_own(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(name, value)
        result = lab.refused(lab.release({"web": server(lab.image)}), "docker_unavailable")
    assert message in result["msg"]


@pytest.mark.parametrize("data", [False, True])
def test_absent_removes_what_it_says_even_without_the_release_and_then_nothing(lab: Lab, data: bool) -> None:
    built = f"{lab.stack}/web:1"
    labelled = f"LABEL org.emorobcare.fleet.stack={lab.stack}"
    dockerfile = f"FROM {lab.image}\n{labelled}\n".encode()
    docker("build", "--quiet", "--tag", built, "-", content=dockerfile)
    options = lab.release(
        {"web": server(built, volumes=["data:/data"], secrets=["key"])},
        compose={"volumes": {"data": {}}, "secrets": {"key": {"file": "${FLEET_SECRETS}/key"}}},
        secrets={"key": {}},
    )
    lab.deploy(options, secrets={"key": "value"})
    away = lab.root / "away"
    (lab.base / "releases").rename(away)
    removal = {"stack": lab.stack, "state": "absent", "data": data}

    assert lab.deploy(removal, _ansible_check_mode=True)["changed"]
    assert lab.containers()
    assert lab.deploy(removal)["changed"]

    assert not lab.containers()
    assert not docker("image", "ls", "--quiet", built)
    volumes = docker("volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={lab.stack}")
    assert bool(volumes) is not data
    assert lab.base.exists() is not data
    assert lab.secrets.exists() is not data
    assert not lab.deploy(removal)["changed"]
    if not data:
        assert lab.journal()["committed"] is None
        assert lab.deploy({**removal, "data": True})["changed"]


def test_an_image_that_somebody_else_uses_is_kept(lab: Lab) -> None:
    built = f"{lab.stack}/web:1"
    dockerfile = f"FROM {lab.image}\nLABEL org.emorobcare.fleet.stack={lab.stack}\n".encode()
    docker("build", "--quiet", "--tag", built, "-", content=dockerfile)
    other = docker("create", "--label", "org.emorobcare.fleet.test=other", built, PYTHON)
    try:
        lab.deploy(lab.release({"web": server(built)}))
        lab.deploy({"stack": lab.stack, "state": "absent"})
        assert docker("image", "ls", "--quiet", built)
    finally:
        docker("rm", "--force", other)
    assert lab.deploy({"stack": lab.stack, "state": "absent"})["changed"]
    assert not docker("image", "ls", "--quiet", built)


def test_the_gate_stands_alone(lab: Lab, tmp_path: Path) -> None:
    lab.deploy(
        lab.release({"web": server(lab.image, networks=["inner"])}, compose={"networks": {"inner": {"internal": True}}})
    )
    (tmp_path / "body").write_bytes(b'{"ok": true}')
    gate: dict[str, t.Any] = {
        "project": lab.stack,
        "files_root": str(tmp_path),
        "success_threshold": 2,
        "timeout": 2,
        "services": {"web": {"gate": [http(method="POST", body_file="body", expect="ok", max_latency=2)]}},
    }
    result = run_module(health_gate.main, gate)
    assert not result["changed"]
    assert [(row["check"], row["ok"], row["failures"]) for row in result["checks"]] == [
        ("container", True, 0),
        ("http POST :8000/", True, 0),
    ]

    gate["services"]["web"]["gate"] = [{"http": {"port": 9}}]
    result = run_module(health_gate.main, gate)
    assert result["reason"] == "gate_timeout"
    assert "refused the connection" in result["answer"]

    assert run_module(health_gate.main, {**gate, "_ansible_check_mode": True})["skipped"]
