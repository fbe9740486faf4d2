# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that ask what containers can do, before and after a change of their host."""

    DOCUMENTATION = r"""
options:
  probe:
    description:
      - Whether to ask what containers can do, before and after the change, as M(emorobcare.fleet.docker_host_probe)
        does. What passed before must pass again, or the change is taken back.
    type: bool
    default: true
  probes:
    description: What to ask, besides what every host should do.
    type: dict
    suboptions:
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
      settle:
        description: Seconds that what was restarted gets until what passed before must pass again.
        type: float
        default: 20
"""
