# Copyright: (c) 2026, The emorobcare.fleet contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive of libraries: Python imports from it, with nothing else at hand."""

from __future__ import annotations

import io
import pathlib
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.emorobcare.fleet.plugins.plugin_utils._libraries import LibrariesError, pack_libraries


def test_a_python_without_packages_verifies_with_it(tmp_path: pathlib.Path) -> None:
    archive = tmp_path / "libraries.zip"
    archive.write_bytes(pack_libraries())
    program = (
        f"import sys; sys.path[:] = [path for path in sys.path if 'site-packages' not in path] + [{str(archive)!r}]\n"
        "from securesystemslib.signer import SSlibKey, Signature\n"
        "from tuf.ngclient import Updater\n"
        "key = SSlibKey('id', 'ed25519', 'ed25519', {'public': "
        "'d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'})\n"
        "key.verify_signature(Signature('id', "
        "'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe"
        "24655141438e7a100b'), b'')\n"
        "print('cryptography' in sys.modules, Updater.__module__)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False tuf.ngclient.updater\n", "")


def test_it_is_the_same_to_the_byte_and_holds_sources_alone() -> None:
    packed = pack_libraries()
    assert packed == pack_libraries()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert {pathlib.PurePosixPath(one.filename).suffix for one in archive.infolist() if not one.is_dir()} == {".py"}


@pytest.mark.parametrize(("name", "said"), [("no-such-package", "not installed"), ("cryptography", "not plain Python")])
def test_what_hosts_could_not_import_is_refused(name: str, said: str) -> None:
    with pytest.raises(LibrariesError, match=said):
        pack_libraries([name])
