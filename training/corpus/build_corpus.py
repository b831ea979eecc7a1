#!/usr/bin/env python3
"""Builds the training corpus: `build_corpus.py [FOLDER]` (default: build/corpus).

Fetches the source packages of packages.txt, keeps what licence and filters allow, and writes into
FOLDER: corpus.pack (the files), manifest.jsonl (where each comes from), NOTICE (whose it is) and
report.json (what was dropped, and why). A few packages are unpacked at a time, each read once; their texts
stay in FOLDER/scanned, so a second run goes on where the first ended and needs no package again.
"""

import argparse
import collections
import concurrent.futures
import functools
import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import filters
import notice
import pack_parts
import scan
import shingles
import sources

MEGABYTES_OF_LANGUAGE = {
    "python": 150, "cpp": 150, "c": 120, "go": 110, "rust": 110, "java": 90, "typescript": 70, "javascript": 70,
    "docs": 35, "shell": 12, "sql": 5, "yaml": 6, "cmake": 6, "html": 6,
}  # fmt: skip
HELDOUT_MEGABYTES = 3.0
SHARED_MAX = 0.5


class Selector:
    """Takes files of one split, language by language, evenly from all packages, up to a cap.

    Held-out files have to be selected first: training files are compared with them.
    """

    def __init__(self, drops):
        self.drops = drops
        self.seen = set()
        self.near = shingles.NearDuplicates()
        self.heldout_shingles = set()
        self.train_shingles_in_heldout = set()
        self.shingles_of_heldout_file = {}

    def hold_out(self, packages):
        """Nothing of these projects may be trained on, whether it is selected for evaluation or not."""
        for package in packages:
            for file in package.files:
                if file.language in filters.CODE_LANGUAGES:
                    self.heldout_shingles |= shingles.shingles_of(package.text_of(file))

    def meet(self, pack):
        """What another corpus was made for training counts as training text here, too."""
        for split, record in pack_parts.records(pack):
            if split == "train":
                text = record.split(b"\n", 1)[1].decode("utf-8")
                self.train_shingles_in_heldout |= shingles.shingles_of(text) & self.heldout_shingles

    def select(self, packages, split, language, bytes_max):
        queues = {p.name: iter([f for f in p.files if f.language == language]) for p in packages}
        by_name = {p.name: p for p in packages}
        taken = dict.fromkeys(queues, 0)
        chosen = []
        while queues and sum(taken.values()) < bytes_max:
            name = min(queues, key=taken.get)
            file = next(queues[name], None)
            if file is None:
                del queues[name]
            elif self._accept(by_name[name], split, file):
                chosen.append(file)
                taken[name] += file.bytes
        return chosen

    def _accept(self, package, split, file):
        if file.content_hash in self.seen:
            self.drops["exact duplicate"] += 1
            return False
        runs = shingles.shingles_of(package.text_of(file))
        if split == "train" and shingles.shared_fraction(runs, self.heldout_shingles) >= SHARED_MAX:
            self.drops["shares lines with the held-out projects"] += 1
            return False
        if not self.near.is_new(runs):
            self.drops["near duplicate"] += 1
            return False
        self.seen.add(file.content_hash)
        if split == "heldout":
            self.shingles_of_heldout_file[file] = runs
        else:
            self.train_shingles_in_heldout |= runs & self.heldout_shingles
        return True

    def is_clean(self, file):
        """False for a held-out file most of whose lines were met in training files after all."""
        runs = self.shingles_of_heldout_file[file]
        clean = shingles.shared_fraction(runs, self.train_shingles_in_heldout) < SHARED_MAX
        self.drops["held out, but shares lines with training"] += not clean
        return clean


def scan_all(entries, folder, jobs):
    """({split: scanned packages}, names of those that could not be had), `jobs` packages at a time."""
    scanned = folder / "scanned"
    scanned.mkdir(exist_ok=True)
    packages = {"train": [], "heldout": []}
    missing = []
    fetcher = sources.SourceFetcher(folder)
    if not all(scan.is_scanned(scanned, entry.name) for entry in entries if not entry.name.startswith("npm:")):
        try:
            fetcher.ensure_lists()  # once, before the workers part
        except LookupError as error:
            print(error, file=sys.stderr)  # and each package will be skipped for it
    # Who interrupts ends the workers at once, without a word from each.
    quiet = {"initializer": signal.signal, "initargs": (signal.SIGINT, signal.SIG_DFL)}
    with concurrent.futures.ProcessPoolExecutor(jobs, **quiet) as pool:
        in_order = pool.map if jobs > 1 else map
        reasons = in_order(functools.partial(_ensure_scanned, fetcher, scanned), entries)
        for entry, reason in zip(entries, reasons, strict=True):
            if reason:
                missing.append(entry.name)
                print(f"skipped: {reason}", file=sys.stderr, flush=True)
                continue
            packages[entry.split].append(scan.ScannedPackage(scanned, entry.name))
            print(f"have {entry.name}: {_sizes(packages[entry.split][-1])}", file=sys.stderr, flush=True)
    return packages, missing


def _ensure_scanned(fetcher, scanned, entry):
    """Why the package cannot be had; nothing where its scan is there."""
    if scan.is_scanned(scanned, entry.name):
        return ""
    try:
        package = fetcher.fetch(entry)
    except LookupError as error:
        return str(error)
    scan.scan(package, entry.split == "heldout", scanned)
    fetcher.forget(package)
    return ""


