# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ansible_collections.emorobcare.fleet.plugins.module_utils._http_pool import make_context
from ansible_collections.emorobcare.fleet.plugins.module_utils._model_error import ModelError


def test_tls_is_verified_and_not_older_than_1_2() -> None:
    context = make_context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read on this host"), ("odd", "no certificate in PEM")])
def test_a_ca_path_that_cannot_be_used_is_named(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=says) as caught:
        make_context(str(path))
    assert str(path) in str(caught.value)
