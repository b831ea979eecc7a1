"""Fetches and unpacks source packages: Debian's through an apt state folder of our own, others by npm.

The configured `deb` sources are read and repeated as `deb-src`; nothing is changed system-wide.
"""

import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import debian_copyright

# How packages spell licences that have a name in SPDX's list.
_SPELLINGS = {
    "apache": "Apache-2.0", "apache 2.0": "Apache-2.0", "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0", "bsd 3-clause license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause", "bsd-3-clause license": "BSD-3-Clause", "mit license": "MIT",
    "the mit license": "MIT",
}  # fmt: skip


# Which Debian package brings a tool that is run here.
_PACKAGE_OF = {"npm": "npm", "dpkg-source": "dpkg-dev", "apt-get": "apt"}


@dataclass(frozen=True)
class SourcePackage:
    """An unpacked Debian source package."""

    name: str
    version: str
    source_sha256: str  # of the .dsc, or of the npm package itself
    folder: Path
    only: tuple = ()  # folders that alone are read; empty: all
    licence: str = ""  # of what is read, where debian/copyright says it in prose

    def copyright(self):
        """What debian/copyright says; no stanzas where it is prose and packages.txt does not say what it means."""
        path = self.folder / "debian" / "copyright"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        parsed = debian_copyright.parse_copyright(text)
        if parsed is None and self.licence and text:
            stanza = debian_copyright.Stanza(("*",), self.licence, "as the text of the licence says")
            return debian_copyright.CopyrightFile((stanza,), {self.licence: text}, "")
        return parsed or debian_copyright.CopyrightFile((), {}, "")


@dataclass(frozen=True)
class NpmPackage(SourcePackage):
    """An unpacked npm package: one licence for all of it, which package.json names."""

    def copyright(self):
        about = json.loads((self.folder / "package.json").read_text(encoding="utf-8"))
        licence = about.get("license")
        repository = about.get("repository") or ""
        source = repository.get("url", "") if isinstance(repository, dict) else repository
        return one_licence(licence if isinstance(licence, str) else "", self.folder.iterdir(), self.name, source)


def one_licence(licence, paths, name, source):
    """One stanza for all files of a package; none where the text of the licence is not among `paths`."""
    texts = [path for path in sorted(paths) if re.match(r"licen[sc]e|copying", path.name, re.IGNORECASE)]
    licence = licence.strip("() ")
    licence = _SPELLINGS.get(licence.lower(), licence)
    if not licence or not texts:
        return debian_copyright.CopyrightFile((), {}, source)
    text = texts[0].read_text(encoding="utf-8", errors="replace")
    is_holder = re.compile(r"\W*copyright\b.*\d{4}", re.IGNORECASE)
    holders = [line.strip(" *#") for line in text.splitlines() if is_holder.match(line)]
    stanza = debian_copyright.Stanza(("*",), licence, "; ".join(holders) or f"the authors of {name}")
    names = re.split(r"\s+(?:or|and)\s+", licence, flags=re.IGNORECASE)
    return debian_copyright.CopyrightFile((stanza,), {each: text for each in names}, source)


@dataclass(frozen=True)
class Entry:
    """One line of packages.txt."""

    name: str  # of a Debian package; "npm:NAME@VERSION" of others
    split: str
    only: tuple = ()
    licence: str = ""


def read_package_list(path):
    """The entries of packages.txt, in its order."""
    entries = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if len(fields) not in (2, 3, 4) or fields[1] not in ("train", "heldout"):
            raise ValueError(f"{path}:{number}: expected 'package train|heldout [folders [licence]]', found {line!r}")
        only = tuple(folder.rstrip("/") + "/" for folder in fields[2].split(",")) if len(fields) > 2 else ()
        entries.append(Entry(fields[0], fields[1], only, fields[3] if len(fields) > 3 else ""))
    return entries


