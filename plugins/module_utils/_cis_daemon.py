# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.
"""Section 2 of the benchmark: how the engine runs. Facts in, evidence out; pure.

Where the engine tells what it goes by, that counts; what it does not tell is taken from its flags and daemon.json, and
counts only if the engine has read the file since it was last changed.
"""

from __future__ import annotations

import functools
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_control import Control, Kind, Looked, Rule
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_facts import EngineFacts, Found

GIVEN_UP_DRIVERS = ("aufs", "devicemapper")
LOCAL_LOGS = ("journald", "json-file", "local", "none")
"""Log drivers whose messages stay on the host."""

# The option that says where such a driver sends to; without, or with one of these, that is the host itself.
_LOG_ADDRESSES = {"fluentd": "fluentd-address", "gelf": "gelf-address", "syslog": "syslog-address"}
_OF_THE_HOST = re.compile(r"|unix(?:gram)?:.*|(?:\w+://)?(?:localhost|127\..*|0\.0\.0\.0|\[::1?\]|)(?::\d*)?")

Look = t.Callable[[EngineFacts], Looked]


def _of_info(look: Look) -> Look:
    """Wrap a rule that needs the engine's own word."""

    @functools.wraps(look)
    def wrapped(engine: EngineFacts) -> Looked:
        return Looked(unknown=engine.silent) if engine.silent else look(engine)

    return wrapped


def _of_options(look: Look) -> Look:
    """Wrap a rule that goes by options which the engine does not tell: a pass needs that it has read them."""

    @functools.wraps(look)
    def wrapped(engine: EngineFacts) -> Looked:
        if engine.options_problem:
            return Looked(unknown=engine.options_problem)
        looked = look(engine)
        return Looked(unknown=engine.pending) if engine.pending and not looked.evidence else looked

    return wrapped


@_of_info
def _rootless(engine: EngineFacts) -> Looked:
    if "rootless" in engine.security:
        return Looked(seen="the engine runs as a user")
    return Looked(("the engine runs as root",))


@_of_info
def _icc(engine: EngineFacts) -> Looked:
    if engine.bridge_problem:
        return Looked(unknown=engine.bridge_problem)
    if engine.bridge is None:
        return Looked(not_applicable="there is no default network")
    value = engine.bridge.get("com.docker.network.bridge.enable_icc", "true")
    return _held(value == "false", "icc is false", f"containers on the default network reach each other (icc {value})")


@_of_options
def _log_level(engine: EngineFacts) -> Looked:
    level = "debug" if engine.info.get("Debug") else str(engine.options.get("log-level") or "info")
    return _held(level == "info", "log-level info", f"log-level is {level}")


@_of_options
def _iptables(engine: EngineFacts) -> Looked:
    off = engine.options.get("iptables") is False
    return _held(not off, "the engine sets its own rules", "iptables is false")


@_of_info
def _insecure_registries(engine: EngineFacts) -> Looked:
    registries = engine.info.get("RegistryConfig") or {}
    names = [name for name, one in (registries.get("IndexConfigs") or {}).items() if not one.get("Secure", True)]
    loopback = ("127.0.0.0/8", "::1/128")
    ranges = [one for one in registries.get("InsecureRegistryCIDRs") or () if one not in loopback]
    evidence = tuple(f"{name} is asked without TLS" for name in [*names, *ranges])
    return Looked(evidence, seen="every registry beyond loopback is asked by TLS")


@_of_info
def _storage_driver(engine: EngineFacts) -> Looked:
    driver = str(engine.info.get("Driver"))
    return _held(driver not in GIVEN_UP_DRIVERS, driver, f"the storage driver is {driver}")


def _tls(found: Found) -> Looked:
    engine = found.engine
    if engine.options_problem:
        return Looked(unknown=engine.options_problem)
    if found.host.socket_units.problem:
        return Looked(unknown=found.host.socket_units.problem)
    hosts = engine.options.get("hosts") or ()
    open_to = [
        str(host) for host in hosts if "://" in str(host) and not str(host).startswith(("unix:", "fd:", "npipe:"))
    ]
    open_to += [str(host) for host in hosts if "://" not in str(host)]
    # A socket that systemd opens is handed over as it is: no option of the engine's makes TLS of that one.
    by_systemd = tuple(f"docker.socket listens on {one}, without TLS" for one in found.host.socket_listens)
    verified = engine.options.get("tlsverify") is True
    evidence = (
        () if verified else tuple(f"the engine listens on {one} without asking for certificates" for one in open_to)
    )
    if not open_to and not by_systemd:
        return Looked(seen="the engine listens on no network")
    if engine.pending and not by_systemd and not evidence:
        return Looked(unknown=engine.pending)
    return Looked((*by_systemd, *evidence), seen=f"{', '.join(open_to)} with tlsverify")


