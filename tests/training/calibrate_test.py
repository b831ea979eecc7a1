"""How the constants of the choice are fitted; the answers are made up."""

import argparse
import json
import math
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "training" / "evaluation"))

import calibrate


class FitTest(unittest.TestCase):
    def test_known_weights_are_found_again(self):
        chance = random.Random(1)
        wanted = [-1.0, 0.5, 2.0]
        samples = []
        for _ in range(3000):
            features = [1, chance.uniform(0, 8), float(chance.random() < 0.3)]
            samples.append((features, chance.random() < calibrate.probability(wanted, features)))
        for found, weight in zip(calibrate.fit(samples, [0.0, 0.0, 0.0]), wanted, strict=True):
            self.assertAlmostEqual(found, weight, delta=0.25)

    def test_equations_are_solved_whatever_their_order(self):
        for found, wanted in zip(calibrate.solve([[0, 2], [3, 1]], [4, 5]), [1, 2], strict=True):
            self.assertAlmostEqual(found, wanted)

    def test_probabilities_stay_within_their_bounds(self):
        self.assertEqual(calibrate.probability([1e9], [1]), 1)
        self.assertGreaterEqual(calibrate.probability([-1e9], [1]), 0)


class SampleTest(unittest.TestCase):
    def test_copies_without_fault_are_samples(self):
        copy = {"fault": "none", "match": 8, "agreeing": 2, "disagreeing": 0, "line_below": 1, "text": "abc",
                "frame_lines": 0, "frame_agreeing": 0, "frame_disagreeing": 0}  # fmt: skip
        answer = {"copies": [copy, {**copy, "fault": "unbalanced"}, {**copy, "text": "x", "disagreeing": 3}]}
        samples = calibrate.copy_samples([({"target": "abc "}, answer)])
        self.assertEqual(samples, [([1, 3, 1, 0, 1, 1, 2], True), ([1, 3, 1, 2, 0, 1, 1], False)])
        self.assertTrue(all(len(features) == len(calibrate.COPY_WEIGHTS) for features, _ in samples))
        self.assertEqual(calibrate.frame_samples([({"target": "abc "}, answer)]), [])

    def test_lines_found_by_what_stands_around_them_are_samples_of_their_own(self):
        framed = {"fault": "none", "match": 0, "agreeing": 0, "disagreeing": 0, "line_below": 0, "text": "abc",
                  "frame_lines": 4, "frame_agreeing": 2, "frame_disagreeing": 1}  # fmt: skip
        pairs = [({"target": "abc"}, {"copies": [framed, {**framed, "frame_disagreeing": 0, "text": "x"}]})]
        self.assertEqual(calibrate.copy_samples(pairs), [])
        samples = calibrate.frame_samples(pairs)
        self.assertEqual(samples, [([1, 2, 1, 1, 0, 2], True), ([1, 2, 1, 0, 1, 1], False)])
        self.assertTrue(all(len(features) == len(calibrate.FRAME_WEIGHTS) for features, _ in samples))

    def test_of_a_block_the_first_line_is_right(self):
        self.assertTrue(calibrate.is_right({"target": "a(\n  b)"}, "a( "))
        self.assertFalse(calibrate.is_right({"target": "a(\n  b)"}, "  b)"))
        self.assertIn("block", calibrate.KINDS)

    def test_a_model_is_taken_at_its_word(self):
        for said in (0.001, 0.5, 0.999):
            features = calibrate.model_features({"line_log_probability": math.log(said)})
            self.assertAlmostEqual(calibrate.probability([0.0, 1.0], features), said, places=6)
        for log_probability in (0.0, -1e6):
            features = calibrate.model_features({"line_log_probability": log_probability})
            self.assertTrue(0 <= calibrate.probability([0.0, 1.0], features) <= 1)


class ThresholdTest(unittest.TestCase):
    def test_explanations_are_shown_from_their_confidence_on(self):
        cases = [{"sentence": "counts files"}, {"sentence": "opens doors"}]
        answers = [{"confidence": 0.7, "answer": "counts files"}, {"confidence": 0.3, "answer": "xyz"}]
        rows = {least: rest for least, *rest in calibrate.explain_rows(cases, answers)}
        self.assertEqual((rows["0.3"], rows["0.4"], rows["0.8"]), ([1, 0.5], [0.5, 1], [0, None]))

    def test_fixes_mend_broken_lines_and_change_sound_ones(self):
        cases = [{"kind": kind, "target": "a"} for kind in ("typo", "typo", "number", "none", "none", "none")]
        said = [("a", 0.9), ("a", 0.5), ("a", 0.2), ("b", 0.7), ("", 0.9), ("b", 0.2)]
        answers = [{"found": text, "probability": p} for text, p in said]
        rows = {least: rest for least, *rest in calibrate.fix_rows(cases, answers)}
        self.assertEqual((rows["0.5"], rows["0.6"], rows["0.8"]), ([0.6667, 0.3333], [0.3333, 0.3333], [0.3333, 0]))

    def test_cases_are_of_the_tuning_half(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "eval-line.jsonl"
            entries = [{"language": "c", "kind": "whole_line", "path": str(i), "split": split}
                       for i, split in enumerate(("report", "tuning", "report", "tuning", "tuning"))]  # fmt: skip
            path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
            options = argparse.Namespace(lines=path, cases=2)
            self.assertEqual([case["path"] for case in calibrate.tuning_lines(options)], ["1", "3"])


if __name__ == "__main__":
    unittest.main()
