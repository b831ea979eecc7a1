"""The corpus from two small made-up packages, from files on disk to pack, manifest and notice."""

import io
import json
import lzma
import sys
import tempfile
import unittest
from contextlib import redirect_stderr
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "corpus"))

import build_corpus
import notice
import pack_parts
import sample_pack
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
    return "".join(f"def {name}_{i}(value):\n    return value + {name}_constant_{i}\n" for i in range(lines))


class FakeFetcher:
    """Packages that are already on disk; "gone" is not."""

    fetched = []

    def __init__(self, root):
        self.root = root

    def ensure_lists(self):
        pass

    def fetch(self, entry):
        if entry.name == "gone":
            raise LookupError("cannot download the source of gone: 404")
        self.fetched.append(entry.name)
        return sources.SourcePackage(entry.name, "1.0-1", "00" * 32, self.root / entry.name, entry.only, entry.licence)

    def forget(self, package):
        package.folder.rename(package.folder.with_suffix(".forgotten"))


class BuildTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for package in ("learn", "judge"):
            self.write(f"{package}/debian/copyright", COPYRIGHT)
        self.write("prose/debian/copyright", "This is under the BSD licence.\n")
        self.write("prose/lib/read.py", code("prose"))
        self.write("prose/other.py", code("elsewhere"))
        self.write("unknown/debian/copyright", "This is under some licence.\n")
        self.write("unknown/read.py", code("unknown"))
        self.write("learn/src/first.py", "# Copyright 2020 Ada\n\n" + code("first"))
        self.write("learn/src/same.py", code("first").replace("    ", "        "))
        self.write("learn/src/nearly.py", code("first", 11) + "last = 1\n")
        self.write("learn/src/vendored.py", code("judged") + "x = 1\n")
        self.write("learn/src/text.md", "A sentence about what this is.\n" * 9)
        self.write("learn/gpl/no.py", code("gpl"))
        self.write("learn/src/small.py", "x = 1\n")
        self.write("judge/judged.py", code("judged"))
        self.write("judge/vendor/first.py", code("first"))
        self.write("judge/text.md", "Another sentence about what this is.\n" * 9)
        FakeFetcher.fetched = []
        self.entries = [
            sources.Entry("learn", "train"), sources.Entry("judge", "heldout"), sources.Entry("gone", "train"),
            sources.Entry("prose", "train", ("lib/",), "BSD-3-Clause"), sources.Entry("unknown", "train"),
        ]  # fmt: skip
        self.build()
        self.manifest = [json.loads(line) for line in (self.root / "manifest.jsonl").read_text().splitlines()]

    def build(self, jobs=1, trained_on=()):
        with mock.patch.object(sources, "SourceFetcher", FakeFetcher), redirect_stderr(io.StringIO()):
            build_corpus.build(self.root, self.entries, 1.0, jobs, trained_on)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def test_what_is_kept_and_why_not(self):
        kept = {(line["split"], line["path"]) for line in self.manifest}
        self.assertEqual(len(kept & {("train", f"src/{name}.py") for name in ("first", "same", "nearly")}), 1)
        kept -= {("train", f"src/{name}.py") for name in ("first", "same", "nearly")}
        self.assertEqual(kept, {("heldout", "judged.py"), ("train", "src/text.md"), ("train", "lib/read.py")})
        report = json.loads((self.root / "report.json").read_text())
        self.assertEqual(report["missing"], ["gone"])
        dropped = {"shares lines with the held-out projects": 1, "licence": 2, "too small": 1}
        for reason, count in dropped.items():
            self.assertEqual(report["dropped"].get(reason), count, reason)
        copies = sum(report["dropped"].get(reason, 0) for reason in ("exact duplicate", "near duplicate"))
        self.assertEqual(copies, 2)

    def test_what_another_corpus_trained_on_is_not_held_out(self):
        self.write("judge.forgotten/new.py", code("new"))
        other = self.root / "other.pack"

        def heldout_beside(split):
            text = (code("judged") + "x = 1\n").encode()
            other.write_bytes(f"{split}\tpython\telsewhere\tcopy.py\t{len(text)}\n".encode() + text + b"\n")
            for folder in (self.root / "scanned").glob("judge*"):
                folder.unlink()
            for folder in self.root.glob("judge.forgotten"):
                folder.rename(folder.with_suffix(""))
            self.build(trained_on=[other])
            lines = map(json.loads, (self.root / "manifest.jsonl").read_text().splitlines())
            return {line["path"] for line in lines if line["split"] == "heldout"}

        self.assertEqual(heldout_beside("heldout"), {"judged.py", "new.py"})
        self.assertEqual(heldout_beside("train"), {"new.py"})

    def test_a_second_run_reads_no_package_again_and_gives_the_same(self):
        self.assertEqual(FakeFetcher.fetched, ["learn", "judge", "prose", "unknown"])
        before = {name: (self.root / name).read_bytes() for name in ("corpus.pack", "manifest.jsonl", "NOTICE")}
        self.build()
        self.assertEqual(FakeFetcher.fetched, ["learn", "judge", "prose", "unknown"])
        for name, data in before.items():
            self.assertEqual((self.root / name).read_bytes(), data, name)

    def test_packages_read_side_by_side_give_the_same(self):
        before = {name: (self.root / name).read_bytes() for name in ("corpus.pack", "manifest.jsonl", "report.json")}
        for scanned in (self.root / "scanned").iterdir():
            scanned.unlink()
        for forgotten in self.root.glob("*.forgotten"):
            forgotten.rename(forgotten.with_suffix(""))
        self.build(jobs=2)
        for name, data in before.items():
            self.assertEqual((self.root / name).read_bytes(), data, name)

    def test_a_scan_that_was_cut_short_is_made_again(self):
        (self.root / "scanned" / "prose.json").write_text("")
        (self.root / "prose.forgotten").rename(self.root / "prose")
        self.build()
        self.assertEqual(FakeFetcher.fetched[-1], "prose")
        self.assertIn("lib/read.py", (self.root / "manifest.jsonl").read_text())

    def test_the_manifest_names_origin_and_licence(self):
        line = next(line for line in self.manifest if line["split"] == "train" and line["package"] == "learn")
        self.assertEqual((line["version"], line["licence"], line["holder"]), ("1.0-1", "MIT", "2020 Ada"))
        self.assertEqual(len(line["content_sha256"]), 64)
        prose = next(line for line in self.manifest if line["package"] == "prose")
        self.assertEqual((prose["licence"], prose["language"]), ("BSD-3-Clause", "python"))

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
        self.assertIn("learn 1.0-1\n  MIT (2 files): 2020 Ada\n", notice)
        self.assertIn("Permission is hereby granted\n\nto any person\n", notice)
        self.assertIn("---- BSD-3-Clause (prose) ----\nThis is under the BSD licence.\n", notice)
        self.assertNotIn("judge", notice)

    def test_one_notice_names_what_several_corpora_are_of(self):
        other = self.root / "other"
        other.mkdir(exist_ok=True)
        (other / "scanned").symlink_to(self.root / "scanned")
        lines = [line for line in self.manifest if line["package"] == "learn"][:1]
        (other / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        for folders, files in (((self.root, other), 2), ((other,), 1)):
            with mock.patch.object(sys, "argv", ["notice.py", str(self.root / "both"), *map(str, folders)]):
                notice.main()
            text = (self.root / "both").read_text()
            self.assertIn(f"learn 1.0-1\n  MIT ({files} file{'s' if files > 1 else ''}): 2020 Ada\n", text)
        self.assertNotIn("prose", text)

    def test_the_pack_travels_in_balanced_parts(self):
        out = self.root / "parts"
        made = pack_parts.write_parts(self.root / "corpus.pack", out, 300)
        self.assertGreater(len(made), 1)
        joined = b"".join(lzma.decompress((out / f"{name}.pack.xz").read_bytes()) for name in ["heldout", *made])
        self.assertEqual(joined, (self.root / "corpus.pack").read_bytes())
        for name in made:
            self.assertTrue(lzma.decompress((out / f"{name}.pack.xz").read_bytes()).startswith(b"train\t"))

    def test_files_that_were_not_trained_on_travel_first(self):
        pack = self.root / "corpus.pack"
        trained = [(line["package"], line["path"]) for line in self.manifest if line["split"] == "train"]
        python = [file for file in trained if file[1].endswith(".py")]
        seen = self.root / "seen.jsonl"
        seen.write_text("".join(json.dumps(line) + "\n" for line in self.manifest if line["path"] != python[-1][1]))
        seen_files = pack_parts.seen_files(seen)
        self.assertEqual(set(trained) - seen_files, {python[-1]})

        def chosen_files(language_bytes):
            chosen = pack_parts.choose(pack, seen_files, pack_parts.language_sizes(language_bytes))
            heads = [record.split(b"\n", 1)[0].decode().split("\t") for _, record in pack_parts.records(pack)]
            return [(heads[place][2], heads[place][3]) for place in sorted(chosen)]

        self.assertEqual([file for file in chosen_files("1") if file[1].endswith(".py")], [python[-1]])
        self.assertEqual(sorted(chosen_files("1000000")), sorted(trained))
        self.assertEqual(chosen_files("0,python=1"), [python[-1]])
        parts = self.root / "parts"
        made = pack_parts.write_parts(pack, parts, 1_000_000, pack_parts.choose(pack, seen_files, pack_parts.language_sizes("1")))
        texts = b"".join(lzma.decompress((parts / f"{name}.pack.xz").read_bytes()) for name in made)
        self.assertIn(python[-1][1].encode(), texts)
        self.assertNotIn(python[0][1].encode(), texts)

    def test_a_sample_for_the_tokenizer_has_some_of_each_language(self):
        out = self.root / "sample.pack"
        taken = sample_pack.write_sample(self.root / "corpus.pack", out, 1)
        self.assertEqual(sorted(taken), ["docs", "python"])
        found = [record.split(b"\t", 3)[:2] for _, record in pack_parts.records(out)]
        self.assertEqual(sorted(found), [[b"heldout", b"python"], [b"train", b"docs"], [b"train", b"python"]])


class RegistryTest(unittest.TestCase):
    """What a package of another registry says of its licence."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def test_an_npm_package_has_one_licence_if_its_text_is_there(self):
        package = sources.NpmPackage("npm:a@1.0.0", "1.0.0", "00", self.root)
        about = {"name": "a", "license": "(MIT OR Apache-2.0)", "repository": {"url": "https://example.org/a"}}
        (self.root / "package.json").write_text(json.dumps(about))
        self.assertIsNone(package.copyright().usable_stanza_of("src/a.ts"))
        (self.root / "LICENSE.md").write_text("MIT\n\n * Copyright (c) 2021 Ada\n")
        stanza = package.copyright().usable_stanza_of("src/a.ts")
        self.assertEqual((stanza.licence, stanza.holders), ("MIT OR Apache-2.0", "Copyright (c) 2021 Ada"))
        self.assertEqual(sorted(package.copyright().licence_texts), ["Apache-2.0", "MIT"])
        for licence in ("GPL-3.0-only", "SEE LICENSE IN LICENSE.md", "MIT AND GPL-2.0-only", {"type": "MIT"}):
            (self.root / "package.json").write_text(json.dumps({"name": "a", "license": licence}))
            self.assertIsNone(package.copyright().usable_stanza_of("src/a.ts"), licence)


class ToolsTest(unittest.TestCase):
    """On a machine that lacks what unpacks: a folder of programs is all of PATH."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.programs = self.root / "programs"
        self.programs.mkdir()
        (self.root / "scanned").mkdir()
        path = mock.patch.dict("os.environ", {"PATH": str(self.programs)})
        path.start()
        self.addCleanup(path.stop)

    def skipped(self, *names):
        entries = [sources.Entry(name, "train") for name in names]
        with redirect_stderr(io.StringIO()) as said:
            packages, missing = build_corpus.scan_all(entries, self.root, 1)
        self.assertEqual(missing, list(names))
        self.assertEqual(packages, {"train": [], "heldout": []})
        return said.getvalue()

    def test_packages_whose_tool_is_missing_are_skipped_by_name(self):
        (self.programs / "apt-get").write_text("#!/bin/sh\n")
        (self.programs / "apt-get").chmod(0o755)
        said = self.skipped("zlib", "npm:rxjs@7.8.2")
        self.assertIn("skipped: cannot fetch zlib: dpkg-source is not installed; apt-get install dpkg-dev\n", said)
        self.assertIn("skipped: cannot fetch npm:rxjs@7.8.2: npm is not installed; apt-get install npm\n", said)

    def test_so_are_all_of_debian_where_apt_is_missing(self):
        (self.programs / "dpkg-source").write_text("#!/bin/sh\n")
        (self.programs / "dpkg-source").chmod(0o755)
        self.assertIn("skipped: cannot fetch Debian's packages: apt-get is not installed", self.skipped("zlib"))

    def test_what_came_in_part_is_fetched_anew_and_an_older_version_where_the_newest_is_gone(self):
        scripts = {
            "apt-get": """case "$*" in
              *indextargets*) echo http://deb.example/debian stable main;;
              *--download-only*/stable) printf 'Version: 1\\n' >some_1.dsc;;
              *--download-only*) : >some_2.dsc; echo "E: 404"; exit 100;;
            esac""",
            "dpkg-source": """[ "$4" = "$PWD/some_1.dsc" ] && /bin/mkdir "$5\"""",
        }
        for name, text in scripts.items():
            (self.programs / name).write_text("#!/bin/sh\n" + text + "\n")
            (self.programs / name).chmod(0o755)
        for rest in ("some.partial/some_3.dsc", "some/some_3.tar"):  # of an interrupted run
            (self.root / "sources" / rest).parent.mkdir(parents=True)
            (self.root / "sources" / rest).touch()
        package = sources.SourceFetcher(self.root).fetch(sources.Entry("some", "train"))
        self.assertEqual(package.version, "1")
        self.assertEqual([file.name for file in (self.root / "sources").glob("*/*")], ["some_1.dsc"])

    def test_a_corpus_of_nothing_is_no_corpus(self):
        with redirect_stderr(io.StringIO()), self.assertRaisesRegex(SystemExit, "no package could be had"):
            build_corpus.build(self.root, [sources.Entry("npm:rxjs@7.8.2", "train")], 1.0, 1)
        self.assertFalse((self.root / "corpus.pack").exists())


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

    def test_several_package_lists_are_one(self):
        with tempfile.TemporaryDirectory() as folder:
            lists = [Path(folder) / "first.txt", Path(folder) / "second.txt"]
            lists[0].write_text("a train\n")
            lists[1].write_text("b heldout src\n")
            options = [word for path in lists for word in ("--packages", str(path))]
            with mock.patch.object(build_corpus, "build") as build, mock.patch.object(sys, "argv", ["", folder, *options]):
                build_corpus.main()
        self.assertEqual([entry.name for entry in build.call_args.args[1]], ["a", "b"])

    def test_a_broken_package_list_is_named_by_line(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "packages.txt"
            path.write_text("# comment\none train\n\ntwo heldout # why\n")
            entries = [sources.Entry("one", "train"), sources.Entry("two", "heldout")]
            self.assertEqual(sources.read_package_list(path), entries)
            path.write_text("npm:@a/b@1.0 train src,lib/\nc train d MIT\n")
            npm = sources.Entry("npm:@a/b@1.0", "train", ("src/", "lib/"))
            entries = [npm, sources.Entry("c", "train", ("d/",), "MIT")]
            self.assertEqual(sources.read_package_list(path), entries)
            path.write_text("one train\ntwo maybe\n")
            with self.assertRaisesRegex(ValueError, ":2:"):
                sources.read_package_list(path)


if __name__ == "__main__":
    unittest.main()
