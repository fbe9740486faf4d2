# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""emorobcare.fleet.image_report: writes what is known of images down for people, on the controller.

The documentation is in plugins/modules/image_report.py.
"""

from __future__ import annotations

import os
import pathlib
import typing as t

from ansible.plugins.action import ActionBase

from ansible_collections.emorobcare.fleet.plugins.module_utils._store_durable import make_dirs, read_json, sync_dir
from ansible_collections.emorobcare.fleet.plugins.modules.image_report import ARGUMENT_SPEC
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report import (
    ImageReport,
    ImageReportError,
    read_images,
    sum_line,
    table_lines,
    with_sizes_before,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report_files import (
    relative_sboms,
    sizes_path,
    sizes_text,
)
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._image_report_page import read_assets, render_page

Result = dict[str, t.Any]


class ActionModule(ActionBase):
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        result = super().run(task_vars=task_vars)
        _validated, args = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        page_path = pathlib.Path(args["dest"]).expanduser().absolute()
        try:
            images = relative_sboms(read_images(args["images"], args["audits"]), page_path.parent)
            images, known = with_sizes_before(images, read_json(str(sizes_path(page_path))))
            page = render_page(args["title"], images, read_assets(), args["made"])
            # The page first: should it go wrong in between, the same comparison is made again.
            changed = [self._put(page_path, page), self._put(sizes_path(page_path), sizes_text(known))]
        except (ImageReportError, OSError) as exc:
            return {**result, "failed": True, "msg": str(exc)}
        return {**result, "changed": any(changed), **_told(images, page_path)}

    def _put(self, path: pathlib.Path, text: str) -> bool:
        """Replace a file if it would change, but not in check mode; say whether it would."""
        content = text.encode(errors="replace")
        if path.is_file() and path.read_bytes() == content:
            return False
        if not self._task.check_mode:
            make_dirs(str(path.parent))
            _replace(path, content)
        return True


def _replace(path: pathlib.Path, content: bytes) -> None:
    """Write a file so that after a crash it is the old one or the new one."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    temporary.rename(path)
    sync_dir(str(path.parent))


def _told(images: t.Sequence[ImageReport], page: pathlib.Path) -> Result:
    return {
        "dest": str(page),
        "table": table_lines(images),
        "msg": sum_line(images),
        "failed_images": [image.service for image in images if image.count("fail")],
        "not_scanned": [image.service for image in images if image.not_scanned or not image.audited],
    }
