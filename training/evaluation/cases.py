"""Which cases are taken from the files that hearth-make-samples writes.

Half of the held-out files, by a hash of their paths, are there to choose the product's constants by (TUNING), the other
half to say what the product is worth (REPORT): no number of the card comes from a file that a constant was chosen on.
"""

import json
import sys

TUNING, REPORT = "tuning", "report"
FIX_PARTS = ("path", "language", "before", "bad_line", "after")


def take_cases(path, per_group, split=None):
    """The first `per_group(kind)` cases of each language and kind; explanations have no kind. `split`: TUNING or REPORT;
    None for what has none, as functions of training files."""
    taken, counts = [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        if split and "split" not in case:
            sys.exit(f"{path}: its cases are of no split; `make cases` writes the files of cases anew, and no shards")
        if split and case["split"] != split:
            continue
        kind = case.setdefault("kind", "")
        group = case["language"], kind
        counts[group] = counts.get(group, 0) + 1
        if counts[group] <= per_group(kind):
            taken.append(case)
    return taken


def fix_cases(path, count, split):
    """Of a language about `count` with a bug, of all kinds alike, and as many without, if there are."""
    kinds = {json.loads(line)["kind"] for line in path.read_text(encoding="utf-8").splitlines()} - {"none"}
    of_each = -(-count // max(1, len(kinds)))
    return take_cases(path, lambda kind: of_each * (len(kinds) if kind == "none" else 1), split)


# The parts of a case as hearth-evaluate wants them.


def line_parts(case, beside=None):
    """An answer may have as many lines as the target. `beside`: what an editor has beside the case (Projects.in_editor)."""
    lines_max = 1 + case["target"].count("\n")
    project, prefix, suffix, files = beside or ("", case["prefix"], case["suffix"], [])
    return [case["path"], case["language"], prefix, suffix, lines_max, project, *(part for file in files for part in file)]


def explain_parts(case):
    return [case["path"], case["code"]]


def fix_parts(case):
    return [case[name] for name in FIX_PARTS]
