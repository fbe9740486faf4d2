# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller half of emorobcare.fleet.depot_receipt_info: reads the hosts' public keys, which are on the controller.

The documentation is in plugins/modules/depot_receipt_info.py.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.modules.depot_receipt_info import ARGUMENT_SPEC

MODULE = "emorobcare.fleet.depot_receipt_info"

Result = dict[str, t.Any]


def read_keys(folder: pathlib.Path) -> dict[str, str]:
    """Return the public keys of a folder by host.

    Raises:
        DepotError: there is no such folder, or a key in it cannot be read (`key_missing`).
    """
    keys = {}
    try:
        for name in sorted(name for name in os.listdir(folder) if name.endswith(".pub")):
            keys[name.removesuffix(".pub")] = (folder / name).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise DepotError(f"{exc.filename} cannot be read: {exc.strerror}", reason="key_missing") from exc
    except UnicodeDecodeError as exc:
        raise DepotError(f"{folder / name} is no public key", reason="key_missing") from exc
    return keys


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = False

    def run(self, tmp: str | None = None, task_vars: Result | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        if args["keys"]:
            folder = pathlib.Path(args["keys"]).expanduser().absolute()
            try:
                args["public_keys"] = {**args["public_keys"], **read_keys(folder)}
            except DepotError as exc:
                return {**result, "failed": True, "msg": str(exc), "reason": exc.reason}
        told = self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars or {})
        return {**result, **t.cast("Result", told)}
