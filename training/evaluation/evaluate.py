#!/usr/bin/env python3
"""Measures a model file: bits per byte of held-out code, the line at a cursor, and what a user sees of it.

hearth-evaluate runs the file through the plan, the engine and the gates that serve it; this program
chooses the cases, scores them beside a baseline that copies from the same file, and writes
evaluation.json and the section "Evaluation" of README.md into the folder RESULTS.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KINDS = ("whole_line", "line_tail")
SITUATIONS = ("automatic", "invoked", "certain_copy")


def copy_line(prefix, suffix):
    """What follows the longest run of text that stands both before the cursor and elsewhere.

    Of several such places the last one before the cursor, else the first one after it; only places
    that something follows in their line.
    """

    def copied(length):
        tail = prefix[len(prefix) - length :]
        end = len(prefix) - 1
        while (at := prefix.rfind(tail, 0, end)) >= 0:
            if line := _line_at(prefix, at + length):
                return line
            end = at + length - 1
        at = suffix.find(tail)
        while at >= 0:
            if line := _line_at(suffix, at + length):
                return line
            at = suffix.find(tail, at + 1)
        return ""

    # A place that follows a long run follows each shorter one as well.
    low, high = 0, len(prefix) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if copied(middle):
            low = middle
        else:
            high = middle - 1
    return copied(low) if low > 0 else ""


def _line_at(text, begin):
    return text[begin:].split("\n", 1)[0].rstrip()


def similarity(left, right):
    """1 less the edit distance (insert, delete, replace) over the longer length."""
    if not left and not right:
        return 1.0
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return 1 - row[-1] / max(len(left), len(right))


def score(targets, answers):
    """Share of exact lines and mean similarity; blanks at the end of a line do not count."""
    pairs = [(target.rstrip(), answer.rstrip()) for target, answer in zip(targets, answers, strict=True)]
    count = max(1, len(pairs))
    return {
        "exact": round(sum(t == a for t, a in pairs) / count, 4),
        "similarity": round(sum(similarity(t, a) for t, a in pairs) / count, 4),
    }


def take_cases(path, per_kind):
    """The first `per_kind` cases of each language and of each kind that is reported."""
    taken, counts = [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        group = case["language"], case["kind"]
        counts[group] = counts.get(group, 0) + 1
        if counts[group] <= per_kind and case["kind"] in KINDS:
            taken.append(case)
    return taken


def run(program, *arguments, stdin=b""):
    return subprocess.run([str(program), *map(str, arguments)], input=stdin, stdout=subprocess.PIPE, check=True).stdout


class Answers:
    """What hearth-evaluate says of cases, in their order: an iterator over dictionaries. Without a model: copies alone."""

    def __init__(self, program, model, cases):
        asked = bytearray()
        for case in cases:
            parts = [case[name].encode() for name in ("path", "language", "prefix", "suffix")]
            asked += " ".join(str(len(part)) for part in parts).encode() + b"\n" + b"".join(parts)
        command = ["lines", model] if model else ["copies"]
        self.stream = io.BytesIO(run(program, *command, stdin=bytes(asked)))
        self.count = len(cases)
        self.shown_from = dict(zip(SITUATIONS, map(float, self.stream.readline().split()), strict=True))

    def __iter__(self):
        return (self._read() for _ in range(self.count))

    def _read(self):
        words = iter(self.stream.readline().decode().split())
        text = lambda size: self.stream.read(size).decode(errors="replace")
        answer = {"source": next(words), "probability": float(next(words))}
        sizes = [int(next(words))]
        answer["fault"] = next(words)
        answer["log_probability"] = float(next(words))
        answer["tokens"] = int(next(words))
        sizes.append(int(next(words)))
        answer["copies"] = []
        for _ in range(int(next(words))):
            copy = {"fault": next(words), "probability": float(next(words))}
            copy |= {name: int(next(words)) for name in ("match", "agreeing", "disagreeing", "line_below")}
            copy["size"] = int(next(words))
            answer["copies"].append(copy)
        answer["text"], answer["line"] = map(text, sizes)
        for copy in answer["copies"]:
            copy["text"] = text(copy.pop("size"))
        return answer


def is_right(case, text):
    """Blanks at the end of a line do not count."""
    return bool(text.strip()) and text.rstrip() == case["target"].rstrip()


def sight(cases, answers, shown_from):
    """What a user sees of these cases: by situation how often something is shown, and how often that is right."""
    seen = {}
    for situation, least in shown_from.items():
        # A certain copy is shown before the model is asked.
        best = lambda answer: max(
            (copy for copy in answer["copies"] if copy["fault"] == "none"),
            key=lambda copy: copy["probability"],
            default=None,
        )
        chosen = [best(answer) if situation == "certain_copy" else answer for answer in answers]
        pairs = [(case, one) for case, one in zip(cases, chosen, strict=True) if one and one["probability"] >= least]
        right = sum(is_right(case, one["text"]) for case, one in pairs)
        seen[situation] = {"shown": len(pairs), "right": right, "wrong": len(pairs) - right,
                           "silent": len(cases) - len(pairs)}  # fmt: skip
    return seen


def gate_counts(cases, answers, shown_from):
    """By gate: how often it held a line back, and how often that was the right one."""
    counts = {}

    def count(gate, case, text):
        entry = counts.setdefault(gate, {"fired": 0, "right": 0})
        entry["fired"] += 1
        entry["right"] += is_right(case, text)

    for case, answer in zip(cases, answers, strict=True):
        if answer["fault"] != "none":
            count("model: " + answer["fault"], case, answer["line"])
        for copy in answer["copies"]:
            if copy["fault"] != "none":
                count("copy: " + copy["fault"], case, copy["text"])
        for situation in SITUATIONS[:2]:
            if answer["text"] and answer["probability"] < shown_from[situation]:
                count("not likely enough, " + situation, case, answer["text"])
    return dict(sorted(counts.items()))


def count_bits(program, model, shards, windows):
    """By language: bits, bytes and tokens. Refuses shards that were cut by another tokenizer."""
    noted = json.loads((shards / "shards.json").read_text())
    counts = {}
    for row in run(program, "bits", model, shards, windows).decode().splitlines():
        name, tokens, text_bytes, bits, shard_bytes = row.split("\t")
        if int(shard_bytes) != noted[name]["bytes"]:
            sys.exit(
                f"evaluate: {name} has {noted[name]['bytes']} bytes of text, but {shard_bytes} when read by "
                f"{model}: its tokenizer did not cut these shards; make the shards of this model"
            )
        language = name.removeprefix("heldout-").removesuffix(".bin")
        counts[language] = {"bits": float(bits), "bytes": int(text_bytes), "tokens": int(tokens)}
    return counts


def summary(counts, cases, answers, copies, shown_from):
    """One entry of the results: of a language, or of all together."""
    entry = {name: sum(count[name] for count in counts) for name in ("tokens", "bytes")}
    bits = sum(count["bits"] for count in counts)
    entry["bits_per_byte"] = round(bits / entry["bytes"], 4)
    for kind in KINDS:
        chosen = [i for i, case in enumerate(cases) if case["kind"] == kind]
        targets = [cases[i]["target"] for i in chosen]
        entry[kind] = {
            "cases": len(chosen),
            "model": score(targets, [answers[i]["line"] for i in chosen]),
            "copy": score(targets, [copies[i] for i in chosen]),
            "product": score(targets, [answers[i]["text"] for i in chosen]),
            "seen": sight([cases[i] for i in chosen], [answers[i] for i in chosen], shown_from),
        }
    return entry


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def evaluate(options):
    cases = take_cases(options.shards / "eval-line.jsonl", options.cases)
    with ThreadPoolExecutor() as pool:
        counting = pool.submit(count_bits, options.program, options.model, options.shards, options.windows)
        said = Answers(options.program, options.model, cases)
        answers = list(said)
        counts = counting.result()
    copies = [copy_line(case["prefix"], case["suffix"]) for case in cases]
    languages = {}
    for language in sorted(counts):
        own = [i for i, case in enumerate(cases) if case["language"] == language]
        pick = lambda values, own=own: [values[i] for i in own]
        languages[language] = summary([counts[language]], pick(cases), pick(answers), pick(copies), said.shown_from)
    return {
        "model": {
            "file": options.model.name,
            "bytes": options.model.stat().st_size,
            "sha256": sha256(options.model),
        },
        "cases_sha256": sha256(options.shards / "eval-line.jsonl"),
        "windows_max": options.windows,
        "languages": languages,
        "shown_from": said.shown_from,
        "all": summary(list(counts.values()), cases, answers, copies, said.shown_from),
        "gates": gate_counts(cases, answers, said.shown_from),
    }


def percent(part, whole):
    return f"{100 * part / whole:.0f}" if whole else "-"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def section(results):
    """The results as the section of a Markdown page."""
    worth, seen = [], []
    for name, entry in [*results["languages"].items(), ("**all**", results["all"])]:
        scores = [entry[kind][who] for kind in KINDS for who in ("model", "copy", "product")]
        cells = [f"{100 * score['exact']:.1f} ({100 * score['similarity']:.0f})" for score in scores]
        worth.append([name, f"{entry['bits_per_byte']:.3f}", *cells])
        cells = []
        for kind in KINDS:
            for situation in SITUATIONS:
                one = entry[kind]["seen"][situation]
                cells.append(f"{percent(one['shown'], entry[kind]['cases'])} ({percent(one['right'], one['shown'])})")
        seen.append([name, *cells])
    gates = [[gate, str(one["fired"]), str(one["right"])] for gate, one in results["gates"].items()]
    total = results["all"]
    whole, tail = (total[kind]["cases"] for kind in KINDS)
    least = results["shown_from"]
    return f"""## Evaluation