@_of_options
def _ulimits(engine: EngineFacts) -> Looked:
    limits = engine.options.get("default-ulimits")
    names = ", ".join(sorted(limits)) if isinstance(limits, t.Mapping) else ""
    return _held(
        bool(names), f"limits for {names}", "containers get the engine's own limits: default-ulimits is not set"
    )


@_of_info
def _userns(engine: EngineFacts) -> Looked:
    found = [name for name in ("userns", "rootless") if name in engine.security]
    return _held(bool(found), ", ".join(found), "root of a container is root of the host")


@_of_options
def _cgroup_parent(engine: EngineFacts) -> Looked:
    parent = str(engine.options.get("cgroup-parent") or "")
    return _held(not parent, "the engine's own", f"cgroup-parent is {parent}")


@_of_options
def _base_size(engine: EngineFacts) -> Looked:
    options = [str(one) for one in engine.options.get("storage-opts") or () if str(one).startswith("dm.basesize")]
    return Looked(tuple(f"storage-opts has {one}" for one in options), seen="dm.basesize is not set")


@_of_info
def _authorization(engine: EngineFacts) -> Looked:
    plugins = (engine.info.get("Plugins") or {}).get("Authorization") or ()
    return _held(bool(plugins), ", ".join(plugins), "whoever reaches the socket may do all: no authorization plugin")


@_of_info
def _central_logs(engine: EngineFacts) -> Looked:
    driver = str(engine.info.get("LoggingDriver"))
    if driver in _LOG_ADDRESSES:
        return _log_address(engine)
    return _held(driver not in LOCAL_LOGS, driver, f"logs stay on the host: log-driver is {driver}")


@_of_options
def _log_address(engine: EngineFacts) -> Looked:
    driver, options = str(engine.info.get("LoggingDriver")), engine.options.get("log-opts")
    name = _LOG_ADDRESSES[driver]
    address = str(options.get(name) or "") if isinstance(options, t.Mapping) else ""
    where = f"{name} is {address}" if address else f"{name} is not set"
    return _held(
        not _OF_THE_HOST.fullmatch(address),
        f"{driver} to {address}",
        f"logs stay on the host: log-driver is {driver}, and {where}",
    )


def _no_new_privileges(engine: EngineFacts) -> Looked:
    if not engine.silent and "no-new-privileges" in engine.security:  # engines from 23 tell
        return Looked(seen="the engine says so")
    return _no_new_privileges_by_options(engine)


@_of_options
def _no_new_privileges_by_options(engine: EngineFacts) -> Looked:
    if engine.options.get("no-new-privileges") is not True:
        return Looked(("programs of a container may gain privileges: no-new-privileges is not true",))
    if engine.silent:
        return Looked(unknown=engine.silent)
    version = str(engine.info.get("ServerVersion") or "")
    if version.partition(".")[0].isdigit() and int(version.partition(".")[0]) >= 23:
        return Looked(("daemon.json says no-new-privileges, the engine runs without it: restart it",))
    return Looked(seen="no-new-privileges is true")


@_of_info
def _live_restore(engine: EngineFacts) -> Looked:
    if engine.in_swarm:
        return Looked(not_applicable="a member of a Swarm cannot have live-restore")
    on = engine.info.get("LiveRestoreEnabled") is True
    told = engine.options.get("live-restore") is True
    off = "daemon.json says live-restore, the engine runs without it" if told else "containers end with the engine"
    return _held(on, "live-restore is on", off)


@_of_options
def _userland_proxy(engine: EngineFacts) -> Looked:
    off = engine.options.get("userland-proxy") is False
    return _held(off, "userland-proxy is false", "a process for each published port: userland-proxy is not false")


@_of_info
def _seccomp(engine: EngineFacts) -> Looked:
    profile = engine.security.get("seccomp")
    if profile is None:
        return Looked(("the engine filters no system calls: the kernel or the engine has no seccomp",))
    return _held(profile != "unconfined", f"profile {profile}", "the engine's seccomp profile is unconfined")


@_of_info
def _experimental(engine: EngineFacts) -> Looked:
    on = engine.info.get("ExperimentalBuild") is True
    return _held(not on, "off", "experimental features are on")


def _held(holds: bool, seen: str, evidence: str) -> Looked:
    return Looked(seen=seen) if holds else Looked((evidence,))


def _rule(
    number: str,
    slug: str,
    title: str,
    way_out: str,
    look: Look,
    kind: Kind = "enforced",
    subject: str = "daemon",
    why: str = "",
) -> Rule[Found]:
    major, minor = number.split(".")
    # 1.8.0 puts a control on devicemapper after the one on aufs.
    newer = "2.6, 2.7" if number == "2.6" else f"{major}.{int(minor) + 1}" if int(minor) > 6 else ""
    control = Control(number, slug, title, way_out, kind, subject, why, newer)
    return Rule(control, lambda found: look(found.engine))


