"""How cases are chosen, measured and reported; the model is a program that answers from a table."""

import contextlib
import io
import itertools
import json
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import evaluate
import report
import windows

# Says the path at a cursor, and of a function; of a second line that it is b. Mends a line at paths 2 and 3, there with a fault;
# finds the same change at both, and is sure of it at 2, and at 3 where the line is known to be wrong. Text of C takes one bit a byte, of Go three; each third window is known by heart.
PROGRAM = """#!/usr/bin/env python3
import sys
command, parts = sys.argv[1], {"lines": 6, "explain": 2, "fix": 5, "bits": 3}[sys.argv[1]]
print({"lines": "0.3 0.1 0.8", "explain": "0.4", "fix": "0.3 0.2", "bits": "512"}[command], flush=True)
while header := sys.stdin.buffer.readline():
    case = [sys.stdin.buffer.read(int(n)) for n in header.split()]
    assert len(case) >= parts if command == "lines" else len(case) == parts
    path = case[0]
    if command == "lines":
        assert case[3].startswith(b"\\n") and case[2] and case[1] in (b"c", b"go")
        # The model says the path, and so does the choice, where it is asked for; a copy is at fault.
        # It knows what is right where another file is open, and the plugins are there.
        said = ("é1.x".encode() if case[6:] and len(sys.argv) == 4 else path) + b"\\nb" * (int(case[4]) - 1)
        words = "model 0.2 -0.9 3 none -0.8 1 unbalanced 0.9 40 2 1 0 3 1 0"
        texts = [said, path, said, b"", said, "é1.x))".encode()]
    elif command == "explain":
        words, texts = "0.5", [path, path if b"2" in path else b""]
    elif command == "fix":
        fixed = case[3].replace(b"bug", b"good") if b"2" in path or (b"3" in path and b"x" not in case[3]) else b""
        is_three = b"3" in path
        words, texts = ("unbalanced 0.2 0.6", [fixed, fixed, b"", fixed]) if is_three else ("none 0.95 0.97", [fixed] * 4)
    else:
        bits = 1000 if b"-c" in path or b"train" in path else 3000
        size = 1000 if b"-c" in path else 3000
        words, texts = f"511 1000 {bits} {50 if int(case[1]) % 3 == 0 else 7} {size}", [b"a.c" if b"-c" in path else b"a.go"]
    out = " ".join([words, *(str(len(text)) for text in texts)]).encode() + b"\\n" + b"".join(texts)
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
"""


def write_lines(path, entries):
    path.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries), encoding="utf-8")


class EvaluateTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.program = self.folder / "program"
        self.program.write_text(PROGRAM)
        self.program.chmod(self.program.stat().st_mode | stat.S_IEXEC)
        (self.folder / "m.gguf").write_bytes(b"GGUF")
        (self.folder / "README.md").write_text("# Card\n")
        shards = {"heldout-c.bin": 1000, "heldout-go.bin": 3000, "train-000.bin": 3000}
        for name in shards:
            (self.folder / name).write_text(name)
        noted = {name: {"tokens": 512 * 6, "bytes": size} for name, size in shards.items()}
        (self.folder / "shards.json").write_text(json.dumps(noted))
        self.write_cases()

    def write_cases(self):
        lines, explains, fixes, pairs = [], [], [], []
        for language in ("c", "go"):
            for number in (1, 2, 3):
                for kind, split in itertools.product(evaluate.KINDS, ("tuning", "report")):
                    target = "é1.x\nb" if kind == "block" else "é1.x"
                    # The program fails over a case of the other half.
                    lines.append({"language": language, "kind": kind, "path": f"é{number}.x", "split": split,
                                  "prefix": "naïve(é1.x\nb\nnaïve(" if split == "report" else "", "suffix": "\n",
                                  "target": target})  # fmt: skip
                explains.append({"language": language, "path": f"read {number}", "code": "def read_it(file):",
                                 "split": "report", "sentence": f"read {number}"})  # fmt: skip
                for kind in ("typo", "none"):
                    bad = " a bug;" if kind == "typo" else " a bug; x"
                    fixes.append({"language": language, "kind": kind, "path": f"{number}", "before": "", "bad_line": bad,
                                  "split": "report", "after": "", "target": " a good;" if kind == "typo" else bad})  # fmt: skip
            pairs.append({"language": language, "path": "x", "code": "def read_that():", "sentence": "read 1"})
        for name, entries in {"eval-line": lines, "eval-explain": explains, "eval-fix": fixes, "train-explain": pairs}.items():
            write_lines(self.folder / f"{name}.jsonl", entries)

    def run_main(self, *more):
        folder = str(self.folder)
        arguments = ["evaluate", "--program", str(self.program), "--model", folder + "/m.gguf", "--kept", folder + "/kept",
                     "--shards", folder, "--results", folder, "--jobs", "2", *more]  # fmt: skip
        with mock.patch.object(sys, "argv", arguments), contextlib.redirect_stdout(io.StringIO()) as out:
            with contextlib.redirect_stderr(io.StringIO()) as self.errors:
                evaluate.main()
        return json.loads((self.folder / "evaluation.json").read_text()), out.getvalue()

    def test_lines_are_measured_by_kind_and_language(self):
        results, page = self.run_main("--cases", "2")
        whole = results["lines"]["whole_line"]["go"]
        self.assertEqual(whole["cases"], 2)
        self.assertEqual(results["lines"]["whole_line"]["all"]["cases"], 4)
        self.assertEqual(whole["model"], {"exact": 0.5, "similarity": 0.875, "accepted": 2.5, "accepted_share": 0.625,
                                          "surer_half": 1})  # fmt: skip
        self.assertEqual(whole["copy"], {"exact": 1, "similarity": 1, "accepted": 4, "accepted_share": 1})
        self.assertEqual(whole["product"], whole["model"])
        row = "| go | 50.0 (88) | 100.0 (100) | 50.0 (88) | 2.5 (62) | 4.0 (100) | 2.5 (62) | 100 | 100 |"
        self.assertEqual(page.count(row), 3)  # not of the block
        block = results["lines"]["block"]["c"]
        self.assertEqual((block["model"]["exact"], block["copy"]["exact"]), (0.5, 1))
        self.assertEqual(block["seen"]["invoked"], {"shown": 2, "right": 1, "wrong": 1, "silent": 0})
        self.assertEqual(block["seen"]["automatic"]["silent"], 2)
        held = {"shown": 0, "right": 0, "wrong": 0, "silent": 4, "silent_right": 0}
        self.assertEqual(results["gates"]["copy: unbalanced"], {kind: held for kind in evaluate.KINDS})
        self.assertIn("| copy: unbalanced | line tail | 0 | 0 | 0 | 4 | 0 |", page)

    def test_what_an_editor_has_beside_a_case_is_a_measure_of_its_own(self):
        results, page = self.run_main("--cases", "2")
        self.assertNotIn("editor", results["lines"]["whole_line"]["go"])
        self.assertNotIn("editor", page.split("### Lines")[0])
        around = "naïve(é1.x\nb\nnaïve("
        texts = [f"{around}é1.x\n", f"{around}é1.x\nb\n"]  # of the lines, of the block
        records = [("heldout", "c", "p", f"é{number}.x", text) for number in (1, 2, 3) for text in texts]
        pack = self.folder / "corpus.pack"
        pack.write_bytes(b"".join(
            "\t".join([*head, str(len(text.encode()))]).encode() + b"\n" + text.encode() + b"\n" for *head, text in records
        ))  # fmt: skip
        results, page = self.run_main("--cases", "2", "--corpus", str(pack))
        whole = results["lines"]["whole_line"]
        self.assertEqual((whole["c"]["product"]["exact"], whole["c"]["editor"]["exact"]), (0.5, 1))
        self.assertEqual((whole["go"]["product"]["exact"], whole["go"]["editor"]["exact"]), (0.5, 0.5))  # no file of Go
        self.assertEqual(whole["c"]["seen"]["invoked"]["right"], 2)
        self.assertEqual(whole["c"]["editor_copy"], whole["c"]["copy"])
        row = ("| c | 50.0 (88) | 100.0 (100) | 50.0 (88) | 100.0 (100) | 100.0 (100) "
               "| 2.5 (62) | 4.0 (100) | 2.5 (62) | 4.0 (100) | 4.0 (100) | 100 | 100 | 100 |")  # fmt: skip
        self.assertIn(row, page)
        self.assertIn("| whole line exact in an editor, mean of languages | at least 26 % | 75.0", page)

    def test_bits_are_summed_and_training_is_held_beside(self):
        results, page = self.run_main("--windows", "3")
        self.assertEqual(results["bits"]["c"]["bits_per_byte"], 1)
        self.assertEqual(results["bits"]["all"], {"bits_per_byte": 2, "bytes": 6000, "tokens": 3066})
        memory = results["memory"]
        self.assertEqual(memory["languages"], {"go": {"training": 1, "heldout": 3}})
        self.assertEqual(memory["gap"], 2)
        self.assertEqual((memory["training"]["windows"], memory["training"]["repeated"]), (6, 0.3333))
        self.assertEqual((memory["heldout"]["windows"], memory["heldout"]["repeated"]), (6, 0.3333))
        self.assertIn("| **all** | 2.000 | 3.000 | 1.000 |", page)
        self.assertIn("| bits per byte beside full precision | at most 0.5 % more | not measured | not measured |", page)

    def test_full_precision_is_a_bar_of_its_own(self):
        (self.folder / "full.gguf").write_bytes(b"GGUF full")
        results, page = self.run_main("--full", str(self.folder / "full.gguf"))
        self.assertEqual(results["full_precision"], {"bits_per_byte": 2, "own_bits_per_byte": 2})
        self.assertIn("| at most 0.5 % more | +0.00 %: reached | not measured |", page)
        # It stands as long as the model's file is the same.
        again, page = self.run_main("--windows", "3")
        self.assertEqual(again["full_precision"], results["full_precision"])
        self.assertNotIn("of an earlier evaluation", page)
        again["full_precision"]["own_bits_per_byte"] = 2.01
        (self.folder / "evaluation.json").write_text(json.dumps(again))
        self.assertIn("of an earlier evaluation", " ".join(self.run_main()[1].split()))
        (self.folder / "m.gguf").write_bytes(b"GGUF another")
        results, page = self.run_main()
        self.assertIsNone(results["full_precision"])
        self.assertIn("| at most 0.5 % more | not measured | not measured |", page)

    def test_explanations_are_held_beside_two_baselines(self):
        results, page = self.run_main("--cases", "2")
        entry = results["explain"]["entries"]["go"]
        self.assertEqual(entry["chrf"]["model"], 1)
        self.assertGreater(entry["chrf"]["nearest"], entry["chrf"]["name"])
        self.assertEqual((entry["names_a_word"], entry["shown"], entry["shown_chrf"]["model"]), (1, 0.5, 1))
        self.assertLess(entry["shown_chrf"]["nearest"], 1)
        self.assertEqual(entry["thresholds"]["0.6"], {"shown": 0, "worth": None})
        self.assertEqual(results["explain"]["known"], 2)
        self.assertRegex(page, r"explanations, chrF \| above both baselines \| 100.0 ± 0.0 beside [0-9.]+: reached \|")

    def test_without_sentences_to_look_up_explanations_reach_no_bar(self):
        results, page = self.run_main("--cases", "2", "--pairs", str(self.folder / "nothing.jsonl"))
        self.assertEqual(results["explain"]["known"], 0)
        self.assertIn("| explanations, chrF | above both baselines | not measured | not measured |", page)

    def test_fixes_are_counted_by_kind_and_changes_of_sound_lines_against_them(self):
        results, tens = self.run_main("--cases", "10")
        entry = results["fix"]["entries"]["go"]
        self.assertEqual((entry["broken"], entry["clean"]), (3, 3))  # all that there are
        self.assertEqual((entry["exact"]["model"], entry["exact"]["product"]), (0.6667, 0.3333))
        self.assertEqual((entry["exact"]["no_change"], entry["false_changes"]["no_change"]), (0, 0))
        self.assertEqual(entry["false_changes"]["model"], 0.3333)
        self.assertEqual(entry["seen"], {"shown": 2, "right": 1, "wrong": 1, "silent": 4})
        results, _ = self.run_main("--cases", "1")
        entry = results["fix"]["entries"]["go"]
        self.assertEqual((entry["clean"], entry["false_changes"]["model"]), (1, 0))  # of path 1
        # Beside a share its standard error, of 6 cases.
        self.assertIn("| fixes exact | at least 40 % | 66.7 ± 21.1 %: reached | 33.3 ± 21.1 %: not reached |", tens)
        results, page = self.run_main("--cases", "30")
        self.assertEqual(results["fix"]["entries"]["go"]["false_changes"]["product"], 0.3333)
        self.assertEqual(results["fix"]["entries"]["go"]["exact"]["known_wrong"], 0.6667)
        self.assertEqual(results["fix"]["entries"]["all"]["thresholds"]["0.9"], {"shown": 0.6667, "worth": 0.5})
        self.assertEqual(results["fix"]["kinds"]["typo"]["broken"], 6)
        self.assertIn("| false changes | at most 5 % | 33.3 ± 21.1 %: not reached |", page)
        self.assertIn("| fix, greedy: unbalanced | broken line | 2 | 2 | 0 | 2 | 2 |", page)
        self.assertIn("| fix: not likely enough | broken line | 2 | 2 | 0 | 2 | 2 |", page)
        self.assertIn("| typo | 6 | 66.7 | 33.3 | 66.7 | 0.0 | 0.0 | 2 | 2 | 0 | 4 |", page)
        self.assertIn("Fewer than the 30 cases of a language that were asked for were to be had of whole lines: c 3, go 3;",
                      " ".join(page.split()))  # fmt: skip

    def test_what_was_answered_is_not_asked_again(self):
        first, page = self.run_main("--cases", "2")
        self.assertIn("lines-block: 4 of 4", self.errors.getvalue())
        again, same_page = self.run_main("--cases", "2")
        self.assertNotIn("lines-block", self.errors.getvalue())
        self.assertEqual((first, page), (again, same_page))
        self.run_main("--cases", "3")
        self.assertIn("lines-block: 6 of 6", self.errors.getvalue())

    def test_the_page_is_the_section(self):
        _, page = self.run_main("--cases", "1")
        text = (self.folder / "README.md").read_text()
        self.assertTrue(text.startswith("# Card\n\n## Evaluation\n"))
        self.assertTrue(text.endswith(page))
        self.assertIn("was not checked: the corpus was not at hand", " ".join(page.split()))

    def test_shards_of_another_tokenizer_are_refused(self):
        noted = json.loads((self.folder / "shards.json").read_text())
        noted["heldout-c.bin"]["bytes"] = 999
        (self.folder / "shards.json").write_text(json.dumps(noted))
        # At once, although a line would take for ever.
        self.program.write_text(PROGRAM.replace("        said = ", "        __import__('signal').pause()\n        said = "))
        with self.assertRaisesRegex(SystemExit, "heldout-c.bin has 999 bytes of text, but 1000"):
            self.run_main()

    def test_what_is_missing_or_fails_is_named(self):
        self.program.write_text("#!/bin/sh\nexit 3\n")
        with self.assertRaisesRegex(SystemExit, "gave up with status 3"):
            self.run_main()
        (self.folder / "shards.json").unlink()
        with self.assertRaisesRegex(SystemExit, "shards.json is missing; `make shards"):
            self.run_main()
        self.assertEqual((self.folder / "README.md").read_text(), "# Card\n")


    def test_cases_without_a_half_are_refused(self):
        write_lines(self.folder / "eval-explain.jsonl", [{"language": "c", "path": "a", "code": "f()", "sentence": "F."}])
        with self.assertRaisesRegex(SystemExit, "eval-explain.jsonl: its cases are of no split; `make cases`"):
            self.run_main()


