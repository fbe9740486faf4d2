# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""emorobcare.fleet.depot_key: makes and replaces the keys that sign depots, on the controller.

The documentation is in plugins/modules/depot_key.py.
"""

from __future__ import annotations

import pathlib
import time
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_error import DepotError
from ansible_collections.emorobcare.fleet.plugins.module_utils._depot_library import need_tuf
from ansible_collections.emorobcare.fleet.plugins.modules.depot_key import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_ceremony import (
    Found,
    Wanted,
    advice,
    carry_out,
    facts,
    foresee,
    look,
    make_plan,
    planned_facts,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._depot_keys import root_name

_SOON = 90 * 86_400  # seconds; time enough to bring root keys together and depots to hosts

Result = dict[str, t.Any]


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        folder = pathlib.Path(args["path"]).expanduser().absolute()
        try:
            return {**result, **self._make(folder, args, time.time())}
        except DepotError as exc:
            return {**result, "failed": True, "msg": str(exc), "reason": exc.reason, **exc.details}

    def _make(self, folder: pathlib.Path, args: Result, now: float) -> Result:
        need_tuf()
        wanted = _wanted(args)
        phrases = {str(name): str(value) for name, value in args["passphrases"].items()}
        found, roots = look(folder)
        plan = make_plan(wanted, found)
        before = facts(folder, found)
        told = planned_facts(before, plan)
        if plan.changed and self._task.check_mode:
            foresee(folder, plan, wanted, roots, phrases, now)
        elif plan.changed:
            carry_out(folder, plan, wanted, roots, phrases, now)
            found, _roots = look(folder)
            told = facts(folder, found)
        return {
            "changed": plan.changed,
            "diff": {"before": before, "after": told},
            "path": str(folder),
            "root": str(folder / root_name(told["root_version"])),
            "advice": advice(folder, told),
            "warnings": _warnings(found, now),
            **told,
        }


def _wanted(args: Result) -> Wanted:
    if args["expiry_days"] < 1:
        raise DepotError(f"expiry_days: {args['expiry_days']} is not a day or more", reason="invalid")
    for option in ("counts", "thresholds"):
        few = [role for role, number in args[option].items() if number < 1]
        if few:
            raise DepotError(f"{option}: {few[0]} must be 1 or more", reason="invalid")
    return Wanted(
        args["counts"], args["thresholds"], args["expiry_days"], args["rotate"], args["revoke"], args["renew"]
    )


def _warnings(found: Found, now: float) -> list[str]:
    if found.root is None or found.root.expires.timestamp() - now >= _SOON:
        return []
    return [
        f"The root metadata expires on {found.root.expires:%Y-%m-%d}, and hosts take no depot after that. Bring the "
        "root keys together and renew it: docs/depot-keys.md, Expired depot"
    ]
