#!/usr/bin/env python3
"""Chooses the product's constants by the cases that no report is made of (cases.py, TUNING); prints them, writes nothing.

Of core/assist/suggestion_choice.cpp: asks hearth-evaluate what model and copies say at the cursors of eval-line.jsonl in an
editor, fits on one half of these files and says on the other half what the fit is worth. A model's own lines are fitted only
where it is right often enough to say something. Of core/assist/assist.h: what explanations and fixes would be from each
threshold on. Without a model the copies alone are fitted. Answers are kept: what was interrupted goes on.
"""

import argparse
import math
import os
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import scores
from answers import Asker, Conversation
from cases import TUNING, explain_parts, fix_cases, fix_parts, line_parts, take_cases
from projects import Projects

KINDS = ("whole_line", "line_tail", "block")  # who writes a line may go on before what stands below
RIGHT_MIN = 30  # fewer right lines say nothing about a model
RIDGE = 1e-3
ROUNDS = 25
MODEL_LIMIT = 1 - 1e-6

COPY_WEIGHTS = ("base", "match", "agreeing", "disagreeing", "unanimous", "line_below", "length")
FRAME_WEIGHTS = ("base", "lines", "agreeing", "disagreeing", "unanimous", "length")
MODEL_WEIGHTS = ("base", "log_odds")


def copy_features(copy):
    """In the order of COPY_WEIGHTS, as copy_logit() has them."""
    unanimous = copy["disagreeing"] == 0
    return [1, math.log2(copy["match"]), math.log2(copy["agreeing"]), math.log2(1 + copy["disagreeing"]),
            float(unanimous), float(copy["line_below"]), math.log2(1 + len(copy["text"].encode()))]  # fmt: skip


def frame_features(copy):
    """In the order of FRAME_WEIGHTS, as frame_logit() has them."""
    unanimous = copy["frame_disagreeing"] == 0
    return [1, math.log2(copy["frame_lines"]), math.log2(copy["frame_agreeing"]),
            math.log2(1 + copy["frame_disagreeing"]), float(unanimous),
            math.log2(1 + len(copy["text"].encode()))]  # fmt: skip


def model_features(answer):
    said = min(math.exp(answer["line_log_probability"]), MODEL_LIMIT)
    return [1, math.log(said / (1 - said)) if said > 0 else -700.0]


def probability(weights, features):
    logit = sum(weight * feature for weight, feature in zip(weights, features, strict=True))
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, logit))))


def solve(matrix, right):
    """Gaussian elimination with row exchange."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    count = len(rows)
    for i in range(count):
        pivot = max(range(i, count), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(count):
            if r != i:
                share = rows[r][i] / rows[i][i]
                rows[r] = [a - share * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [rows[i][count] / rows[i][i] for i in range(count)]


def fit(samples, start):
    """Logistic regression by Newton's method; samples are (features, is right)."""
    weights = list(start)
    width = range(len(weights))
    for _ in range(ROUNDS):
        gradient = [RIDGE * weight for weight in weights]
        curvature = [[RIDGE * (i == j) for j in width] for i in width]
        for features, right in samples:
            said = probability(weights, features)
            for i in width:
                gradient[i] += (said - right) * features[i]
                for j in width:
                    curvature[i][j] += said * (1 - said) * features[i] * features[j]
        step = solve(curvature, gradient)
        weights = [weight - part for weight, part in zip(weights, step, strict=True)]
        if max(map(abs, step)) < 1e-6:
            break
    return weights


def is_fitted_on(case):
    """One half of the files, by their path; by another hash than the one that makes them cases of TUNING."""
    return zlib.crc32(case["path"].encode()) % 2 == 0


def is_right(case, text):
    """Whether it is the case's line, of a block the first one."""
    return scores.is_right(case["target"].split("\n", 1)[0], text)


def samples_of_copies(pairs, features, found):
    return [
        (features(copy), is_right(case, copy["text"]))
        for case, answer in pairs
        for copy in answer["copies"]
        if copy["fault"] == "none" and copy[found] > 0
    ]


def copy_samples(pairs):
    return samples_of_copies(pairs, copy_features, "match")


def frame_samples(pairs):
    return samples_of_copies(pairs, frame_features, "frame_lines")


def model_samples(pairs):
    return [
        (model_features(answer), is_right(case, answer["line"]))
        for case, answer in pairs
        if answer["fault"] == "none" and answer["line"].strip()
    ]


def report(name, weights, samples):
    """How likely the samples look, and how often those from a probability on are right."""
    said = [(probability(weights, features), right) for features, right in samples]
    bits = -sum(math.log2(max(1e-12, p if right else 1 - p)) for p, right in said) / max(1, len(said))
    print(f"{name}: {len(said)} of the other half, {sum(right for _, right in said)} right, {bits:.4f} bits each")
    for step in scores.THRESHOLDS:
        sure = [right for p, right in said if p >= step]
        if sure:
            print(f"  from {step}: {len(sure)}, right {100 * sum(sure) / len(sure):.0f} %")