class CorpusTest(unittest.TestCase):
    def test_training_files_like_held_out_ones_are_found(self):
        line = lambda name, numbers: "".join(f"{name} {number}\n" for number in numbers)
        files = [
            ("heldout", "p", "a.c", line("x", range(10))),
            ("heldout", "p", "b.c", line("z", range(10))),
            ("train", "q", "same.c", line("x", range(10)) + line("y", range(8))),  # 8 of its 16 runs
            ("train", "q", "less.c", line("x", range(10)) + line("y", range(9))),  # 8 of 17
            ("train", "q", "both.c", line("x", range(6)) + line("y", range(4)) + line("z", range(6))),  # 4 and 4 of 14
        ]
        with tempfile.TemporaryDirectory() as folder:
            pack = Path(folder) / "corpus.pack"
            pack.write_bytes(b"".join(
                f"{split}\tc\t{package}\t{path}\t{len(text)}\n{text}\n".encode() for split, package, path, text in files
            ))  # fmt: skip
            found = windows.check_pack(pack, Path(folder) / "kept")
            self.assertEqual(found["alike"], [["q/same.c", "p/a.c", 0.5]])
            self.assertEqual((found["training_files"], found["evaluation_files"]), (3, 2))
            self.assertEqual(found["projects"], {"c": ["p"]})
            self.assertEqual(windows.check_pack(pack, Path(folder) / "kept"), found)


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
                self.assertEqual(report.with_section(page, text), expected)


if __name__ == "__main__":
    unittest.main()
