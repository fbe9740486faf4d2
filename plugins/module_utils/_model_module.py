# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Private to this collection: it may change in any release.

"""What the modules that ask sources of models have in common: options, the host's pip, and no credentials in output."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import env_fallback

from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_feed import Retry
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_origin import DEFAULT_HUB, Network
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_pip import Ended, HostPip, environment
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_source import redact_text

# Documented by the fragment _model_sources.
SOURCES_SPEC: dict[str, dict[str, t.Any]] = {
    "connect_timeout": {"type": "float", "default": 10.0},
    "stall_timeout": {"type": "float", "default": 60.0},
    "retries": {"type": "int", "default": 4},
    "retry_delay": {"type": "float", "default": 1.0},
    "proxy": {"type": "str"},
    "ca_path": {"type": "path"},
    "hub_url": {"type": "str", "default": DEFAULT_HUB},
    "hub_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["HF_TOKEN"])},
    "registry_username": {"type": "str"},
    "registry_password": {"type": "str", "no_log": True},
}


class ModelModule(AnsibleModule):
    """A module that shows no credentials out of URLs: neither in the host's log, nor in a result's `invocation`."""

    def log(self, msg: str, log_args: dict[str, t.Any] | None = None) -> None:
        super().log(redact_text(msg), {key: redact_text(str(value)) for key, value in (log_args or {}).items()})

    def exit_json(self, **kwargs: t.Any) -> t.NoReturn:
        self.params = hidden(self.params)
        super().exit_json(**kwargs)

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        self.params = hidden(self.params)
        super().fail_json(redact_text(msg), **kwargs)


def hidden(value: t.Any) -> t.Any:
    """Return a value without the credentials in the URLs in it."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, list):
        return [hidden(item) for item in value]
    return {key: hidden(item) for key, item in value.items()} if isinstance(value, dict) else value


def network_of(params: t.Mapping[str, t.Any]) -> Network:
    """Return how to reach sources.

    Raises:
        ModelError: a timeout is none.
    """
    for option in ("connect_timeout", "stall_timeout"):
        if params[option] <= 0:
            raise ModelError(f"{option} must be more than 0 seconds, got {params[option]:g}")
    return Network(
        connect_timeout=params["connect_timeout"],
        stall_timeout=params["stall_timeout"],
        proxy=params["proxy"] or None,
        ca_path=params["ca_path"] or None,
        hub_url=params["hub_url"],
        hub_token=params["hub_token"] or None,
        registry_username=params["registry_username"] or None,
        registry_password=params["registry_password"] or None,
    )


def retry_of(params: t.Mapping[str, t.Any]) -> Retry:
    """Return how often to try again.

    Raises:
        ModelError: it is less than never.
    """
    for option in ("retries", "retry_delay"):
        if params[option] < 0:
            raise ModelError(f"{option} must be 0 or more, got {params[option]:g}")
    return Retry(params["retries"], params["retry_delay"])


def host_pip(module: AnsibleModule) -> HostPip:
    """Return the pip of this host."""

    def run_command(command: t.Sequence[str], folder: str) -> Ended:
        try:
            code, stdout, stderr = module.run_command(
                list(command),
                cwd=folder,
                environ_update=environment(folder),
                expand_user_and_vars=False,
                handle_exceptions=False,
            )
        except OSError as exc:
            return Ended(127, "", str(exc))
        return Ended(code, stdout, stderr)

    return HostPip(run_command)