def fit_lines(pairs, has_model):
    """Prints the constants of copies and model, and what they are worth; `pairs` are (case, answer)."""
    fitted = [pair for pair in pairs if is_fitted_on(pair[0])]
    other = [pair for pair in pairs if not is_fitted_on(pair[0])]
    fits = [("kCopy", COPY_WEIGHTS, copy_samples, [0.0] * len(COPY_WEIGHTS)),
            ("kFrame", FRAME_WEIGHTS, frame_samples, [0.0] * len(FRAME_WEIGHTS))]  # fmt: skip
    if has_model:
        fits.append(("kModel", MODEL_WEIGHTS, model_samples, [0.0, 1.0]))
    for name, names, samples_of, start in fits:
        samples = samples_of(fitted)
        right = sum(right for _, right in samples)
        if right < RIGHT_MIN:
            print(f"{name}: {right} of {len(samples)} are right, too few to fit: not changed")
            report(name, start, samples_of(other))
            continue
        weights = fit(samples, start)
        print(name + ": " + ", ".join(f"{n} {w:.2f}" for n, w in zip(names, weights, strict=True)))
        report(name, weights, samples_of(other))


def explain_rows(cases, answers):
    """(threshold, share shown, chrF of these) for explain_confidence_min."""
    values = [(answer["confidence"], scores.chrf(case["sentence"], answer["answer"]))
              for case, answer in zip(cases, answers, strict=True)]  # fmt: skip
    return [(least, one["shown"], one["worth"]) for least, one in scores.by_threshold(values).items()]


def fix_rows(cases, answers):
    """(threshold, share of broken lines that are mended, share of sound lines that are changed) for fix_probability_min."""
    rows = []
    for least in scores.THRESHOLDS:
        mended, changed = [], []
        for case, answer in zip(cases, answers, strict=True):
            is_shown = bool(answer["found"]) and answer["probability"] >= least
            is_right = is_shown and scores.is_right(case["target"], answer["found"])
            if case["kind"] == "none":
                changed.append(is_shown and not is_right)
            else:
                mended.append(is_right)
        rows.append((str(least), scores.mean(mended), scores.mean(changed)))
    return rows


def print_rows(head, rows):
    print(head)
    for least, *shares in rows:
        print(f"  from {least}: " + ", ".join("-" if share is None else f"{100 * share:.1f}" for share in shares))


def tuning_lines(options):
    return take_cases(options.lines, lambda kind: options.cases if kind in KINDS else 0, TUNING)


def choose_with_model(options):
    """Asks for lines, explanations and fixes side by side, and prints what comes of them."""
    asker = Asker(options.program, options.model, options.kept)
    explained = take_cases(options.lines.with_name("eval-explain.jsonl"), lambda _: options.cases, TUNING)
    broken = fix_cases(options.lines.with_name("eval-fix.jsonl"), options.cases, TUNING)
    lines = tuning_lines(options)
    beside = list(map(Projects(options.corpus).in_editor, lines))
    jobs = (
        ("lines", lines, list(map(line_parts, lines, beside)), [options.plugins]),
        ("explain", explained, list(map(explain_parts, explained)), []),
        ("fix", broken, list(map(fix_parts, broken)), []),
    )
    with ThreadPoolExecutor(options.jobs) as pool:
        asked = [pool.submit(asker.ask, f"tuning-{name}", name, parts, more) for name, _, parts, more in jobs]
        answers = [one.result()[1] for one in asked]
    fit_lines(list(zip(lines, answers[0], strict=True)), True)
    print_rows("explain_confidence_min: per cent shown, chrF", explain_rows(explained, answers[1]))
    print_rows("fix_probability_min: per cent of broken lines mended, of sound ones changed", fix_rows(broken, answers[2]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/release/bin/hearth-evaluate"))
    parser.add_argument("--model", type=Path, help="a GGUF file; without one the copies alone are fitted")
    parser.add_argument("--lines", type=Path, default=Path("build/corpus/shards/eval-line.jsonl"),
                        help="beside it eval-explain.jsonl and eval-fix.jsonl")  # fmt: skip
    parser.add_argument("--corpus", type=Path, help="corpus.pack (beside the folder of --lines): what an editor has beside a case")
    parser.add_argument("--plugins", type=Path, default=Path("build/release/lib/hearth/plugins"))
    parser.add_argument("--cases", type=int, default=300, help="of each language and kind")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="programs side by side")
    parser.add_argument("--kept", type=Path, default=Path("build/evaluation"), help="folder for answers")
    options = parser.parse_args()
    options.corpus = options.corpus or options.lines.parents[1] / "corpus.pack"
    for needed in (options.lines, options.corpus):
        if not needed.is_file():
            sys.exit(f"calibrate: {needed} is missing; `make shards` makes it")
    if options.model:
        choose_with_model(options)
        return
    lines = tuning_lines(options)
    beside = map(Projects(options.corpus).in_editor, lines)
    with Conversation(options.program, ["copies"], list(map(line_parts, lines, beside))) as talk:
        fit_lines(list(zip(lines, talk, strict=True)), False)


if __name__ == "__main__":
    main()
