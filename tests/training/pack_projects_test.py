"""Folders of one's own as a corpus: what is taken of them, what is not, and what is held out."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "training" / "corpus"
sys.path.insert(0, str(CORPUS))

import pack_parts


def code(name, lines=12):
    return "".join(f"def {name}_{i}(value):\n    return value + {name}_constant_{i}\n" for i in range(lines))


class PackProjectsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def pack(self, *folders, share=0.0):
        words = [sys.executable, "-B", CORPUS / "pack_projects.py", self.root / "out" / "corpus.pack"]
        words += [self.root / folder for folder in folders] + ["--heldout-share", share]
        return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)

    def packed(self, *folders, share=0.0):
        """{(project, path): (split, language, text)}"""
        done = self.pack(*folders, share=share)
        self.assertEqual(done.returncode, 0, done.stderr)
        files = {}
        for split, record in pack_parts.records(self.root / "out" / "corpus.pack"):
            head, text = record.split(b"\n", 1)
            _, language, project, path, _ = head.decode().split("\t")
            files[project, path] = split, language, text[:-1].decode()
        return files

    def test_what_is_taken_of_a_folder(self):
        self.write("mine/src/first.py", "# Copyright 2020 Ada, GPL-2.0\n\n" + code("first"))
        self.write("mine/src/nearly.py", code("first", 11) + "last = 1\n")
        self.write("mine/tool.py", code("tool"))
        self.write("mine/vendor/theirs.py", code("theirs"))
        self.write("mine/.cache/hidden.py", code("hidden"))
        self.write("mine/small.py", "x = 1\n")
        self.write("mine/picture.png", "no code")
        (self.root / "mine/link.py").symlink_to(self.root / "mine/tool.py")
        (self.root / "mine/gone.py").symlink_to(self.root / "nowhere")
        files = self.packed("mine")
        self.assertEqual(set(files), {("mine", "src/first.py"), ("mine", "tool.py")})
        self.assertEqual(files["mine", "src/first.py"], ("train", "python", code("first")))  # any licence, without its head

    def test_of_a_work_tree_what_git_does_not_ignore(self):
        self.write("mine/kept.py", code("kept"))
        self.write("mine/new.py", code("new"))
        self.write("mine/removed.py", code("removed"))
        self.write("mine/built.py", code("built"))
        self.write("mine/.gitignore", "built.py\n")
        git = ["git", "-C", str(self.root / "mine")]
        try:
            subprocess.run([*git, "init", "-q"], check=True)
        except OSError:
            self.skipTest("git is not installed")
        subprocess.run([*git, "add", "kept.py", "removed.py"], check=True)
        (self.root / "mine/removed.py").unlink()
        self.assertEqual(set(self.packed("mine")), {("mine", "kept.py"), ("mine", "new.py")})
        self.write("mine/part/inner.py", code("inner"))
        self.assertEqual(set(self.packed("mine/part")), {("part", "inner.py")})

    def test_projects_of_one_name_are_told_apart(self):
        self.write("a/mine/one.py", code("one"))
        self.write("b/mine/two.py", code("two"))
        self.assertEqual(set(self.packed("a/mine", "b/mine")), {("mine", "one.py"), ("mine-2", "two.py")})

    def test_the_same_share_is_held_out_each_time_and_only_of_code(self):
        for i in range(200):
            self.write(f"mine/{i}.py", code(f"name_{i}", 3))
            self.write(f"mine/{i}.md", f"Sentence {i} of {i} about {i} and what it is for.\n" * 9)
        files = self.packed("mine", share=0.1)
        heldout = {path for (_, path), (split, _, _) in files.items() if split == "heldout"}
        self.assertTrue(5 < len(heldout) < 40, heldout)
        self.assertTrue(all(path.endswith(".py") for path in heldout))
        self.write("mine/another.py", code("another"))
        again = self.packed("mine", share=0.1)
        self.assertLessEqual(heldout, {path for (_, path), (split, _, _) in again.items() if split == "heldout"})

    def test_where_there_is_nothing_to_learn_it_says_why(self):
        self.write("mine/small.py", "x = 1\n")
        self.write("mine/text.md", "A sentence about what this is.\n" * 9)
        done = self.pack("mine")
        self.assertEqual(done.returncode, 1)
        self.assertIn("too small 1", done.stderr)
        self.assertFalse((self.root / "out").exists())
        done = self.pack("nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn("nowhere", done.stderr)


if __name__ == "__main__":
    unittest.main()
