# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: release_status
short_description: Show what a host runs of its stacks as a table for people
version_added: 0.1.0
description:
  - Turns what M(emorobcare.fleet.stack_release_info) returned into lines of text. For each stack these are what is
    committed and which colour serves, a table of its containers, and below it what is under way, what the host could go
    back to, and why the last run failed. Times are in UTC.
author:
  - The emorobcare.fleet contributors (@emorobcare)
positional: host
options:
  _input:
    description: What the module returned.
    type: dict
    required: true
  host:
    description: What to call the host.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Look at the stacks
  emorobcare.fleet.stack_release_info:
  register: found

- name: Show them
  ansible.builtin.debug:
    msg: "{{ found | emorobcare.fleet.release_status(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The lines.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleTemplatePluginError

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._status import status_lines


def release_status(found: t.Any, host: str) -> list[str]:
    """Return the lines for what a host was found to run.

    Raises:
        AnsibleTemplatePluginError: the input is not what the module returns.
    """
    if not isinstance(found, t.Mapping) or "stacks" not in found:
        raise AnsibleTemplatePluginError(
            "emorobcare.fleet.release_status: the input has no stacks; register the result of "
            "emorobcare.fleet.stack_release_info and give that"
        )
    return status_lines(found, host)


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"release_status": release_status}
