#!/usr/bin/env python3
"""A corpus of your own projects: `pack_projects.py OUT.pack FOLDER...`, for `make learn`.

What a person wrote there and git does not ignore, with the filters of the default model's corpus but for licences,
which are your own affair. Copies of other projects (vendor, third_party, ...) are left out, and of files that are
nearly alike all but one. A share of the files is held out: never learnt, so that it can be said what learning gave.
"""

import argparse
import collections
import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import build_corpus
import filters
import shingles

HELDOUT_SHARE = 0.05


@dataclass(frozen=True)
class ProjectFile:
    package: str
    path: str
    language: str
    bytes: int


class Project:
    """A folder and its texts; `files` is in the order of paths."""

    def __init__(self, name, folder, drops):
        self.name = name
        self.files = []
        self._texts = {}
        for path in sorted(_paths(folder)):
            text, reason = _read(folder / path, path)
            if text is None:
                drops[reason] += 1
                continue
            self._texts[path] = text
            self.files.append(ProjectFile(name, path, filters.language_of(path, text), len(text.encode("utf-8"))))

    def text_of(self, file):
        return self._texts[file.path]


def _paths(folder):
    """Those that git knows or would add; where git does not answer, all that are in no hidden folder."""
    command = ["git", "-C", folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return list(_walked_paths(folder))
    return [os.fsdecode(path) for path in set(listed.split(b"\0")) if path]


def _walked_paths(folder):
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            yield os.path.relpath(os.path.join(parent, name), folder)


def _read(file, path):
    """(text, None), or (None, why it is left out)."""
    if not path.isprintable() or not filters.may_be_useful(path):
        return None, "no source file"
    if filters.path_is_vendored(path):
        return None, "of another project"
    if file.is_symlink() or not file.is_file():
        return None, "no regular file"
    try:
        text, reason = filters.read_text(file.read_bytes())
    except OSError as error:
        return None, error.strerror
    return (None, reason) if reason else filters.worthy_text(text, is_own=True)


def read_projects(folders, drops):
    """A project per folder, each with a name of its own."""
    names = collections.Counter()
    projects = []
    for folder in folders:
        name = folder.resolve().name
        names[name] += 1
        projects.append(Project(name if names[name] == 1 else f"{name}-{names[name]}", folder, drops))
    return projects


def choose(projects, heldout_share, drops):
    """{split: files}, in the order of the pack."""
    near = shingles.NearDuplicates()
    chosen = {"heldout": [], "train": []}
    for project in projects:
        for file in project.files:
            if not near.is_new(shingles.shingles_of(project.text_of(file))):
                drops["near duplicate"] += 1
                continue
            is_heldout = file.language in filters.CODE_LANGUAGES and _share_of(file) < heldout_share
            chosen["heldout" if is_heldout else "train"].append(file)
    for files in chosen.values():
        files.sort(key=build_corpus.pack_order)
    return chosen


def _share_of(file):
    """Where the file's name falls in [0, 1): the same in every run, so that what is held out stays so."""
    digest = hashlib.sha256(f"{file.package}\0{file.path}".encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--heldout-share", type=float, default=HELDOUT_SHARE, help="of the code files")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        if not folder.is_dir():
            sys.exit(f"pack_projects: {folder} is no folder")
    drops = collections.Counter()
    projects = read_projects(arguments.folders, drops)
    chosen = choose(projects, arguments.heldout_share, drops)
    left_out = ", ".join(f"{reason} {count}" for reason, count in drops.most_common())
    if not any(file.language in filters.CODE_LANGUAGES for file in chosen["train"]):
        sys.exit(f"pack_projects: no code to learn in {', '.join(map(str, arguments.folders))}; left out: {left_out or 'nothing'}")
    arguments.pack.parent.mkdir(parents=True, exist_ok=True)
    build_corpus.write_pack(arguments.pack, chosen, {project.name: project for project in projects})
    for split, files in chosen.items():
        print(f"{split}: {len(files)} files, {sum(file.bytes for file in files) / 1e6:.2f} MB")
    print(f"left out: {left_out or 'nothing'}")


if __name__ == "__main__":
    main()
