# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller half of emorobcare.fleet.image_audit: asks hadolint about the Dockerfiles, which the hosts do not have.

The documentation is in plugins/modules/image_audit.py.
"""

from __future__ import annotations

import concurrent.futures
import copy
import functools
import pathlib
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.modules.image_audit import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._hadolint import find_program, lint

MODULE = "emorobcare.fleet.image_audit"

Result = dict[str, t.Any]


def _lint(images: list[Result], program: str | None) -> None:
    """Fill in what hadolint says, of all Dockerfiles at once: each takes as long as the rest of the audit."""
    wanted = [image for image in images if image["context"] and not image["lint"]]
    files = [pathlib.Path(image["context"]) / image["dockerfile"] for image in wanted]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for image, said in zip(wanted, pool.map(functools.partial(lint, program=program), files), strict=True):
            image["lint"] = said


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        images = copy.deepcopy(args["images"])
        program = find_program("hadolint", args["hadolint"])
        _lint(images, program)
        syft = args["syft"]
        if not syft and self._connection.transport == "local":
            # The module runs here too, but by another Python, whose PATH may lack what is installed for this one.
            syft = find_program("syft")
        module_args = {**args, "images": images, "syft": syft}
        try:
            return {
                **result,
                **self._execute_module(module_name=MODULE, module_args=module_args, task_vars=task_vars or {}),
            }
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)