class SourceFetcher:
    """Downloads into `root/sources/NAME`, where what is there is kept, and unpacks into `root/unpacked/NAME`."""

    def __init__(self, root):
        self.root = Path(root).resolve()
        self.options = None
        self.suites = []

    def fetch(self, entry):
        """The unpacked package. Raises LookupError when the archive cannot give it, or a tool is not installed."""
        name = entry.name.replace("/", "_")
        unpacked = self.root / "unpacked" / name
        downloads = self.root / "sources" / name
        unpacked.parent.mkdir(exist_ok=True)
        if entry.name.startswith("npm:"):
            return self._fetch_npm(entry, downloads, unpacked)
        if not unpacked.is_dir():
            ensure_tool("dpkg-source", entry.name)  # before anything is downloaded for it
            if not any(downloads.glob("*.dsc")):
                self._download(entry.name, downloads)
            self._unpack(entry.name, downloads, unpacked)
        dsc = sorted(downloads.glob("*.dsc"))[-1]
        version = next(
            line.partition(":")[2].strip()
            for line in dsc.read_text(encoding="utf-8").splitlines()
            if line.startswith("Version:")
        )
        digest = hashlib.sha256(dsc.read_bytes()).hexdigest()
        return SourcePackage(entry.name, version, digest, unpacked, entry.only, entry.licence)

    def forget(self, package):
        """Removes the unpacked tree; the download stays."""
        shutil.rmtree(package.folder)

    def _fetch_npm(self, entry, downloads, unpacked):
        wanted = entry.name.partition(":")[2]
        if not any(downloads.glob("*.tgz")):
            ensure_tool("npm", entry.name)
            partial = _empty_partial(downloads)
            pack = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(partial), wanted]
            done = _run(pack, partial)
            if done.returncode != 0 or not any(partial.glob("*.tgz")):
                shutil.rmtree(partial)
                raise LookupError(f"cannot download {entry.name}: {_last_line(done.stdout)}")
            partial.rename(downloads)
        archive = next(downloads.glob("*.tgz"))
        if not unpacked.is_dir():
            partial = _empty_partial(unpacked)
            tar = ["tar", "-xzf", str(archive), "--no-same-owner", "--strip-components=1", "-C", str(partial)]
            done = _run(tar, partial)
            if done.returncode != 0:
                raise LookupError(f"cannot unpack {entry.name}: {_last_line(done.stdout)}")
            partial.rename(unpacked)
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        return NpmPackage(entry.name, wanted.rpartition("@")[2], digest, unpacked, entry.only)

    def _download(self, name, folder):
        self.ensure_lists()
        # The newest version may be gone from the archive while an older suite's is still there.
        errors = []
        for wanted in (name, *(f"{name}/{suite}" for suite in self.suites)):
            partial = _empty_partial(folder)
            done = _run(["apt-get", *self.options, "-q", "source", "--only-source", "--download-only", wanted], partial)
            if done.returncode == 0:
                partial.rename(folder)
                return
            errors.append(_last_line(done.stdout))
        shutil.rmtree(partial)
        raise LookupError(f"cannot download the source of {name}: {errors[0]}")

    def _unpack(self, name, downloads, unpacked):
        # apt has checked the hashes against the signed index. Debian's patches are left out: their
        # licence is that of debian/*, not that of the file they change.
        dscs = sorted(downloads.glob("*.dsc"))
        partial = unpacked.parent / (name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        done = _run(["dpkg-source", "--skip-patches", "--no-copy", "-x", str(dscs[-1]), str(partial)], downloads)
        if done.returncode != 0:
            shutil.rmtree(downloads)  # the next run fetches it again
            raise LookupError(f"cannot unpack the source of {name}: {_last_line(done.stdout)}")
        partial.rename(unpacked)

    def ensure_lists(self):
        """Reads the package lists, once. Raises RuntimeError where no archive answers, LookupError without apt."""
        if self.options:
            return
        ensure_tool("apt-get", "Debian's packages")
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


def _empty_partial(folder):
    """An empty folder beside `folder`, to be filled and then renamed to it. What an interrupted run left of either is removed."""
    partial = folder.with_name(folder.name + ".partial")
    for rest in (folder, partial):
        shutil.rmtree(rest, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def ensure_tool(tool, wanted):
    """Raises LookupError where `tool`, which fetches `wanted`, is not installed."""
    if shutil.which(tool) is None:
        raise LookupError(f"cannot fetch {wanted}: {tool} is not installed; apt-get install {_PACKAGE_OF[tool]}")


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