def _sizes(package):
    sizes = collections.Counter()
    for file in package.files:
        sizes[file.language] += file.bytes
    return ", ".join(f"{language} {size / 1e6:.1f}" for language, size in sizes.most_common() if size > 50_000)


def select_all(packages, drops, factor, trained_on):
    """The held-out and the training files, in the order of the pack."""
    selector = Selector(drops)
    chosen = {"heldout": [], "train": []}
    for language in filters.CODE_LANGUAGES:
        chosen["heldout"] += selector.select(packages["heldout"], "heldout", language, HELDOUT_MEGABYTES * 1e6)
    selector.hold_out(packages["heldout"])
    for pack in trained_on:
        selector.meet(pack)
    for language in filters.LANGUAGES:
        bytes_max = MEGABYTES_OF_LANGUAGE[language] * factor * 1e6
        files = selector.select(packages["train"], "train", language, bytes_max)
        size = sum(file.bytes for file in files) / 1e6
        print(f"train {language}: {len(files)} files, {size:.1f} MB", file=sys.stderr, flush=True)
        chosen["train"] += files
    chosen["heldout"] = [file for file in chosen["heldout"] if selector.is_clean(file)]
    # Folders are shuffled and stay together: any stretch of the pack is a balanced mix, and a file's
    # neighbours are near.
    chosen["train"].sort(key=pack_order)
    return chosen


def pack_order(file):
    """The key of training files in a pack."""
    folder = file.path.rpartition("/")[0]
    return hashlib.sha256(f"{file.package}\0{folder}".encode("utf-8")).digest(), file.path


def write_pack(path, chosen, scanned_of):
    """One record per file: a line `split language package path bytes` (tabs between), the bytes, a line end."""
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as pack:
        for split, files in chosen.items():
            for file in files:
                head = (split, file.language, file.package, file.path, str(file.bytes))
                data = scanned_of[file.package].text_of(file).encode("utf-8")
                pack.write("\t".join(head).encode("utf-8") + b"\n" + data + b"\n")
    os.replace(part, path)


def write_manifest(path, chosen, scanned_of):
    with open(path, "w", encoding="utf-8") as manifest:
        for split, files in chosen.items():
            for file in files:
                about = scanned_of[file.package].about
                line = {
                    "package": file.package,
                    "version": about["version"],
                    "source_sha256": about["source_sha256"],
                    "path": file.path,
                    "licence": file.licence,
                    "holder": file.holders,
                    "content_sha256": file.content_hash,
                    "language": file.language,
                    "split": split,
                }
                manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


def write_report(path, chosen, missing, drops):
    languages = collections.Counter()
    packages = collections.Counter()
    for split, files in chosen.items():
        for file in files:
            languages[f"{split} {file.language}"] += file.bytes
            packages[f"{split} {file.language} {file.package}"] += file.bytes
    report = {
        "missing": missing,
        "dropped": dict(drops),
        "bytes": dict(sorted(languages.items())),
        "bytes of packages": dict(sorted(packages.items())),
    }
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def build(folder, entries, factor, jobs, trained_on=()):
    """`trained_on` are packs of other corpora: held-out files that share half of their lines with the training files there are
    dropped as well."""
    packages, missing = scan_all(entries, folder, jobs)
    scanned_of = {package.name: package for split in packages.values() for package in split}
    drops = collections.Counter()
    for package in scanned_of.values():
        drops.update(package.about["dropped"])
    chosen = select_all(packages, drops, factor, trained_on)
    if not any(chosen.values()):
        sys.exit("build_corpus: no package could be had, or nothing of them may be used; the lines above say why")
    write_manifest(folder / "manifest.jsonl", chosen, scanned_of)
    notice.write_notice(folder / "NOTICE", chosen["train"], scanned_of)
    write_report(folder / "report.json", chosen, missing, drops)
    write_pack(folder / "corpus.pack", chosen, scanned_of)  # last: it says that all is there


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", nargs="?", type=Path, default=here.parents[1] / "build" / "corpus")
    parser.add_argument("--packages", type=Path, action="append", help="a list, or several (default: packages.txt)")
    parser.add_argument("--trained-on", type=Path, action="append", default=[], metavar="PACK",
                        help="another corpus: its training files' lines are not held out here")
    parser.add_argument("--size", type=float, default=1.0, help="factor on the size per language")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="packages read at a time")
    arguments = parser.parse_args()
    for pack in arguments.trained_on:
        if not pack.is_file():
            parser.error(f"--trained-on names a corpus.pack: {pack} is none")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    try:
        lists = map(sources.read_package_list, arguments.packages or [here / "packages.txt"])
        build(arguments.folder, [entry for entries in lists for entry in entries], arguments.size, arguments.jobs,
              arguments.trained_on)
    except (RuntimeError, ValueError) as error:  # no archive answers; a line of packages.txt is broken
        sys.exit(f"build_corpus: {error}")
    except KeyboardInterrupt:
        sys.exit("build_corpus: interrupted; whole packages that were fetched are kept, the same command goes on")


if __name__ == "__main__":
    main()
