#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: depot_packages
short_description: Fill a repository for apt that hosts without a network install from
version_added: 0.1.0
description:
  - Works out which Debian packages a bare host may lack to install O(packages), and downloads them from a Debian
    archive into C(SUITE/) below O(dest), a repository that apt reads from a folder.
  - apt does the work, below a root of its own in C(DEST.apt/). It checks the archive's signatures and every digest. The
    machine's own packages, sources and lists do not count and are not touched, so that the result is the same on any
    builder, for other architectures too.
  - All that the packages depend on is in the repository, down to the C library, whatever the host may have already. So
    it fits a host that has not been updated for years. What packages only recommend is left out.
  - For Debian 12, C(docker-compose) and C(docker-buildx) come from Debian 13, and nothing else does that Debian 12 has.
  - The same packages give the same bytes. A second release of a depot takes no more room for them.
  - An interrupted download is gone on with. A file that is not what the archive's index says is fetched again.
  - Packages that are in the repository and are not needed any more are removed from it.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
    details:
      - Reads the archive's package lists, into a temporary folder, and tells packages and bytes.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - As long as the archive has no newer versions, which is what there is to fetch then.
requirements:
  - A Debian machine with C(apt) 2.6 or later.
  - A keyring that knows the suite (Debian package C(debian-archive-keyring)).
