# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._image_build import (
    Build,
    ImageBuildError,
    Secret,
    build_argv,
    image_labels,
    read_failure,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_plan import Wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._image_platform import PLATFORMS, Target

WANTED = Wanted("stack/api:aaaa", "a" * 64)


def test_the_command_has_no_tag_and_reads_the_context_from_its_input() -> None:
    build = Build(WANTED, "/tmp/0.tar", "docker/Dockerfile", {"B": "2", "A": "1 1"})
    secrets = [Secret("ca", "/etc/ca.crt"), Secret("token", "/root/token")]
    assert build_argv(build, secrets, {"y": "2", "x": "1"}, "/tmp/id") == [
        "docker",
        "build",
        "--progress=plain",
        "--iidfile=/tmp/id",
        "--file=docker/Dockerfile",
        "--label=x=1",
        "--label=y=2",
        "--build-arg=A=1 1",
        "--build-arg=B=2",
        "--secret=id=ca,src=/etc/ca.crt",
        "--secret=id=token,src=/root/token",
        "-",
    ]


def test_an_offline_build_takes_the_network_from_its_steps() -> None:
    argv = build_argv(Build(WANTED, "/tmp/0.tar", offline=True), [], {}, "/tmp/id")
    assert "--network=none" in argv


def test_only_a_foreign_platform_is_said_to_the_builder() -> None:
    amd64, arm64 = PLATFORMS[:2]
    foreign = WANTED.on(Target(arm64, foreign=True))
    assert "--platform=linux/arm64" in build_argv(Build(foreign, "/tmp/0.tar"), [], {}, "/tmp/id")
    own = build_argv(Build(WANTED.on(Target(amd64)), "/tmp/0.tar"), [], {}, "/tmp/id")
    assert own == build_argv(Build(WANTED, "/tmp/0.tar"), [], {}, "/tmp/id")


def test_labels_name_input_stack_title_and_version_and_no_time() -> None:
    assert image_labels(WANTED) == {
        "org.emorobcare.fleet.input": "a" * 64,
        "org.emorobcare.fleet.stack": "stack",
        "org.opencontainers.image.created": "2025-01-01T00:00:00Z",
        "org.opencontainers.image.title": "stack/api",
        "org.opencontainers.image.version": "aaaa",
    }


def test_a_revision_and_a_source_become_labels() -> None:
    labels = image_labels(WANTED, "abc123", "https://example.org/stack")
    assert labels["org.opencontainers.image.revision"] == "abc123"
    assert labels["org.opencontainers.image.source"] == "https://example.org/stack"


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("ca,src=/etc/shadow", "/etc/ca", "must be of letters"),
        ("", "/etc/ca", "must be of letters"),
        ("ca", "etc/ca", "secrets.ca is 'etc/ca': use an absolute path"),
        ("ca", "/etc/a,b", "without commas"),
        ("ca", '/etc/"a', "without commas or quotes"),
    ],
)
def test_a_secret_cannot_bring_options_of_its_own(name: str, path: str, message: str) -> None:
    with pytest.raises(ImageBuildError, match=message):
        Secret(name, path)


# What BuildKit of engine 20.10 printed through buildx 0.13 and, where said, through the command line of Docker 20.10.
START = """\
#0 building with "default" instance using docker driver

#1 [internal] load remote build context
#1 DONE 0.0s

#2 copy /context /
#2 DONE 0.1s
"""
FAILING_STEP = (
    START
    + """
#5 [2/3] RUN echo one && echo two >&2
#5 0.213 one
#5 0.213 two
#5 DONE 0.3s

#6 [3/3] RUN for i in $(seq 40); do echo line $i; done; exit 7
"""
    + "".join(f"#6 0.{300 + number} line {number}\n" for number in range(1, 41))
    + """\
#6 ERROR: executor failed running [/bin/sh -c for i in $(seq 40); do echo line $i; done; exit 7]: exit code: 7
------
 > [3/3] RUN for i in $(seq 40); do echo line $i; done; exit 7:
0.318 line 39
0.319 line 40
------
ERROR: failed to solve: executor failed running [/bin/sh -c for i in $(seq 40); do echo ...; done; exit 7]: exit code: 7
"""
)


def test_a_failing_step_is_named_with_the_last_lines_of_its_own_output() -> None:
    failure = read_failure(FAILING_STEP)
    assert failure.step == "[3/3] RUN for i in $(seq 40); do echo line $i; done; exit 7"
    assert failure.lines == tuple(f"line {number}" for number in range(16, 41))
    assert failure.error.endswith("exit code: 7")
    assert str(failure).startswith("step [3/3] RUN for i in")
    assert str(failure).endswith("\n  line 40")


