#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_host_probe
short_description: Ask what containers of a host can do
version_added: 0.1.0
description:
  - Starts one container on the host's own engine, for about a second, and asks whether it resolves a name (C(dns)),
    reaches another machine (C(outbound)), shares a folder with the host (C(bind_mount)), keeps data in a named volume
    (C(volume)), is reached by a published port at an address of the host that is not loopback (C(published_port)), and
    ends when it is told to (C(sigterm)). It is on a network of its own, as the services of stacks are.
  - No image comes from anywhere. The container's is made on the spot of folders and links alone, and sees the host's
    own C(/usr), read-only, with the Python there.
  - All that is made carries the label C(org.emorobcare.fleet.probe), and is removed. What a probe left behind that was
    killed is removed by the next one.
  - Fails when a probe does. What the host itself cannot do, what was not asked, and everything on a host without an
    engine is V(not applicable), and says why; that is no success.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: partial
    details:
      - In check mode nothing is asked, since the engine may only come with the real run.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  dns:
    description: A name that containers must be able to resolve, if the host itself can. Empty not to ask.
    type: str
    default: ""
  outbound:
    description: C(host:port) that they must be able to reach, if the host itself can. Empty not to ask.
    type: str
    default: ""
  timeout:
    description: Seconds for one answer.
    type: float
    default: 10
notes:
  - The published port is asked for from the host itself. What drops only what comes from other machines is not noticed.
requirements:
  - the C(docker) command line on the host
seealso:
  - module: emorobcare.fleet.host_change
"""

EXAMPLES = r"""
- name: See whether containers work here
  emorobcare.fleet.docker_host_probe:
    dns: example.com
    outbound: example.com:443
"""

RETURN = r"""
probes:
  description: What each probe found, by its name.
  type: dict
  returned: always, but in check mode
  contains:
    status:
      description: V(pass), V(fail) or V(not applicable).
      type: str
    detail:
      description: What was found, or why it does not apply.
      type: str
  sample:
    dns: {status: pass, detail: example.com is 192.0.2.80}
    sigterm: {status: pass, detail: a container ends when it is told to}
reason:
  description: Why it failed, V(probe_failed) or V(invalid).
  type: str
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.emorobcare.fleet.plugins.module_utils._host_error import HostError
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe import as_result, failed
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_container import QUESTIONS, read_asked
from ansible_collections.emorobcare.fleet.plugins.module_utils._host_probe_run import probe


def main() -> None:
    module = AnsibleModule(argument_spec=QUESTIONS, supports_check_mode=True)
    try:
        asked = read_asked(module.params)
        if module.check_mode:
            module.exit_json(changed=False, skipped=True, msg="nothing is asked in check mode")
        probes = probe(asked)
    except HostError as exc:
        module.fail_json(msg=str(exc), reason=exc.reason)
    wrong = failed(probes)
    if wrong:
        told = "; ".join(f"{name}: {probes[name].detail}" for name in wrong)
        told = f"containers of this host do not work as they should: {told}"
        module.fail_json(msg=told, reason="probe_failed", probes=as_result(probes))
    module.exit_json(changed=False, probes=as_result(probes))


if __name__ == "__main__":
    main()
