# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A lab host that is audited: made good first, so that a test can break one thing at a time."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

from ansible_collections.emorobcare.fleet.tests.faults._lab_host import LabHost
from ansible_collections.emorobcare.fleet.tests.faults._releases import Result

# One process for all audits of a test: a module's start would take longer than what it does.
AUDITOR = """
import datetime, json, sys
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_judge import judge, read_rules
from ansible_collections.emorobcare.fleet.plugins.module_utils._cis_look import look
from ansible_collections.emorobcare.fleet.plugins.module_utils._docker_cli import default_cli
for line in sys.stdin:
    rows = judge(look(default_cli(), []), read_rules(json.loads(line)), datetime.date.today())
    print(json.dumps([row.as_result() for row in rows]), flush=True)
"""
CONFIG: dict[str, t.Any] = {
    "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 4096, "Hard": 4096}},
    "icc": False,
    "live-restore": True,
    "log-driver": "syslog",
    "log-opts": {"syslog-address": "udp://192.0.2.1:514"},
    "no-new-privileges": True,
    "tlscacert": "/etc/docker/tls/ca.pem",
    "tlscert": "/etc/docker/tls/cert.pem",
    "tlskey": "/etc/docker/tls/key.pem",
    "tlsverify": True,
    "userland-proxy": False,
}
# A certificate that is its own authority is enough for an engine that listens on loopback. Of the files each rule is to
# have one, wherever Debian has none.
_GOOD = r"""
set -e
mkdir -p /etc/docker/tls /etc/docker/certs.d/registry.test:5000 /etc/sysconfig /etc/systemd/system/docker.service.d
cd /etc/docker/tls
openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=audited -days 2 -keyout key.pem -out cert.pem 2>/dev/null
cp cert.pem ca.pem
cp cert.pem /etc/docker/certs.d/registry.test:5000/ca.crt
chmod 0444 ca.pem cert.pem /etc/docker/certs.d/registry.test:5000/ca.crt
chmod 0400 key.pem
touch /etc/sysconfig/docker
printf '%s\n' '[Service]' 'ExecStart=' \
  'ExecStart=/usr/sbin/dockerd -H fd:// -H tcp://127.0.0.1:2376 --containerd=/run/containerd/containerd.sock' \
  > /etc/systemd/system/docker.service.d/tcp.conf
chmod 0644 /etc/sysconfig/docker /etc/systemd/system/docker.service.d/tcp.conf
echo KbdInteractiveAuthentication no > /etc/ssh/sshd_config.d/audited.conf
for name in all default; do
  echo 0 > /proc/sys/net/ipv4/conf/$name/accept_redirects
  echo 0 > /proc/sys/net/ipv4/conf/$name/accept_source_route
done
for tables in iptables ip6tables; do
  $tables --append INPUT --in-interface lo --jump ACCEPT
  $tables --append INPUT --protocol tcp --dport 22 --jump ACCEPT
  $tables --append INPUT --match conntrack --ctstate ESTABLISHED,RELATED --jump ACCEPT
  $tables --policy INPUT DROP
done
systemctl daemon-reload
"""


class Audited(LabHost):
    """The machine; `work` is a folder for its keys."""

    def __init__(self, work: Path) -> None:
        super().__init__(work, "audit", "audited")
        self._auditor: subprocess.Popen[str] | None = None

    def set_up(self) -> None:
        self.shell(_GOOD)
        self.configure(**CONFIG)
        argv = [*self.python, "-c", AUDITOR]
        self._auditor = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __exit__(self, *exc: object) -> None:
        if self._auditor is not None:
            self._auditor.communicate()
        super().__exit__()

    def configure(self, **options: t.Any) -> None:
        """Give the engine these options and start it anew."""
        self.write("/etc/docker/daemon.json", json.dumps(options))
        self.run("chmod", "0644", "/etc/docker/daemon.json")
        self.restart()

    def restart(self) -> None:
        # systemd would refuse the fourth start within a minute.
        self.shell("systemctl reset-failed docker docker.socket; systemctl restart docker")

    def audit(self, **rules: t.Any) -> list[Result]:
        auditor = self._auditor
        assert auditor is not None
        assert auditor.stdin is not None
        assert auditor.stdout is not None
        auditor.stdin.write(json.dumps(rules) + "\n")
        auditor.stdin.flush()
        return t.cast("list[Result]", json.loads(auditor.stdout.readline()))

    def statuses(self, **rules: t.Any) -> dict[str, str]:
        """The status by slug, of containers and images the worst."""
        found: dict[str, str] = {}
        for row in self.audit(**rules):
            if found.get(row["slug"]) != "fail":
                found[row["slug"]] = row["status"]
        return found