options:
  dest:
    description:
      - Folder for the repositories, one below it for each suite. It is created if it is missing.
      - Use one for each architecture.
    type: path
    required: true
  suite:
    description:
      - Debian release of the hosts, by its code name.
    type: str
    choices:
      - bookworm
      - trixie
    required: true
  architecture:
    description:
      - Architecture of the hosts, as Debian calls it.
    type: str
    choices:
      - amd64
      - arm64
      - armhf
    default: amd64
  packages:
    description:
      - Packages that hosts are to be able to install, as C(apt-get install) takes them, a version pattern included
        (V(docker-compose=2.*)).
      - By default those that the roles P(emorobcare.fleet.docker_host#role) and P(emorobcare.fleet.compose_deploy#role)
        install, C(restic) for backups and C(openssl).
    type: list
    elements: str
  mirror:
    description:
      - URI of a Debian archive that has the suite and its updates.
      - By default the one that this machine's own package sources name.
    type: str
    default: ""
  security_mirror:
    description:
      - URI of an archive with Debian's security updates.
      - By default the one that this machine's own package sources name, or none if O(mirror) is set.
    type: str
    default: ""
  keyring:
    description:
      - File with the keys that the archive must be signed with.
    type: path
    default: /usr/share/keyrings/debian-archive-keyring.gpg
notes:
  - Need not be root.
"""

EXAMPLES = r"""
- name: Have all that robots with Debian 13 install on the builder's disk
  emorobcare.fleet.depot_packages:
    dest: /srv/depot-input/packages
    suite: trixie
    architecture: arm64

- name: Add one of our own, from the site's mirror
  emorobcare.fleet.depot_packages:
    dest: /srv/depot-input/packages
    suite: bookworm
    packages: [docker.io, docker-compose=2.*, docker-buildx, iptables, python3-apt, python3-jmespath, alsa-utils]
    mirror: file:/srv/mirror/debian
"""

RETURN = r"""
path:
  description: The repository's folder.
  returned: success
  type: str
  sample: /srv/depot-input/packages/trixie
packages:
  description: All packages of the repository, in the order of their names.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the package.
      type: str
      sample: docker.io
    version:
      description: Its version.
      type: str
      sample: 26.1.5+dfsg1-9+b9
    path:
      description: Where it is in the repository.
      type: str
      sample: pool/docker.io_26.1.5+dfsg1-9+b9_amd64.deb
    sha256:
      description: Digest of the file.
      type: str
      sample: 2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f
    size:
      description: Size in bytes.
      type: int
      sample: 23036836
    fetched:
      description: Whether it was downloaded, or would be in check mode.
      type: bool
      sample: true
bytes:
  description: Bytes of all packages.
  returned: success
  type: int
  sample: 126867624
bytes_to_fetch:
  description: Bytes of the packages that had to be downloaded, or would have to be in check mode.
  returned: success
  type: int
  sample: 126867624
removed:
  description: Files that were not needed any more, or would be removed in check mode.
  returned: success
  type: list
  elements: str
  sample: [pool/docker.io_26.1.5+dfsg1-9+b8_amd64.deb]
mirrors:
  description: The archives that the packages come from.
  returned: success
  type: list
  elements: str
reason:
  description: Why the task was refused or failed, as one word for automation.
  returned: failure
  type: str
  choices:
    - invalid
    - unavailable
    - unsigned
    - clock
    - mixed
    - blob_corrupt
    - unsafe_path
    - no_space
    - locked
    - library_missing
    - io_error
  sample: unavailable
"""

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_apt import KEYRING, Wanted, check_wanted
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages import (
    ARCHITECTURES,
    SUITES,
    Plan,
    default_packages,
    make_plan,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_packages_write import (
    Apt,
    check_room,
    is_outdated,
    publish,
)
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_run import by_module
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_tree import digests_below

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "dest": {"type": "path", "required": True},
    "suite": {"type": "str", "choices": list(SUITES), "required": True},
    "architecture": {"type": "str", "choices": list(ARCHITECTURES), "default": "amd64"},
    "packages": {"type": "list", "elements": "str"},
    "mirror": {"type": "str", "default": ""},
    "security_mirror": {"type": "str", "default": ""},
    "keyring": {"type": "path", "default": KEYRING},
}


def make_wanted(params: dict[str, t.Any], apt: Apt) -> Wanted:
    """Return what is asked of which archive.

    Raises:
        DepotError: an option has no such value, or no archive is known (`invalid`).
    """
    mirror, security = params["mirror"], params["security_mirror"]
    if not mirror:
        mirror, own_security = apt.mirrors(params["suite"])
        security = security or own_security
    packages = default_packages(params["suite"]) if params["packages"] is None else params["packages"]
    wanted = Wanted(params["suite"], params["architecture"], tuple(packages), mirror, security, params["keyring"])
    check_wanted(wanted)
    if not mirror:
        raise DepotError(
            "no package source of this machine names a Debian archive; set mirror to the URI of one", reason="invalid"
        )
    return wanted


def report(plan: Plan, wanted: Wanted, repository: str) -> dict[str, t.Any]:
    """Return what there is to tell of a plan."""
    missing = set(plan.missing)
    packages = [
        {
            "name": package.name,
            "version": package.version,
            "path": package.path,
            "sha256": package.sha256,
            "size": package.size,
            "fetched": package in missing,
        }
        for package in plan.packages
    ]
    before = [*(package.path for package in plan.packages if package not in missing), *plan.stale]
    after = [package.path for package in plan.packages]
    return {
        "path": repository,
        "packages": packages,
        "bytes": plan.size,
        "bytes_to_fetch": plan.bytes_to_fetch,
        "removed": list(plan.stale),
        "mirrors": [one for one in (wanted.mirror, wanted.security_mirror) if one],
        "diff": {
            "before_header": repository,
            "after_header": repository,
            "before": "".join(f"{path}\n" for path in sorted(before)),
            "after": "".join(f"{path}\n" for path in sorted(after)),
        },
    }


def run(module: AnsibleModule) -> dict[str, t.Any]:
    """Look, plan, refuse what cannot work (in check mode too), carry out."""
    params = module.params
    dest, suite, architecture = os.path.abspath(params["dest"]), params["suite"], params["architecture"]
    repository = os.path.join(dest, suite)
    root = module.tmpdir if module.check_mode else f"{dest}.apt"

    apt = Apt(os.path.join(root, f"{suite}-{architecture}"), by_module(module.run_command))
    wanted = make_wanted(params, apt)
    apt.prepare(wanted)
    found = digests_below(repository)
    plan = make_plan(apt.resolve(wanted), found)
    check_room(repository, plan)
    changed = is_outdated(repository, plan, found, suite, architecture)
    if changed and not module.check_mode:
        if plan.missing:
            apt.download(wanted, plan, repository)
        publish(repository, apt.archives, plan, suite, architecture)
        apt.clear()
    if not wanted.security_mirror:
        module.warn(f"no archive of Debian's security updates is known: the packages for {suite} lack them")
    return {"changed": changed, **report(plan, wanted, repository)}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = run(module)
    except DepotError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason, **exc.details)
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename or module.params['dest']}: {exc.strerror}", reason="io_error")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