def test_another_step_that_was_stopped_with_it_is_not_blamed() -> None:
    output = (
        "#5 [a 1/1] RUN one\n#6 [b 1/1] RUN two\n#6 0.1 from two\n#5 0.2 from one\n#5 CANCELED\n"
        '#6 ERROR: process "/bin/sh -c two" did not complete successfully: exit code: 1\n'
        'ERROR: failed to build: failed to solve: process "/bin/sh -c two" did not complete: exit code: 1\n'
    )
    failure = read_failure(output)
    assert (failure.step, failure.lines) == ("[b 1/1] RUN two", ("from two",))


OTHERS = [
    pytest.param(
        START + "ERROR: failed to solve: rpc error: code = Unknown desc = failed to solve with frontend dockerfile.v0: "
        "failed to create LLB definition: dockerfile parse error line 2: unknown instruction: RUNN\n",
        "dockerfile parse error line 2: unknown instruction: RUNN",
        id="a Dockerfile that cannot be read",
    ),
    pytest.param(
        START + '\n#5 [2/2] COPY nope.txt /x\n#5 ERROR: "/nope.txt" not found: not found\n'
        'ERROR: failed to solve: failed to compute cache key: "/nope.txt" not found: not found\n',
        'step [2/2] COPY nope.txt /x failed: "/nope.txt" not found: not found',
        id="a file that the context lacks",
    ),
    pytest.param(
        START + "\n#3 [internal] load metadata for docker.io/stack/nope:1\n"
        "#3 ERROR: failed to do request: Head: dial tcp: lookup registry.invalid: no such host\n",
        "no such host. That base image is not on this host and no registry gave it: make bases from a Debian archive",
        id="a base that is nowhere",
    ),
    pytest.param(
        START + "\n#5 [2/2] RUN --mount=type=secret,id=ca,required=true cat /run/secrets/ca\n"
        "#5 ERROR: secret ca not found: not found\n",
        "secret ca not found: not found. Name that secret and its file on the host in secrets",
        id="a secret that was not given",
    ),
    pytest.param(
        "#5 [2/2] RUN pip install x\n#5 1.0 SSLError(SSLCertVerificationError(1, 'certificate verify failed'))\n"
        "#5 ERROR: executor failed running [/bin/sh -c pip install x]: exit code: 1\n",
        "Behind a proxy that inspects TLS, give its authority as a secret",
        id="a proxy that inspects",
    ),
    pytest.param(
        "#5 [2/2] RUN dd\n#5 1.0 dd: error writing '/x': No space left on device\n"
        "#5 ERROR: executor failed running [/bin/sh -c dd]: exit code: 1\n",
        "The engine's disk is full",
        id="a full disk",
    ),
    pytest.param(
        "#1 [internal] load remote build context\n#1 sha256:c3d6\n#1 DONE 0.0s\n"
        "failed to solve: rpc error: code = Unknown desc = executor failed running [/bin/sh -c false]: exit code: 1\n",
        "executor failed running [/bin/sh -c false]: exit code: 1",
        id="Docker 20.10's own last line",
    ),
    pytest.param(
        "#9 DONE 0.0s\nexecutor failed running [/bin/sh -c false]: exit code: 1\n\n",
        "executor failed running [/bin/sh -c false]: exit code: 1",
        id="a bare last line",
    ),
    pytest.param("", "docker build said nothing", id="silence"),
]


@pytest.mark.parametrize(("output", "message"), OTHERS)
def test_a_failure_names_its_cause_and_the_way_out(output: str, message: str) -> None:
    assert message in str(read_failure(output))


@pytest.mark.parametrize(
    "said",
    [
        "Temporary failure in name resolution",
        "ERROR: No matching distribution found for fastapi==1.0",
        "npm error code EAI_AGAIN",
        "OSError: [Errno 101] Network is unreachable",
    ],
)
def test_what_an_offline_build_misses_is_told_from_other_faults(said: str) -> None:
    output = f"#5 [1/1] RUN fetch\n#5 0.1 {said}\n#5 ERROR: exit code: 1\n"
    assert "has no network" in read_failure(output, offline=True).advice
    assert "has no network" not in read_failure(output).advice


@pytest.mark.parametrize(
    "said",
    [
        "executor failed running [/bin/sh -c {}]: exit code: 3",
        'process "/bin/sh -c {}" did not complete successfully: exit code: 3',
    ],
)
def test_a_long_step_is_named_once_and_shortened(said: str) -> None:
    command = "make " + "  and-more " * 30
    failure = read_failure(f"#5 [1/1] RUN {command}\n#5 0.1 no\n#5 ERROR: {said.format(command)}\n")
    first = str(failure).splitlines()[0]
    assert first.startswith("step [1/1] RUN make and-more and-more")
    assert first.endswith("… failed: exit code: 3")
    assert len(first) < 160
