# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller half of emorobcare.fleet.depot_tool: brings what makes a host trust depots, which is on the controller.

The documentation is in plugins/modules/depot_tool.py.
"""

from __future__ import annotations

import base64
import hashlib
import pathlib
import tempfile
import time
import typing as t

from ansible import constants as C
from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.modules.depot_tool import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import read_roots
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._libraries import LibrariesError, pack_libraries

MODULE = "emorobcare.fleet.depot_tool"

Result = dict[str, t.Any]


def all_roots(folder: pathlib.Path) -> list[bytes]:
    """Return each root metadata that a folder has, oldest first.

    Raises:
        DepotError: there is none (`key_missing`).
    """
    roots = read_roots(folder)
    if not roots:
        raise DepotError(
            f"{folder} has no root metadata (1.root.json); playbooks/keys.yml makes it", reason="key_missing"
        )
    return list(roots.values())


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        variables = task_vars or {}
        try:
            roots = all_roots(pathlib.Path(args["keys"]).expanduser().absolute())
            libraries = pack_libraries()
        except DepotError as exc:
            return {**result, "failed": True, "msg": str(exc), "reason": exc.reason, **exc.details}
        except LibrariesError as exc:
            return {**result, "failed": True, "msg": str(exc), "reason": "library_missing"}
        args = {
            **args,
            "now": int(time.time()),
            "metadata": [base64.b64encode(root).decode("ascii") for root in roots],
            "libraries": None,
            "libraries_sha256": hashlib.sha256(libraries).hexdigest(),
        }
        try:
            told = self._module(args, variables)
            if told.get("needs_libraries") and not self._task.check_mode and not told.get("failed"):
                told = self._module({**args, "libraries": self._sent(libraries)}, variables)
            return {**result, **told}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _module(self, args: Result, task_vars: Result) -> Result:
        return t.cast("Result", self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars))

    def _sent(self, content: bytes) -> str:
        """Send the archive to the host; return where it is there."""
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        place = t.cast("str", self._connection._shell.join_path(self._connection._shell.tmpdir, "libraries.zip"))
        # An attribute that Ansible sets when it starts; its configuration has the value with variables not filled in.
        with tempfile.NamedTemporaryFile(dir=vars(C)["DEFAULT_LOCAL_TMP"], suffix=".zip") as file:
            file.write(content)
            file.flush()
            self._transfer_file(file.name, place)
        self._fixup_perms2([self._connection._shell.tmpdir, place])
        return place
