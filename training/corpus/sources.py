"""Fetches and unpacks Debian source packages through an apt state folder of our own.

The configured `deb` sources are read and repeated as `deb-src`; nothing is changed system-wide.
"""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SourcePackage:
    name: str
    version: str
    dsc_sha256: str
    folder: Path


def read_package_list(path):
    """(name, split) for each line of packages.txt."""
    entries = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) != 2 or fields[1] not in ("train", "heldout"):
            raise ValueError(f"{path}:{number}: expected 'package train' or 'package heldout', found {line!r}")
        entries.append((fields[0], fields[1]))
    return entries


class SourceFetcher:
    """Downloads into `root/sources/NAME`, unpacks into `root/unpacked/NAME`; what is there is kept."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.options = None
        self.suites = []

    def fetch(self, name):
        """The unpacked package. Raises LookupError when the archive cannot give it."""
        unpacked = self.root / "unpacked" / name
        downloads = self.root / "sources" / name
        if not unpacked.is_dir():
            downloads.mkdir(parents=True, exist_ok=True)
            self._download(name, downloads)
            self._unpack(name, downloads, unpacked)
        dsc = next(downloads.glob("*.dsc"))
        version = next(
            line.partition(":")[2].strip()
            for line in dsc.read_text(encoding="utf-8").splitlines()
            if line.startswith("Version:")
        )
        return SourcePackage(name, version, hashlib.sha256(dsc.read_bytes()).hexdigest(), unpacked)

    def _download(self, name, folder):
        self._ensure_lists()
        # The newest version may be gone from the archive while an older suite's is still there.
        for wanted in (name, *(f"{name}/{suite}" for suite in self.suites)):
            done = _run(["apt-get", *self.options, "-q", "source", "--only-source", "--download-only", wanted], folder)
            if done.returncode == 0:
                return
        raise LookupError(f"cannot download the source of {name}: {_last_line(done.stdout)}")

    def _unpack(self, name, downloads, unpacked):
        # apt has checked the hashes against the signed index. Debian's patches are left out: their
        # licence is that of debian/*, not that of the file they change.
        dscs = sorted(downloads.glob("*.dsc"))
        partial = unpacked.parent / (name + ".partial")
        unpacked.parent.mkdir(exist_ok=True)
        subprocess.run(["rm", "-rf", str(partial)], check=True)
        done = _run(["dpkg-source", "--skip-patches", "--no-copy", "-x", str(dscs[-1]), str(partial)], downloads)
        if done.returncode != 0:
            raise LookupError(f"cannot unpack the source of {name}: {_last_line(done.stdout)}")
        partial.rename(unpacked)

    def _ensure_lists(self):
        if self.options:
            return
        state = self.root / "apt"
        for folder in ("parts", "lists/partial", "cache/archives/partial"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        lines = deb_src_lines(_configured_targets())
        (state / "parts" / "sources.list").write_text(lines, encoding="utf-8")
        self.suites = sorted({line.split()[3] for line in lines.splitlines()})
        self.options = []
        for key, value in {
            "Dir::Etc::sourcelist": state / "parts" / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": state / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": state / "cache",
            "APT::Sandbox::User": "root",
        }.items():
            self.options += ["-o", f"{key}={value}"]
        done = _run(["apt-get", *self.options, "-qq", "update"], self.root)
        if done.returncode != 0:
            raise RuntimeError(f"cannot read the package lists: {_last_line(done.stdout)}")


def deb_src_lines(targets):
    """One deb-src line per Debian repository of `targets` (lines "uri suite component keyring")."""
    lines = set()
    for target in targets:
        fields = target.split()
        if len(fields) < 3 or "debian" not in fields[0]:
            continue
        uri, suite, component = fields[:3]
        keyring = fields[3] if len(fields) > 3 and fields[3].startswith("/") else None
        signed_by = keyring or "/usr/share/keyrings/debian-archive-keyring.gpg"
        lines.add(f"deb-src [signed-by={signed_by}] {uri} {suite} {component}\n")
    return "".join(sorted(lines))


def _configured_targets():
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def _run(command, folder):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


def _last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("E:") or "error:" in line]
    return (errors or lines or ["no output"])[0]
