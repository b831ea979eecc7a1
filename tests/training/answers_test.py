"""How answers are asked for and kept; the model is a program that says each case back."""

import contextlib
import io
import json
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import answers

# Writes down each case that it is asked; ends when a case says so.
PROGRAM = """#!/usr/bin/env python3
import sys
print("0.4", flush=True)
while header := sys.stdin.buffer.readline():
    path, code = (sys.stdin.buffer.read(int(n)) for n in header.split())
    open(__file__ + ".asked", "ab").write(code + b" ")
    if code == b"end":
        sys.exit(3)
    if code == b"cut":
        sys.stdout.buffer.write(b"0.5 9 0\\nhalf")
        sys.exit(0)
    sys.stdout.buffer.write(b"0.5 %d %d\\n" % (len(code), len(path)) + code + path)
    sys.stdout.buffer.flush()
"""


class AskerTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program, self.model = self.folder / "program", self.folder / "m.gguf"
        self.program.write_text(PROGRAM)
        self.program.chmod(self.program.stat().st_mode | stat.S_IEXEC)
        self.model.write_bytes(b"GGUF")

    def ask(self, *codes, salt=lambda case: ""):
        asker = answers.Asker(self.program, self.model, self.folder / "kept")
        with contextlib.redirect_stderr(io.StringIO()):
            constants, said = asker.ask("explain", "explain", [["é.x", code] for code in codes], salt=salt)
        self.assertEqual(constants, [0.4])
        return [answer["answer"] for answer in said]

    def asked(self):
        noted = self.folder / "program.asked"
        text = noted.read_text() if noted.exists() else ""
        noted.unlink(missing_ok=True)
        return text.split()

    def kept(self):
        return next((self.folder / "kept").glob("*/explain.jsonl"))

    def test_texts_come_back_whole(self):
        case = ["é.x", "naïve\n0.5 1 1\n"]
        with answers.Conversation(self.program, ["explain", self.model], [case]) as talk:
            (answer,) = talk
        self.assertEqual(answer, {"confidence": 0.5, "answer": case[1], "shown": case[0]})

    def test_what_was_answered_is_not_asked_again(self):
        self.assertEqual(self.ask("a", "b", "a"), ["a", "b", "a"])
        self.assertEqual(self.asked(), ["a", "b"])
        self.assertEqual(self.ask("c", "b", "d"), ["c", "b", "d"])
        self.assertEqual(self.asked(), ["c", "d"])
        self.assertEqual(self.ask("d", "a"), ["d", "a"])
        self.assertEqual(self.asked(), [])

    def test_an_interrupted_evaluation_goes_on(self):
        for last in ("end", "cut"):
            with self.subTest(last=last):
                with self.assertRaises(subprocess.CalledProcessError):
                    self.ask("a" + last, "b" + last, last, "c" + last)
                self.asked()
                self.assertEqual(self.ask("a" + last, "b" + last, "c" + last), ["a" + last, "b" + last, "c" + last])
                self.assertEqual(self.asked(), ["c" + last])

    def test_half_a_line_is_forgotten(self):
        self.ask("a", "b")
        self.kept().write_bytes(self.kept().read_bytes()[:-4])
        self.asked()
        self.assertEqual(self.ask("a", "b"), ["a", "b"])
        self.assertEqual(self.asked(), ["b"])
        for line in self.kept().read_text().splitlines():
            json.loads(line)

    def test_an_answer_is_in_the_file_at_once(self):
        path = self.folder / "kept" / "answers.jsonl"
        store = answers.Store(path)
        self.addCleanup(store.file.close)
        store.add("a", {"text": "é"})
        self.assertEqual(json.loads(path.read_text()), {"key": "a", "text": "é"})

    def test_answers_of_another_model_program_or_shard_are_not_used(self):
        self.ask("a")
        self.model.write_bytes(b"GGUF2")
        self.ask("a")
        self.program.write_text(PROGRAM + "# other\n")
        self.ask("a")
        self.ask("a", salt=lambda case: "shard")
        self.assertEqual(self.asked(), ["a"] * 4)
        self.ask("a", salt=lambda case: "shard")
        self.assertEqual(self.asked(), [])


if __name__ == "__main__":
    unittest.main()
