#!/usr/bin/python
# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_report
short_description: Write a report on images that a person wants to look at
version_added: 0.1.0
description:
  - Makes one HTML page out of the results of M(emorobcare.fleet.image_build) and of the audit, on the controller.
  - The page needs nothing beside itself, so that it works from a stick and without a network.
    It shows the sizes against the last build, findings with the way out, links to the SBOMs, and for each image a
    treemap of what takes the space.
  - The same input gives the same page to the byte.
  - The callback P(emorobcare.fleet.summary#callback) shows RV(table) at the end of the run.
author:
  - The emorobcare.fleet contributors (@emorobcare)
extends_documentation_fragment:
  - emorobcare.fleet._attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  dest:
    description:
      - Path of the page on the controller. Its folder is created.
      - The sizes of the last builds are kept beside it, in a file whose name ends with C(.sizes.json).
    type: path
    required: true
  title:
    description:
      - What the images are of, such as the stack's name.
    type: str
    required: true
  images:
    description:
      - RV(emorobcare.fleet.image_build#module:images).
    type: list
    elements: dict
    default: []
  audits:
    description:
      - What the audit returned for each image.
      - An image without an audit is shown as not audited, which is not the same as passed.
    type: list
    elements: dict
    default: []
  made:
    description:
      - When and of what the report is made, to be shown on it. Without it no time is on the page.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write the report
  emorobcare.fleet.image_report:
    dest: reports/emorobcare.html
    title: emorobcare
    images: "{{ built.images }}"
    audits: "{{ audited.images }}"
"""

RETURN = r"""
dest:
  description: Absolute path of the page.
  returned: success
  type: str
table:
  description: The images in lines for a terminal.
  returned: success
  type: list
  elements: str
failed_images:
  description: Services whose images have findings that fail.
  returned: success
  type: list
  elements: str
not_scanned:
  description: Services whose images no tool has looked at in full.
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

ARGUMENT_SPEC: dict[str, dict[str, t.Any]] = {
    "dest": {"type": "path", "required": True},
    "title": {"type": "str", "required": True},
    "images": {"type": "list", "elements": "dict", "default": []},
    "audits": {"type": "list", "elements": "dict", "default": []},
    "made": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    module.fail_json(msg="the report is made on the controller, by the action plugin of this name; call it in a task")


if __name__ == "__main__":
    main()
