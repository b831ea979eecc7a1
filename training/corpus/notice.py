#!/usr/bin/env python3
"""Writes the NOTICE of a model: for each package, who holds the rights and under which licence.

build_corpus.py writes that of one corpus. By hand: notice.py FILE FOLDER..., of a model that was trained on several, each a
folder that build_corpus.py made.
"""

import collections
import json
import sys
from pathlib import Path

import scan

_INTRODUCTION = """\
The weights of the default model were trained on files of the source packages below. Each file was
used under the licence that the package's debian/copyright (for packages named npm: its package.json
and LICENSE) gives for it. Listed are the holders and licences of the files that were used; the texts
of the licences follow at the end. Where a file is offered under one licence or another, it is used
under the permissive one.
"""


def write_notice(path, files, scanned_of):
    """`files`: the scanned files that are trained on; `scanned_of`: package name to ScannedPackage."""
    packages = collections.defaultdict(list)
    for file in files:
        packages[file.package].append(file)
    licence_texts = {}
    with open(path, "w", encoding="utf-8") as notice:
        notice.write(_INTRODUCTION)
        for name in sorted(packages):
            about = scanned_of[name].about
            notice.write(f"\n{name} {about['version']}\n")
            if about["source"]:
                notice.write(f"  Source: {about['source']}\n")
            grants = collections.Counter((f.licence, f.holders) for f in packages[name])
            for (licence, holders), count in sorted(grants.items()):
                notice.write(f"  {licence} ({count} file{'s' if count > 1 else ''}): {holders}\n")
            for licence, text in about["licence_texts"].items():
                entry = licence_texts.setdefault(" ".join(text.split()), (set(), set(), text))
                entry[0].add(licence)
                entry[1].add(name)
        for names, users, text in sorted(licence_texts.values(), key=lambda entry: sorted(entry[0])):
            notice.write(f"\n---- {', '.join(sorted(names))} ({', '.join(sorted(users))}) ----\n{_plain(text)}\n")


def _plain(text):
    """A DEP-5 text as it was: a line that holds only a dot is an empty line."""
    return "\n".join("" if line.strip() == "." else line.rstrip() for line in text.split("\n")).strip("\n")


def trained_on(folder):
    """({(package, path): scanned file}, {name: scanned package}) of the training files of a corpus."""
    with open(folder / "manifest.jsonl", encoding="utf-8") as manifest:
        lines = [json.loads(line) for line in manifest]
    wanted = {(line["package"], line["path"]) for line in lines if line["split"] == "train"}
    packages = {}
    for name in sorted({name for name, _ in wanted}):
        packages[name] = scan.ScannedPackage(folder / "scanned", name)
        packages[name].close()  # its texts are not read, and there may be more packages than files may be open
    files = {(name, file.path): file for name, package in packages.items() for file in package.files}
    return {key: files[key] for key in wanted}, packages


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: notice.py FILE FOLDER...")
    files, packages = {}, {}
    for folder in sys.argv[2:]:
        more_files, more_packages = trained_on(Path(folder))
        files.update(more_files)
        packages.update(more_packages)
    write_notice(sys.argv[1], files.values(), packages)


if __name__ == "__main__":
    main()
