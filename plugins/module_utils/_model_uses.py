# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""Which model versions the releases on this host mount, running or kept to come back to.

Reads what stack_release writes (see _release_files) and takes no lock: a release that is being deployed at this very
moment may not be seen, and then does not start without its model, which its gate tells.
"""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_plan import Use

_RELEASE = re.compile(r"[0-9a-f]{64}")


def uses(root: str) -> dict[tuple[str, str], list[Use]]:
    """Return, by name and version, the releases that mount each model version.

    Raises:
        ModelError: a journal or a release cannot be read, so that nobody can tell (`in_use`).
    """
    found: dict[tuple[str, str], list[Use]] = {}
    base = os.path.join(root, "stacks")
    for stack in _names(base):
        folder = os.path.join(base, stack)
        if not os.path.isdir(folder):
            continue  # the stack's lock
        for release in sorted(_releases(folder)):
            for model in _models(os.path.join(folder, "releases", release, "release.json"), release):
                found.setdefault(model, []).append(Use(stack, release))
    return found


def _releases(folder: str) -> set[str]:
    """Return the ids of the releases that the journal names, and of those that are there besides."""
    # The journal first: what it names then stays until a later commit.
    named = _journal_releases(os.path.join(folder, "state.json"))
    there = {name for name in _names(os.path.join(folder, "releases")) if _RELEASE.fullmatch(name)}
    return named | there


def _journal_releases(path: str) -> set[str]:
    # Here and not above, as in _models: what reads releases takes longer to load than all else that a pull needs.
    from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError
    from ansible_collections.emorobcare.fleet.plugins.module_utils._release_journal import decode_journal

    try:
        with open(path, "rb") as file:
            journal = decode_journal(file.read(), path)
    except FileNotFoundError:
        return set()
    except OSError as exc:
        raise _untold(path, str(exc.strerror)) from exc
    except ReleaseError as exc:
        raise _untold(path, str(exc)) from exc
    if journal is None:
        raise _untold(path, "it is torn or was edited")
    return {identity.release for identity in journal.kept}


def _models(path: str, release: str) -> t.Iterator[tuple[str, str]]:
    from ansible_collections.emorobcare.fleet.plugins.module_utils._release_document import parse_document
    from ansible_collections.emorobcare.fleet.plugins.module_utils._release_error import ReleaseError

    try:
        with open(path, "rb") as file:
            document = parse_document(json.load(file), release)
    except OSError as exc:
        raise _untold(path, str(exc.strerror)) from exc
    except ValueError as exc:
        raise _untold(path, f"it is no JSON: {exc}") from exc
    except ReleaseError as exc:
        raise _untold(path, str(exc)) from exc
    for model in document.models:
        yield model.name, model.version


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise _untold(folder, str(exc.strerror)) from exc


def _untold(path: str, why: str) -> ModelError:
    return ModelError(
        f"{path} cannot be read ({why}), so whether a release uses the model cannot be told, and nothing was removed. "
        "Deploy the stack again, or remove it with its data; then run the same task again",
        reason="in_use",
        path=path,
    )
