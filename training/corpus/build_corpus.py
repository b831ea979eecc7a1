#!/usr/bin/env python3
"""Builds the training corpus: `build_corpus.py [FOLDER]` (default: build/corpus).

Fetches the source packages of packages.txt, keeps what licence and filters allow, and writes into
FOLDER: corpus.pack (the files), manifest.jsonl (where each comes from), NOTICE (whose it is) and
report.json (what was dropped, and why). Downloads are kept, so a second run is quick.
"""

import argparse
import collections
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import debian_copyright
import filters
import notice
import shingles
import sources

MEGABYTES_OF_LANGUAGE = {
    "python": 14, "cpp": 12, "c": 11, "go": 10, "rust": 11, "java": 10, "typescript": 9, "javascript": 9,
}  # fmt: skip
HELDOUT_MEGABYTES = 1.5
FILES_PER_FOLDER_MAX = 60  # a folder with thousands of files holds variations of one
SHARED_MAX = 0.5


@dataclass(frozen=True)
class CorpusFile:
    package: sources.SourcePackage
    split: str
    language: str
    path: str
    text: str
    stanza: debian_copyright.Stanza
    content_hash: str
    shingles: set


class Selector:
    """Takes files of one split, language by language, evenly from all packages, up to a cap."""

    def __init__(self, drops):
        self.drops = drops
        self.seen = set()
        self.heldout_shingles = set()
        self.train_shingles_in_heldout = set()

    def select(self, packages, split, language, bytes_max):
        queues = {p.name: iter(_paths_in_order(p, language)) for p in packages}
        by_name = {p.name: p for p in packages}
        taken = dict.fromkeys(queues, 0)
        chosen = []
        while queues and sum(taken.values()) < bytes_max:
            name = min(queues, key=taken.get)
            path = next(queues[name], None)
            if path is None:
                del queues[name]
                continue
            file = self._load(by_name[name], split, language, path)
            if file:
                chosen.append(file)
                taken[name] += len(file.text.encode("utf-8"))
        return chosen

    def _load(self, package, split, language, path):
        text, reason = filters.read_text((package.folder / path).read_bytes())
        if text is not None and filters.language_of(path, text) != language:
            return None
        stanza = package_copyright(package).usable_stanza_of(path, package.name)
        if reason is None and stanza is None:
            reason = "licence"
        if reason is None:
            reason = filters.rejection(text)
        if reason is None:
            text = filters.strip_licence_header(text)
            if len(text) < filters.BYTES_MIN:
                reason = "too small"
        if reason is None:
            content_hash = hashlib.sha256("".join(text.split()).encode("utf-8")).hexdigest()
            runs = shingles.shingles_of(text)
            reason = self._duplicate(split, content_hash, runs)
        if reason is not None:
            self.drops[reason] += 1
            return None
        self.seen.add(content_hash)
        if split == "heldout":
            self.heldout_shingles |= runs
        else:
            self.train_shingles_in_heldout |= runs & self.heldout_shingles
            runs = set()
        return CorpusFile(package, split, language, path, text, stanza, content_hash, runs)

    def _duplicate(self, split, content_hash, runs):
        if content_hash in self.seen:
            return "exact duplicate"
        if split == "train" and shingles.shared_fraction(runs, self.heldout_shingles) >= SHARED_MAX:
            return "shares lines with the held-out split"
        return None

    def is_clean(self, file):
        """False for a held-out file most of whose lines were met in training files after all."""
        clean = shingles.shared_fraction(file.shingles, self.train_shingles_in_heldout) < SHARED_MAX
        self.drops["held out, but shares lines with training"] += not clean
        return clean


_copyrights = {}


def package_copyright(package):
    if package.name not in _copyrights:
        text = (package.folder / "debian" / "copyright").read_text(encoding="utf-8", errors="replace")
        parsed = debian_copyright.parse_copyright(text)
        _copyrights[package.name] = parsed or debian_copyright.CopyrightFile((), {}, "")
    return _copyrights[package.name]


def _paths_in_order(package, language):
    """The candidate paths, folder by folder in a fixed pseudo-random order of folders."""
    folders = collections.defaultdict(list)
    for parent, subfolders, names in os.walk(package.folder):
        subfolders.sort()
        folder = os.path.relpath(parent, package.folder)
        for name in sorted(names):
            path = name if folder == "." else f"{folder}/{name}"
            if filters.may_be(path, language) and not filters.path_is_skipped(path):
                if not os.path.islink(os.path.join(parent, name)):
                    folders[folder].append(path)
    for folder in sorted(folders, key=lambda f: _order(package.name, f)):
        paths = sorted(folders[folder], key=lambda p: _order(package.name, p))
        yield from paths[:FILES_PER_FOLDER_MAX]


def _order(*parts):
    return hashlib.sha256("\0".join(parts).encode("utf-8")).digest()


def write_pack(path, files):
    """One record per file: a line `split language package path bytes` (tabs between), the bytes, a line end."""
    with open(path, "wb") as pack:
        for file in files:
            data = file.text.encode("utf-8")
            head = (file.split, file.language, file.package.name, file.path, str(len(data)))
            pack.write("\t".join(head).encode("utf-8") + b"\n" + data + b"\n")


def write_manifest(path, files):
    with open(path, "w", encoding="utf-8") as manifest:
        for file in files:
            line = {
                "package": file.package.name,
                "version": file.package.version,
                "dsc_sha256": file.package.dsc_sha256,
                "path": file.path,
                "licence": file.stanza.licence,
                "holder": file.stanza.holders,
                "content_sha256": file.content_hash,
                "language": file.language,
                "split": file.split,
            }
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


def fetch_all(entries, folder):
    fetcher = sources.SourceFetcher(folder)
    packages = {"train": [], "heldout": []}
    missing = []
    for name, split in entries:
        try:
            packages[split].append(fetcher.fetch(name))
            print(f"have {name}", file=sys.stderr, flush=True)
        except LookupError as error:
            missing.append(name)
            print(f"skipped: {error}", file=sys.stderr, flush=True)
    return packages, missing


def build(folder, entries, megabytes_factor):
    packages, missing = fetch_all(entries, folder)
    drops = collections.Counter()
    selector = Selector(drops)
    files = []
    # Held-out files come first: training files are compared with them.
    for split in ("heldout", "train"):
        for language in filters.LANGUAGES:
            megabytes = HELDOUT_MEGABYTES if split == "heldout" else MEGABYTES_OF_LANGUAGE[language] * megabytes_factor
            chosen = selector.select(packages[split], split, language, megabytes * 1e6)
            files += chosen
            size = sum(len(file.text) for file in chosen) / 1e6
            print(f"{split} {language}: {len(chosen)} files, {size:.1f} MB", file=sys.stderr, flush=True)
    files = [file for file in files if file.split == "train" or selector.is_clean(file)]
    write_pack(folder / "corpus.pack", files)
    write_manifest(folder / "manifest.jsonl", files)
    notice.write_notice(folder / "NOTICE", files, package_copyright)
    counts = collections.Counter()
    for file in files:
        counts[f"{file.split} {file.language} {file.package.name}"] += len(file.text.encode("utf-8"))
    report = {"missing": missing, "dropped": dict(drops), "bytes": dict(sorted(counts.items()))}
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=here.parents[1] / "build" / "corpus")
    parser.add_argument("--packages", type=Path, default=here / "packages.txt")
    parser.add_argument("--size", type=float, default=1.0, help="factor on the size per language")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    build(arguments.folder, sources.read_package_list(arguments.packages), arguments.size)


if __name__ == "__main__":
    main()
