# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""The controls of section 5, containers, in our own words. What they look at is in _cis_containers. Pure data.

A way out names the key of a Compose file to write; `docker run` has an option of the same name for nearly each.
"""

from __future__ import annotations

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control

ENGINE_CONTROLS = (
    Control(
        "5.1",
        "swarm-mode",
        "Swarm mode is off where nobody needs it",
        "Leave the Swarm (docker swarm leave), or let the control pass with a reason where stacks are spread by it",
        "recorded",
        why="A host is in a Swarm because somebody wants stacks spread over several; leaving it stops their services.",
    ),
)

CONTAINER_CONTROLS = (
    Control(
        "5.2",
        "apparmor-profile",
        "AppArmor confines the container, where the kernel has it",
        "Take apparmor=unconfined out of security_opt: the engine's own profile counts then; or name one of yours",
        "enforced",
    ),
    Control(
        "5.3",
        "selinux-labels",
        "SELinux confines the container, where the kernel has it",
        "Take label=disable out of security_opt",
        "enforced",
    ),
    Control(
        "5.4",
        "capabilities",
        "The container has no capability that it does not need",
        "Write cap_drop: [ALL], and into cap_add only what the service cannot do without; none that rules the host",
        "enforced",
    ),
    Control(
        "5.5",
        "privileged",
        "The container is not privileged",
        "Take privileged out, and name what the service needs of it: capabilities in cap_add, devices in devices",
        "enforced",
    ),
    Control(
        "5.6",
        "host-paths",
        "No folder that the host itself lives by is mounted",
        "Take the path out of volumes: mount the one file that is needed, or a named volume, or put it into the image",
        "enforced",
    ),
    Control(
        "5.7",
        "ssh-server",
        "No SSH server runs in the container",
        "Take sshd out of command or entrypoint and out of the image; docker exec opens a shell without it",
        "enforced",
    ),
    Control(
        "5.8",
        "privileged-ports",
        "No port of the host below 1024 leads to the container",
        "Publish a port from 1024 on in ports; let stack.yml's ingress have the low one, where people ask for it",
        "enforced",
    ),
    Control(
        "5.9",
        "needed-ports",
        "Only ports that are needed lead to the container",
        "Take out of ports what only other services use: they reach each other by their network",
        "recorded",
        why="Which ports are needed, nobody knows but who runs the service.",
    ),
    Control(
        "5.10",
        "host-network",
        "The container has a network of its own, not the host's",
        "Take network_mode: host out, and publish what must be reached in ports",
        "enforced",
    ),
    Control(
        "5.11",
        "memory-limit",
        "The container's memory is limited",
        "Write deploy.resources.limits.memory (or mem_limit)",
        "enforced",
    ),
    Control(
        "5.12",
        "cpu-limit",
        "The container's share of processors is said",
        "Write deploy.resources.limits.cpus (or cpus, or cpu_shares)",
        "enforced",
    ),
    Control(
        "5.13",
        "read-only-root",
        "The container's root file system is read-only",
        "Write read_only: true, and give what must be written a volume in volumes or a place in tmpfs",
        "enforced",
    ),
    Control(
        "5.14",
        "port-address",
        "A published port is bound to an address that was chosen",
        'Write the address before the port in ports: "127.0.0.1:8080:8080"',
        "enforced",
    ),
    Control(
        "5.15",
        "restart-limit",
        "A container that keeps failing is not started again for ever",
        "Write restart: on-failure:5",
        "opt-in",
        why="The engine does not start such a container again after a power cut that it did not fail by, so a robot "
        "would come up without it. The gate counts restarts instead, and refuses a release that keeps failing.",
    ),
    Control(
        "5.16",
        "host-pid",
        "The container does not see the host's processes",
        "Take pid: host out",
        "enforced",
    ),
    Control(
        "5.17",
        "host-ipc",
        "The container does not share the host's memory segments and queues",
        "Take ipc: host out; shm_size gives it shared memory of its own",
        "enforced",
    ),
    Control(
        "5.18",
        "devices",
        "No device of the host is handed to the container",
        "Take out of devices, gpus and device_cgroup_rules what is not needed; hand over single devices, no disk, no "
        "memory",
        "enforced",
    ),
    Control(
        "5.19",
        "container-ulimits",
        "The container does not lift the engine's limits of files and processes",
        "Give the limit in ulimits a number, or take it out: the engine's default counts then",
        "enforced",
    ),
    Control(
        "5.20",
        "mount-propagation",
        "What the container mounts does not show up on the host",
        "Take shared and rshared out of volumes (bind.propagation)",
        "enforced",
    ),
    Control(
        "5.21",
        "host-uts",
        "The container cannot rename the host",
        "Take uts: host out",
        "enforced",
    ),
    Control(
        "5.22",
        "seccomp-profile",
        "Seccomp filters the container's system calls",
        "Take seccomp=unconfined out of security_opt: the engine's own profile counts then; or name one of yours there",
        "enforced",
    ),
    Control(
        "5.23",
        "exec-privileged",
        "Nobody runs commands in a container with docker exec --privileged",
        "Have the audit log of the docker program read, and take the option out of scripts",
        "recorded",
        why="The engine keeps no record of what was run in a container; the kernel's audit log does, where it is on.",
    ),
    Control(
        "5.24",
        "exec-root",
        "Nobody runs commands in a container with docker exec --user root",
        "Have the audit log of the docker program read, and take the option out of scripts",
        "recorded",
        why="The engine keeps no record of what was run in a container; the kernel's audit log does, where it is on.",
    ),
    Control(
        "5.25",
        "cgroup-parent",
        "The container is in the engine's own control group",
        "Take cgroup_parent out",
        "enforced",
    ),
    Control(
        "5.26",
        "new-privileges",
        "No process of the container can gain rights that it did not start with",
        'Write security_opt: ["no-new-privileges:true"]',
        "enforced",
    ),
    Control(
        "5.27",
        "health-check",
        "The engine asks whether the container is healthy",
        "Write healthcheck, or HEALTHCHECK in the Dockerfile",
        "enforced",
    ),
    Control(
        "5.28",
        "image-version",
        "The image is named by a version, so that everybody knows which one runs",
        "Write the version, or better the digest, into image: name:1.2.3@sha256:…",
        "enforced",
    ),
    Control(
        "5.29",
        "pids-limit",
        "The number of the container's processes is limited",
        "Write deploy.resources.limits.pids (or pids_limit)",
        "enforced",
    ),
    Control(
        "5.30",
        "default-bridge",
        "The container is not on the network that every container shares (docker0)",
        "Take network_mode: bridge out, and name networks of the stack's own in networks",
        "enforced",
    ),
    Control(
        "5.31",
        "host-userns",
        "The container does not leave the user namespace that the engine gives it",
        "Take userns_mode: host out",
        "enforced",
    ),
    Control(
        "5.32",
        "docker-socket-mounted",
        "The engine's socket is not in the container: who has it has the host",
        "Take the socket out of volumes, and use_api_socket out; who must see containers asks a proxy that lets only "
        "reading pass",
        "enforced",
    ),
)
