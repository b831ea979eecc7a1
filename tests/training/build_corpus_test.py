"""The corpus from two small made-up packages, from files on disk to pack, manifest and notice."""

import io
import json
import sys
import tempfile
import unittest
from contextlib import redirect_stderr
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "corpus"))

import build_corpus
import sources

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 Ada
License: MIT

Files: gpl/*
Copyright: 2020 Linus
License: GPL-2

License: MIT
 Permission is hereby granted
 .
 to any person
"""


def code(name, lines=12):
    return "".join(f"def {name}_{i}(value):\n    return value + {name}_constant\n" for i in range(lines))


class FakeFetcher:
    """Packages that are already on disk; "gone" is not."""

    def __init__(self, root):
        self.root = root

    def fetch(self, name):
        if name == "gone":
            raise LookupError("cannot download the source of gone: 404")
        return sources.SourcePackage(name, "1.0-1", "00" * 32, self.root / name)


class BuildTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for package in ("learn", "judge"):
            self.write(f"{package}/debian/copyright", COPYRIGHT)
        self.write("learn/src/first.py", "# Copyright 2020 Ada\n\n" + code("first"))
        self.write("learn/src/same.py", code("first").replace("    ", "        "))
        self.write("learn/src/vendored.py", code("judged") + "x = 1\n")
        self.write("learn/gpl/no.py", code("gpl"))
        self.write("learn/src/small.py", "x = 1\n")
        self.write("judge/judged.py", code("judged"))
        with mock.patch.object(sources, "SourceFetcher", FakeFetcher), redirect_stderr(io.StringIO()):
            build_corpus._copyrights.clear()
            entries = [("learn", "train"), ("judge", "heldout"), ("gone", "train")]
            build_corpus.build(self.root, entries, 1.0)
        self.manifest = [json.loads(line) for line in (self.root / "manifest.jsonl").read_text().splitlines()]

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def test_what_is_kept_and_why_not(self):
        kept = {(line["split"], line["path"]) for line in self.manifest}
        first = ("train", "src/first.py") if ("train", "src/first.py") in kept else ("train", "src/same.py")
        self.assertEqual(kept, {("heldout", "judged.py"), first})
        report = json.loads((self.root / "report.json").read_text())
        self.assertEqual(report["missing"], ["gone"])
        dropped = {"exact duplicate": 1, "shares lines with the held-out split": 1, "licence": 1, "too small": 1}
        for reason, count in dropped.items():
            self.assertEqual(report["dropped"].get(reason), count, reason)

    def test_the_manifest_names_origin_and_licence(self):
        line = next(line for line in self.manifest if line["split"] == "train")
        self.assertEqual(
            (line["package"], line["version"], line["licence"], line["holder"], line["language"]),
            ("learn", "1.0-1", "MIT", "2020 Ada", "python"),
        )
        self.assertEqual(len(line["content_sha256"]), 64)

    def test_the_pack_holds_heads_and_bytes(self):
        data = (self.root / "corpus.pack").read_bytes()
        head, _, rest = data.partition(b"\n")
        split, language, package, path, size = head.split(b"\t")
        self.assertEqual((split, language, package, path), (b"heldout", b"python", b"judge", b"judged.py"))
        self.assertEqual(rest[: int(size)].decode(), code("judged"))
        self.assertEqual(rest[int(size) : int(size) + 1], b"\n")
        self.assertNotIn(b"Copyright", data)

    def test_the_notice_names_what_was_trained_on(self):
        notice = (self.root / "NOTICE").read_text()
        self.assertIn("learn 1.0-1\n  MIT (1 file): 2020 Ada\n", notice)
        self.assertIn("Permission is hereby granted\n\nto any person\n", notice)
        self.assertNotIn("judge", notice)


class SourcesTest(unittest.TestCase):
    def test_deb_src_lines_come_from_the_configured_debian_repositories(self):
        targets = [
            "http://deb.example/debian/ stable main /usr/share/keyrings/own.gpg",
            "http://deb.example/debian/ stable main /usr/share/keyrings/own.gpg",
            "http://deb.example/debian-security/ stable-security main $(SIGNED_BY)",
            "http://other.example/tools stable main",
            "",
        ]
        self.assertEqual(
            sources.deb_src_lines(targets),
            "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
            "http://deb.example/debian-security/ stable-security main\n"
            "deb-src [signed-by=/usr/share/keyrings/own.gpg] http://deb.example/debian/ stable main\n",
        )

    def test_a_broken_package_list_is_named_by_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "packages.txt"
            path.write_text("# comment\none train\n\ntwo heldout # why\n")
            self.assertEqual(sources.read_package_list(path), [("one", "train"), ("two", "heldout")])
            path.write_text("one train\ntwo maybe\n")
            with self.assertRaisesRegex(ValueError, ":2:"):
                sources.read_package_list(path)


if __name__ == "__main__":
    unittest.main()
