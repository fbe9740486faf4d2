# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "registry.localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_this_machine_is_known_by_name_and_address(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "localhost.example.org", "127.0.0.1.example.org", "10.0.0.1", "::2", "h"])
def test_other_hosts_are_not_this_machine(host: str) -> None:
    assert not is_loopback(host)
