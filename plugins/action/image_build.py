# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Controller half of emorobcare.fleet.image_build: sends contexts, but only those of images that must be built.

The documentation is in plugins/modules/image_build.py.
"""

from __future__ import annotations

import copy
import pathlib
import tempfile
import typing as t

from ansible import constants as C
from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.modules.image_build import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_context import (
    ImageContextError,
    read_context,
    write_archive,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_input import ContextFile
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError

MODULE = "emorobcare.fleet.image_build"

Result = dict[str, t.Any]
Contexts = dict[int, list[ContextFile]]


class ActionModule(ActionBase):
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        variables = task_vars or {}
        foreseen = self._foresee(args, variables)
        if foreseen.get("failed") or not foreseen.get("changed"):
            return {**result, **foreseen}
        try:
            contexts = _read_contexts(args["images"], foreseen["images"])
            if self._task.check_mode:
                return {**result, **foreseen}
            return {**result, **self._build(args, contexts, variables)}
        except (ImageContextError, StackFileError) as exc:
            return {**result, "failed": True, "msg": str(exc)}
        finally:
            self._remove_tmp_path(self._connection._shell.tmpdir)

    def _foresee(self, args: Result, task_vars: dict[str, t.Any]) -> Result:
        """Run the module in check mode, which tells what must be built and refuses what cannot work."""
        check_mode = self._task.check_mode
        self._task.check_mode = True
        try:
            return t.cast("Result", self._execute_module(module_name=MODULE, module_args=args, task_vars=task_vars))
        finally:
            self._task.check_mode = check_mode

    def _build(self, args: Result, contexts: Contexts, task_vars: dict[str, t.Any]) -> Result:
        """Send the contexts, then run the module."""
        images = copy.deepcopy(args["images"])
        # An attribute that Ansible sets when it starts; its configuration has the value with variables not filled in.
        with tempfile.TemporaryDirectory(prefix="image-build-", dir=vars(C)["DEFAULT_LOCAL_TMP"]) as local:
            for index, files in contexts.items():
                archive = pathlib.Path(local) / f"{index}.tar"
                write_archive(pathlib.Path(images[index]["context"]), files, archive)
                images[index]["context"] = self._put(archive)
            module_args = {**args, "images": images}
            return t.cast(
                "Result", self._execute_module(module_name=MODULE, module_args=module_args, task_vars=task_vars)
            )

    def _put(self, archive: pathlib.Path) -> str:
        """Put a file where the module can read it; that is where it is if the module runs here as the same user."""
        if self._connection.transport == "local" and not self._connection.become:
            return str(archive)
        if not self._connection._shell.tmpdir:
            self._make_tmp_path()
        place = self._connection._shell.join_path(self._connection._shell.tmpdir, archive.name)
        self._transfer_file(str(archive), place)
        self._fixup_perms2([self._connection._shell.tmpdir, place])
        return t.cast("str", place)


def _read_contexts(images: list[Result], foreseen: list[Result]) -> Contexts:
    """Return the files of the contexts of those images that must be built, by the image's place in the request.

    What is foreseen has an entry for each platform, and all platforms of an image are built from the same context.
    """
    to_build = {seen["service"] for seen in foreseen if seen["built"]}
    return {index: read_context(image) for index, image in enumerate(images) if image["service"] in to_build}
