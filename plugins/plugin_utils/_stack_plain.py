# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""A folder with a Compose file and nothing else: what can be said of a stack without a stack.yml."""

from __future__ import annotations

import pathlib
import typing as t

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._compose_file import attribute, merged
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_error import StackFileError, show, shown
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._stack_schema import schema_problems
from ansible_collections.emorobcare.fleet.plugins.plugin_utils._yaml_file import Document


def plain_stack(folder: pathlib.Path, documents: t.Sequence[Document], others: t.Sequence[Document]) -> Document:
    """Return what a stack.yml would say that says as little as possible; its places are those of compose.yml.

    The stack is called as Compose calls the project. Every service is stateless: which of them hold data, and which end
    by themselves, is not guessed.

    C(documents) are the Compose files of the environment, C(others) the overlays of other ones.

    Raises:
        StackFileError: the name cannot be a stack's, or something would have to be built.
    """
    compose = documents[0]
    names = {name: None for document in (*documents, *others) for name in merged([document], "services")}
    named = [document.data["name"] for document in documents if document.data.get("name")]
    name = str(named[-1]) if named else folder.name.lower()
    services = {service: {"lifecycle": "stateless"} for service in names}
    plain = Document(shown(folder / "stack.yml"), {"name": name, "services": services}, compose.lines)
    problems = [
        part.problem(
            f"there is no stack.yml, which says how service {service!r} is built; name an image, or write one with "
            f"images: {{{service}: {{context: …}}}}"
        )
        for service, parts in merged(documents, "services").items()
        for part in attribute(parts, "build")
    ]
    if any(problem.path == ("name",) for problem in schema_problems(plain)):
        problems.append(
            compose.problem(
                ("name",),
                f"{show(name)}, {'the name of the project' if named else 'the name of the folder'}, cannot be a "
                "stack's; set name here to lower-case letters, digits and single dashes, at most 40",
            )
        )
    if problems:
        raise StackFileError(problems)
    return plain
