"""How answers are scored, against values worked out by hand."""

import random
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import scores


def plain_similarity(left, right):
    """The table of edit distances, row by row."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return 1 - row[-1] / max(len(left), len(right), 1)


class TextTest(unittest.TestCase):
    def test_similarity_is_one_less_the_edit_distance(self):
        cases = [("", "", 1.0), ("abc", "abc", 1.0), ("abc", "", 0.0), ("abcd", "abxd", 0.75),
                 ("abcd", "abd", 0.75), ("kitten", "sitting", 1 - 3 / 7), ("ab", "cd", 0.0)]  # fmt: skip
        for left, right, expected in cases:
            with self.subTest(left=left, right=right):
                self.assertAlmostEqual(scores.similarity(left, right), expected)
                self.assertAlmostEqual(scores.similarity(right, left), expected)

    def test_similarity_is_that_of_the_whole_table(self):
        chance = random.Random(1)
        for _ in range(500):
            left, right = ("".join(chance.choices("abé\n", k=chance.randrange(90))) for _ in range(2))
            self.assertAlmostEqual(scores.similarity(left, right), plain_similarity(left, right), msg=(left, right))

    def test_blanks_at_the_end_do_not_count_and_at_the_start_do(self):
        score = scores.score(["a", "bc"], ["a  ", " bc"])
        self.assertEqual(score, {"exact": 0.5, "similarity": 0.8333, "accepted": 0.5, "accepted_share": 0.5})
        self.assertEqual(scores.score([], [])["exact"], None)

    def test_accepted_is_the_common_start(self):
        for target, answer, expected in [("abc", "abd", 2), ("abc", "abcdef", 3), ("abc", "xbc", 0), ("", "a", 0)]:
            with self.subTest(answer=answer):
                self.assertEqual(scores.accepted(target, answer), expected)

    def test_a_block_may_be_right_as_far_as_it_goes(self):
        for text, expected in [("a\nb", True), ("a ", True), ("a\nb\nc\n", True), ("a\nb\nc\nd", False), ("a\nx", False),
                               ("a\n", True), ("ab", False), (" \n", False)]:  # fmt: skip
            with self.subTest(text=text):
                self.assertEqual(scores.is_right_so_far("a\nb\nc", text), expected)

    def test_the_surer_half_is_taken_by_probability(self):
        self.assertEqual(scores.surer_half(["a", "b", "c", "d"], ["a", "x", "x", "d"], [0.9, 0.1, 0.8, 0.2]), 0.5)
        self.assertEqual(scores.surer_half(["a", "b", "c", "d"], ["a", "x", "x", "d"], [0.9, 0.1, 0.2, 0.8]), 1)
        self.assertEqual(scores.surer_half(["a", "b", "c"], ["a", "x", "c"], [0.9, 0.8, 0.1]), 0.5)


class ChrfTest(unittest.TestCase):
    def test_worth_is_that_of_a_sum_by_hand(self):
        cases = [
            ("abc", "abc", 1.0),
            ("abcdefgh", "abc def gh", 1.0),  # blanks are left out
            ("abc", "xyz", 0.0),
            ("abc", "", 0.0),
            ("", "abc", 0.0),
            # Runs of 1, 2 and 3 letters: 2 of 3, 1 of 2, 0 of 1, in both texts.
            ("abc", "abd", (2 / 3 + 1 / 2 + 0) / 3),
            # Precision (3/4 + 2/3 + 1/2) / 3, recall 1: the answer has one letter too many.
            ("abc", "abcd", 5 * (23 / 36) / (4 * (23 / 36) + 1)),
            # The other way round: recall counts more.
            ("abcd", "abc", 5 * (23 / 36) / (4 + 23 / 36)),
            # A run counts as often as both have it: 2 of 3 letters are said, 2 of 2 are wanted; "aa" 1 of 2 and 1 of 1.
            ("aa", "aaa", 5 * (7 / 12) / (4 * (7 / 12) + 1)),
        ]
        for reference, answer, expected in cases:
            with self.subTest(reference=reference, answer=answer):
                self.assertAlmostEqual(scores.chrf(reference, answer), expected)

    def test_runs_end_at_six_letters(self):
        # Of the runs of 1 to 6 letters all but the last are met: 7 of 8, 6 of 7, ... 2 of 3.
        expected = sum((n - 1) / n for n in range(3, 9)) / 6
        self.assertAlmostEqual(scores.chrf("abcdefgh", "abcdefgx"), expected)


class SightTest(unittest.TestCase):
    def test_what_is_shown_is_counted(self):
        cases = [{"kind": "line", "target": "a"}, {"kind": "block", "target": "b\nc"}, {"kind": "line", "target": "d"}]
        answers = [
            {"line": "a", "product": "a", "automatic": "", "invoked": "a", "fault": "none", "copies": []},
            {"line": "b)", "product": "b", "automatic": "b", "invoked": "b", "fault": "unbalanced",
             "copies": [{"text": "b", "fault": "none", "probability": 0.9}]},
            {"line": "", "product": "x", "automatic": "x", "invoked": "x", "fault": "none",
             "copies": [{"text": "d", "fault": "unbalanced", "probability": 0.9}]},
        ]  # fmt: skip
        seen = scores.sight(cases, answers, {"certain_copy": 0.8})
        self.assertEqual(seen["automatic"], {"shown": 2, "right": 1, "wrong": 1, "silent": 1})
        self.assertEqual(seen["invoked"], {"shown": 3, "right": 2, "wrong": 1, "silent": 0})
        self.assertEqual(seen["certain_copy"], {"shown": 1, "right": 1, "wrong": 0, "silent": 2})
        gates = scores.gate_counts(cases, answers)
        counts = lambda *values: dict(zip(("shown", "right", "wrong", "silent", "silent_right"), values, strict=True))
        self.assertEqual(gates["automatic: not likely enough"],
                         {"line": counts(1, 0, 1, 1, 1), "block": counts(1, 1, 0, 0, 0)})  # fmt: skip
        self.assertEqual(gates["model: unbalanced"], {"line": counts(1, 1, 0, 0, 0), "block": counts(0, 0, 0, 1, 0)})
        self.assertEqual(gates["copy: unbalanced"], {"line": counts(0, 0, 0, 1, 1), "block": counts(1, 1, 0, 0, 0)})
        self.assertEqual(sorted(gates), ["automatic: not likely enough", "copy: unbalanced", "model: unbalanced"])

    def test_gates_of_fixes_hold_changes(self):
        cases = [{"kind": kind, "target": "a"} for kind in ("typo", "typo", "number", "none", "none")]
        said = [("a", "a", "none"), ("a ", "", "none"), ("b", "", "unbalanced"), ("b", "b", "none"), ("", "", "none")]
        answers = [{"answer": found, "found": found, "shown": shown, "fault": fault} for found, shown, fault in said]
        gates = scores.fix_gate_counts(cases, answers)
        columns = ("shown", "right", "wrong", "silent", "silent_right")
        table = {gate: {kind: [one[column] for column in columns] for kind, one in kinds.items()}
                 for gate, kinds in gates.items()}  # fmt: skip
        self.assertEqual(table, {
            "fix, greedy: unbalanced": {"broken line": [2, 2, 0, 1, 0], "sound line": [1, 0, 1, 0, 0]},
            "fix: not likely enough": {"broken line": [1, 1, 0, 2, 1], "sound line": [1, 0, 1, 0, 0]},
        })  # fmt: skip

    def test_errors_are_those_of_means(self):
        self.assertEqual(scores.standard_error([1, 1, 0, 0]), 0.2887)
        self.assertAlmostEqual(scores.share_error(0.5, 101), 0.05)
        self.assertIsNone(scores.share_error(1, 1))
        self.assertIsNone(scores.standard_error([1]))

    def test_a_threshold_shows_what_reaches_it(self):
        rows = scores.by_threshold([(0.95, 1.0), (0.5, 0.0), (0.05, 1.0), (0.3, 1.0)])
        self.assertEqual(rows["0.1"], {"shown": 0.75, "worth": 0.6667})
        self.assertEqual(rows["0.5"], {"shown": 0.5, "worth": 0.5})
        self.assertEqual(rows["0.9"], {"shown": 0.25, "worth": 1})
        self.assertEqual(scores.by_threshold([])["0.1"], {"shown": 0, "worth": None})


if __name__ == "__main__":
    unittest.main()
