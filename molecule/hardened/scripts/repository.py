"""Make a signed repository for apt with Debian's engine by the names that Docker's packages have.

Usage: repository.py FOLDER SUITE, as root on a Debian host, which downloads the packages. docker-ce and its command are
there twice, as 27 and 28, so that there is something to choose from.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = {
    "docker.io": ("docker-ce", ["5:27.5.1-1", "5:28.0.4-1"]),
    "docker-cli": ("docker-ce-cli", ["5:27.5.1-1", "5:28.0.4-1"]),
    "containerd": ("containerd.io", ["1.7.25-1"]),
    "docker-buildx": ("docker-buildx-plugin", ["0.20.1-1"]),
    "docker-compose": ("docker-compose-plugin", ["2.33.1-1"]),
}
# Docker's engine needs its own containerd, and brings runc in it; here it is Debian's.
DEPENDS = {"docker-ce": "containerd.io, docker-ce-cli, iptables, tini", "containerd.io": "runc"}
DROPPED = re.compile(r"^(Depends|Recommends|Suggests|Enhances|Breaks|Replaces|Conflicts|Built-Using|Source|Provides):")


def control(text: str, name: str, version: str) -> str:
    """Return a package's control file under another name; what it depended on by Debian's names goes."""
    lines, keep = [], True
    for line in text.splitlines():
        if not line.startswith(" "):
            keep = not DROPPED.match(line)
        if keep:
            lines.append(
                re.sub(r"^(Package|Version):.*", lambda m: f"{m[1]}: {name if m[1] == 'Package' else version}", line)
            )
    if name in DEPENDS:
        lines.insert(2, f"Depends: {DEPENDS[name]}")
    return "\n".join(lines) + "\n"


def repack(deb: str, name: str, versions: list[str], pool: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "--raw-extract", deb, folder], check=True)
        path = Path(folder, "DEBIAN", "control")
        text = path.read_text(encoding="utf-8")
        for version in versions:
            path.write_text(control(text, name, version), encoding="utf-8")
            target = pool / f"{name}_{version.split(':')[-1]}.deb"
            subprocess.run(
                ["dpkg-deb", "-Znone", "--build", folder, str(target)], check=True, stdout=subprocess.DEVNULL
            )


def index(root: Path, pool: Path) -> str:
    stanzas = []
    for deb in sorted(pool.glob("*.deb")):
        fields = subprocess.run(["dpkg-deb", "--field", str(deb)], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        stanzas.append(
            f"{fields.rstrip()}\nFilename: {deb.relative_to(root)}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
        )
    return "\n".join(stanzas)


def main() -> None:
    root, suite = Path(sys.argv[1]), sys.argv[2]
    pool, dist = root / "pool", root / "dists" / suite
    packages = dist / "stable" / "binary-amd64" / "Packages"
    for folder in (pool, packages.parent):
        folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["apt-get", "--option", "APT::Sandbox::User=root", "download", *NAMES], cwd=work, check=True)
        for deb in os.listdir(work):
            repack(os.path.join(work, deb), *NAMES[deb.partition("_")[0]], pool)
    packages.write_text(index(root, pool), encoding="utf-8")
    data = packages.read_bytes()
    release = (
        f"Origin: Lab\nSuite: {suite}\nCodename: {suite}\nComponents: stable\nArchitectures: amd64\n"
        f"Date: {subprocess.run(['date', '--utc', '-R'], check=True, capture_output=True, text=True).stdout}"
        f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} stable/binary-amd64/Packages\n"
    )
    (dist / "Release").write_text(release, encoding="utf-8")
    home = os.environ["GNUPGHOME"]
    os.makedirs(home, 0o700, exist_ok=True)
    gpg = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "Lab <lab@example.org>", "rsa3072", "sign"], check=True)
    subprocess.run([*gpg, "--clearsign", "--output", str(dist / "InRelease"), str(dist / "Release")], check=True)
    subprocess.run([*gpg, "--armor", "--output", str(root / "docker.asc"), "--export"], check=True)


main()