Measured by `make evaluate` on `{results['model']['file']}` (SHA-256 {results['model']['sha256'][:16]}...) through the plan, the CPU
kernels, the engine and the gates that serve it, on projects that training never saw. Bits per byte: {total['tokens']} tokens in windows
of 512, each predicted from its own window, the ends of files included; lower is better. Lines: {whole} whole lines and {tail} line tails
(from a random character on), greedy, cut at the line's end; per cent exact, and mean edit similarity in brackets. *Copy* is
no model: it copies what follows the longest match in up to 16 kB of the same file, of which the model sees what fits its
context. *Product* is the likelier of the model's line and a copy, however unlikely.

""" + table(
        ["language", "bits per byte", "whole line: model", "copy", "product", "line tail: model", "copy", "product"], worth
    ) + f"""
### What the user sees
Per cent of the cases in which something is suggested, and in brackets per cent of these that are exactly the hidden text. While one
types a line needs a probability of {least['automatic']:g}, where one asks for it {least['invoked']:g}; a copy of {least['certain_copy']:g} is shown
before the model is asked.

""" + table(
        ["language", "whole line: typing", "asked", "copy at once", "line tail: typing", "asked", "copy at once"], seen
    ) + f"""
What held lines back, and how often the line was the right one:

""" + table(["gate", "fired", "right"], gates)


def with_section(page, text):
    """`page` with `text` in place of the section of the same heading, or at its end."""
    heading = text.split("\n", 1)[0]
    lines = page.splitlines(keepends=True)
    begin = next((i for i, line in enumerate(lines) if line.rstrip() == heading), None)
    if begin is None:
        return (page.rstrip("\n") + "\n\n" if page.strip() else "") + text
    end = next((i for i in range(begin + 1, len(lines)) if lines[i].startswith(("# ", "## "))), len(lines))
    rest = "".join(lines[end:])
    return "".join(lines[:begin]) + text + ("\n" + rest if rest else "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/release/bin/hearth-evaluate"))
    parser.add_argument("--model", type=Path, default=Path("models/default.gguf"))
    parser.add_argument("--shards", type=Path, default=Path("build/corpus/shards"))
    parser.add_argument("--results", type=Path, default=Path("models"))
    parser.add_argument("--cases", type=int, default=50, help="of each language and kind")
    parser.add_argument("--windows", type=int, default=50, help="of each language; 0: all")
    options = parser.parse_args()
    if options.cases < 1 or options.windows < 0:
        parser.error("at least one case, and no negative number of windows")
    for needed in (options.model, options.shards / "shards.json", options.shards / "eval-line.jsonl"):
        if not needed.is_file():
            sys.exit(f"evaluate: {needed} is missing; training/README.md says how it is made")
    try:
        results = evaluate(options)
    except subprocess.CalledProcessError as error:
        sys.exit(f"evaluate: {options.program} gave up with status {error.returncode}")
    (options.results / "evaluation.json").write_text(json.dumps(results, indent=1) + "\n")
    card = options.results / "README.md"
    text = section(results)
    card.write_text(with_section(card.read_text() if card.exists() else "", text))
    print(text[text.index("\n\n| language") + 2 :], end="")


if __name__ == "__main__":
    main()