def _setting(option: str, value: str) -> str:
    return f'Set "{option}": {value} by docker_host_daemon or module docker_daemon'


_RULES: tuple[Rule[Found], ...] = (
    _rule(
        "2.1",
        "rootless",
        "The engine runs as a user without rights",
        "Set docker_host_rootless for a host that can live with its limits",
        _rootless,
        "opt-in",
        "rootless",
        "no AppArmor, no overlay networks, no ports below 1024 and no limits without further settings, a slower "
        "network, devices only as far as that user may use them; what the engine with root had is not seen any more",
    ),
    _rule(
        "2.2",
        "icc",
        "Containers on the default network do not reach each other",
        _setting("icc", "false"),
        _icc,
    ),
    _rule("2.3", "log-level", "The engine logs at level info", _setting("log-level", '"info"'), _log_level),
    _rule(
        "2.4",
        "iptables",
        "The engine may set the packet filter's rules",
        "Take iptables out of daemon.json and of the engine's flags",
        _iptables,
    ),
    _rule(
        "2.5",
        "insecure-registries",
        "No registry is asked without TLS",
        "Give the registry a certificate (/etc/docker/certs.d), and take it out of insecure-registries",
        _insecure_registries,
    ),
    _rule(
        "2.6",
        "storage-driver",
        "The storage driver is none that was given up (aufs, devicemapper)",
        "Save what matters, then move the engine to overlay2, which does not see what the old driver has",
        _storage_driver,
    ),
    Rule(
        Control(
            "2.7",
            "engine-tls",
            "Whoever reaches the engine over a network shows a certificate",
            "Take tcp:// out of hosts and of docker.socket, and use ssh:// instead; or set tlsverify with tlscacert, "
            "tlscert and tlskey",
            "enforced",
            "daemon",
            number_18="2.8",
        ),
        _tls,
    ),
    _rule(
        "2.8",
        "default-ulimits",
        "Containers get limits for files and processes",
        _setting("default-ulimits", '{"nofile": {"Name": "nofile", "Soft": 65536, "Hard": 65536}}'),
        _ulimits,
    ),
    _rule(
        "2.9",
        "userns-remap",
        "Root of a container is nobody on the host",
        "Set docker_host_userns, best on a host that has no containers yet",
        _userns,
        "opt-in",
        "userns",
        "images, containers and volumes from before are not seen any more, files of bind mounts belong to other ids, "
        "and containers with the host's network or with devices lose rights",
    ),
    _rule(
        "2.10",
        "default-cgroup",
        "Containers are below the engine's own control group",
        "Take cgroup-parent out of daemon.json, or excuse it in rules if that group has the limits that you want",
        _cgroup_parent,
    ),
    _rule(
        "2.11",
        "base-device-size",
        "The size of containers' devices is the engine's own",
        "Take dm.basesize out of storage-opts",
        _base_size,
    ),
    _rule(
        "2.12",
        "authorization-plugin",
        "A plugin decides who may ask the engine for what",
        "Install a plugin, and name it in authorization-plugins",
        _authorization,
        "recorded",
        "",
        "no plugin comes with Debian or with the engine, and a plugin that fails stops all work with containers; who "
        "reaches the socket at all is held by 1.1.2, 2.7, 3.15 and 3.16",
    ),
    _rule(
        "2.13",
        "central-logs",
        "Logs of containers leave the host",
        _setting("log-driver", '"syslog", "fluentd" or "gelf", with the address of another host in log-opts,'),
        _central_logs,
        "recorded",
        "",
        "a robot without a network must keep its own logs, and a receiver that is away must not stop its containers; "
        "logs are kept on the host within limits, and a collector reads them from there",
    ),
    _rule(
        "2.14",
        "default-no-new-privileges",
        "Programs of a container gain no privileges",
        _setting("no-new-privileges", "true"),
        _no_new_privileges,
    ),
    _rule(
        "2.15",
        "live-restore",
        "Containers run on while the engine is away",
        _setting("live-restore", "true"),
        _live_restore,
    ),
    _rule(
        "2.16",
        "userland-proxy",
        "The kernel alone forwards published ports",
        _setting("userland-proxy", "false"),
        _userland_proxy,
    ),
    _rule(
        "2.17",
        "default-seccomp",
        "The engine filters system calls by a profile that fits",
        "Take seccomp-profile out of daemon.json, or set docker_host_seccomp for one of your own",
        _seccomp,
        "enforced",
        "daemon, seccomp",
    ),
    _rule(
        "2.18",
        "experimental",
        "The engine has no experimental features",
        "Take experimental out of daemon.json and of the engine's flags",
        _experimental,
    ),
)

DAEMON_CONTROLS = tuple(rule.control for rule in _RULES)


def look_at_daemon(found: Found) -> dict[str, Looked]:
    """Return what each rule of this section found, by its slug."""
    return {rule.control.slug: rule.look(found) for rule in _RULES}
