"""How lines are copied, scored and reported; the model is a program that answers from a table."""

import contextlib
import io
import json
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import evaluate

# Answers every case with its path, and every shard with one bit per byte.
PROGRAM = """#!/usr/bin/env python3
import sys
if sys.argv[1] == "bits":
    for name, size in (("heldout-c.bin", 1000), ("heldout-go.bin", 3000)):
        print(name, 100, size // 2, size // 2 * (1 if "-c" in name else 3), size, sep="\\t")
else:
    print("0.3 0.1 0.8", flush=True)
    while header := sys.stdin.buffer.readline():
        path, language, prefix, suffix = (sys.stdin.buffer.read(int(n)) for n in header.split())
        assert suffix.startswith(b"\\n") and prefix and language in (b"c", b"go")
        # The model says the path; a copy says what is right and is less likely; another is at fault.
        size = len(path)
        words = f"model 0.4 {size} none -0.9 3 {size} 2 none 0.2 12 1 0 1 5 unbalanced 0.9 40 2 1 0 2"
        sys.stdout.buffer.write(words.encode() + b"\\n" + path + path + "é1.x))".encode())
"""


class CopyTest(unittest.TestCase):
    def test_the_longest_match_decides(self):
        cases = [
            ("open(a)\nclose(a)\nopen(b)\nclo", "\n", "se(a)"),
            ("x = alpha\ny = beta\nx = ", "\n", "alpha"),
            # Nearer but shorter matches lose.
            ("int total = 1;\ntotal = 2;\nint total = ", "\n", "1;"),
            # Of equal matches the last one before the cursor wins, before any after it.
            ("k = 1\nk = 2\nk = ", "\nk = 3\n", "2"),
            ("first\nk = ", "\nj\nk = 3\n", "3"),
            # A place that nothing follows in its line is passed over.
            ("k = 1\nk = \nk = ", "\n", "1"),
            ("abc", "\n", ""),
            ("a", "\n", ""),
            ("", "\nx", ""),
        ]
        for prefix, suffix, expected in cases:
            with self.subTest(prefix=prefix):
                self.assertEqual(evaluate.copy_line(prefix, suffix), expected)


class ScoreTest(unittest.TestCase):
    def test_similarity_is_one_less_the_edit_distance(self):
        cases = [("", "", 1.0), ("abc", "abc", 1.0), ("abc", "", 0.0), ("abcd", "abxd", 0.75),
                 ("abcd", "abd", 0.75), ("kitten", "sitting", 1 - 3 / 7), ("ab", "cd", 0.0)]  # fmt: skip
        for left, right, expected in cases:
            with self.subTest(left=left, right=right):
                self.assertAlmostEqual(evaluate.similarity(left, right), expected)
                self.assertAlmostEqual(evaluate.similarity(right, left), expected)

    def test_blanks_at_the_end_do_not_count_and_at_the_start_do(self):
        self.assertEqual(evaluate.score(["a", "b"], ["a  ", " b"]), {"exact": 0.5, "similarity": 0.75})


class PageTest(unittest.TestCase):
    def test_only_its_own_section_changes(self):
        text = "## Evaluation\nnew\n"
        cases = [
            ("", text),
            ("# Card\n", "# Card\n\n" + text),
            ("# Card\n\n## Evaluation\nold\n### more\nold\n", "# Card\n\n" + text),
            ("# Card\n## Evaluation\nold\n\n## Licence\nx\n", "# Card\n" + text + "\n## Licence\nx\n"),
        ]
        for page, expected in cases:
            with self.subTest(page=page):
                self.assertEqual(evaluate.with_section(page, text), expected)
                self.assertEqual(evaluate.with_section(expected, text), expected)


class RunTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = self.folder / "program"
        self.program.write_text(PROGRAM)
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        (self.folder / "m.gguf").write_bytes(b"GGUF")
        (self.folder / "README.md").write_text("# Card\n")
        shards = {"heldout-c.bin": {"bytes": 1000}, "heldout-go.bin": {"bytes": 3000}}
        (self.folder / "shards.json").write_text(json.dumps(shards))
        with open(self.folder / "eval-line.jsonl", "w", encoding="utf-8") as file:
            for language in ("c", "go"):
                for kind in evaluate.KINDS:
                    for number in range(3):
                        case = {"language": language, "kind": kind, "path": f"é{number}.x",
                                "prefix": "naïve(é1.x\nnaïve(", "suffix": "\n", "target": "é1.x"}  # fmt: skip
                        file.write(json.dumps(case, ensure_ascii=False) + "\n")

    def run_main(self, *more):
        folder = str(self.folder)
        arguments = ["evaluate", "--program", str(self.program), "--model", folder + "/m.gguf",
                     "--shards", folder, "--results", folder, *more]  # fmt: skip
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(io.StringIO()) as out:
            evaluate.main()
        return json.loads((self.folder / "evaluation.json").read_text()), out.getvalue()

    def test_results_and_page_say_what_the_program_answered(self):
        results, table = self.run_main("--cases", "2")
        self.assertEqual(results["languages"]["c"]["bits_per_byte"], 1)
        self.assertEqual(results["all"]["bits_per_byte"], 2.5)
        self.assertEqual(results["all"]["bytes"], 2000)
        whole = results["languages"]["go"]["whole_line"]
        self.assertEqual(whole["cases"], 2)
        self.assertEqual(whole["model"], {"exact": 0.5, "similarity": 0.875})
        self.assertEqual(whole["copy"], {"exact": 1, "similarity": 1})
        self.assertEqual(whole["product"], whole["model"])
        page = (self.folder / "README.md").read_text()
        self.assertTrue(page.startswith("# Card\n\n## Evaluation\n"))
        self.assertIn("| go | 3.000 | 50.0 (88) | 100.0 (100) | 50.0 (88) | 50.0 (88) | 100.0 (100) | 50.0 (88) |", table)
        self.assertTrue(page.endswith(table))

    def test_what_a_user_sees_is_counted(self):
        results, table = self.run_main("--cases", "3")
        seen = results["languages"]["c"]["line_tail"]["seen"]
        self.assertEqual(seen["automatic"], {"shown": 3, "right": 1, "wrong": 2, "silent": 0})
        self.assertEqual(seen["invoked"], seen["automatic"])
        self.assertEqual(seen["certain_copy"], {"shown": 0, "right": 0, "wrong": 0, "silent": 3})
        self.assertEqual(results["gates"], {"copy: unbalanced": {"fired": 12, "right": 0}})
        self.assertIn("| c | 100 (33) | 100 (33) | 0 (-) | 100 (33) | 100 (33) | 0 (-) |", table)
        self.assertIn("| copy: unbalanced | 12 | 0 |", table)

    def test_what_is_not_likely_enough_is_silent(self):
        cases = [{"target": "a"}, {"target": "b"}]
        answers = [
            {"text": "a", "line": "a", "fault": "none", "probability": 0.2, "copies": []},
            {"text": "b", "line": "c)", "fault": "unbalanced", "probability": 0.9,
             "copies": [{"text": "b", "fault": "none", "probability": 0.9}]},
        ]  # fmt: skip
        least = dict(zip(evaluate.SITUATIONS, (0.3, 0.1, 0.8), strict=True))
        seen = evaluate.sight(cases, answers, least)
        self.assertEqual(seen["automatic"], {"shown": 1, "right": 1, "wrong": 0, "silent": 1})
        self.assertEqual(seen["invoked"]["right"], 2)
        self.assertEqual(seen["certain_copy"], {"shown": 1, "right": 1, "wrong": 0, "silent": 1})
        gates = evaluate.gate_counts(cases, answers, least)
        self.assertEqual(gates["not likely enough, automatic"], {"fired": 1, "right": 1})
        self.assertEqual(gates["model: unbalanced"], {"fired": 1, "right": 0})
        self.assertNotIn("not likely enough, invoked", gates)

    def test_shards_of_another_tokenizer_are_refused(self):
        (self.folder / "shards.json").write_text('{"heldout-c.bin": {"bytes": 999}}')
        with self.assertRaisesRegex(SystemExit, "heldout-c.bin has 999 bytes of text, but 1000"):
            self.run_main()

    def test_what_is_missing_or_fails_is_named(self):
        self.program.write_text("#!/bin/sh\nexit 3\n")
        with self.assertRaisesRegex(SystemExit, "gave up with status 3"):
            self.run_main()
        (self.folder / "shards.json").unlink()
        with self.assertRaisesRegex(SystemExit, "shards.json is missing"):
            self.run_main()
        self.assertEqual((self.folder / "README.md").read_text(), "# Card\n")


if __name__ == "__main__":
    unittest.main()
