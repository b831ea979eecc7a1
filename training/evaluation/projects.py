"""What an editor has beside a case: the whole file, and other files of its project."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "corpus"))

import pack_parts

OPEN_FILES = 8
FILE_BYTES_MAX = 1 << 19
WORD = re.compile(r"\w+")


class Projects:
    """The held-out files of a corpus."""

    def __init__(self, pack):
        self.files = {}  # (project, language) -> [(path, text)]
        for split, record in pack_parts.records(pack):
            if split == "heldout":
                head, text = record.split(b"\n", 1)
                _, language, project, path, _ = head.decode().split("\t")
                if len(text) <= FILE_BYTES_MAX:
                    self.files.setdefault((project, language), []).append((path, text[:-1].decode()))

    def in_editor(self, case):
        """(project, prefix, suffix, [(path, text)]) of a case: all of its file, and the files that are likeliest to be open.

        These are of its language: first those that the file names, nearest folders first. Of a file that is not at hand the
        case's own prefix and suffix, and no others.
        """
        around = case["prefix"] + case["target"] + case["suffix"]
        for (project, language), files in self.files.items():
            if language != case["language"]:
                continue
            for path, text in files:
                if path == case["path"] and (begin := text.find(around)) >= 0:
                    cursor = begin + len(case["prefix"])
                    suffix = text[cursor + len(case["target"]) :]
                    return project, text[:cursor], suffix, open_files(files, case["path"], text)
        return "", case["prefix"], case["suffix"], []


def open_files(files, path, text):
    """The OPEN_FILES of `files` [(path, text)] that someone who works on `path` has open, the likeliest first."""
    words = set(WORD.findall(text))
    folder = path.split("/")[:-1]

    def rank(file):
        *own, name = file[0].split("/")
        shared = next((i for i, (a, b) in enumerate(zip(own, folder)) if a != b), min(len(own), len(folder)))
        return name.split(".")[0] not in words, len(own) + len(folder) - 2 * shared, file[0]

    return sorted((file for file in files if file[0] != path), key=rank)[:OPEN_FILES]
