"""How soon `hearth serve` has an answer, and what memory it takes: the default model, the settings of a new user.

    start_up.py BUILD [--rounds 7] [--keys 100]

Prints a Markdown table. The model file is in the page cache, as it is from the second start on.
"""

import argparse
import datetime
import os
import statistics
import sys
from pathlib import Path

from sides import Document, Hearth, machine
from typed_text import ROOT

TYPED = ROOT / "core/base/result.h"


def documents(count):
    """The first places in the second half of a file at which a line begins with text, a key apart."""
    text = TYPED.read_text()
    begin = text.index("\n    ", len(text) // 2) + 6
    end = text.index("\n", begin + count)
    return [Document(text[:at], text[end:]) for at in range(begin, begin + count)]


def first_answer_ms(hearth, editor, keys):
    """From the start of the program to the first token; places where the model is not asked are passed over."""
    for document in keys:
        asked = hearth.now_ms()
        answer = editor.complete(document)
        if answer.first_token_ms > 0:
            return asked + answer.first_token_ms
    raise RuntimeError(f"the model said nothing at {len(keys)} places of {TYPED}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / "models/default.gguf")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--keys", type=int, default=100, help="after which memory is looked at")
    options = parser.parse_args()
    keys = documents(options.keys)
    ready, first, in_all, beside = [], [], [], []
    for _ in range(options.rounds):
        hearth = Hearth(options.build, options.model, options.threads, {})
        ready.append(hearth.now_ms())
        editor = hearth.editor()
        first.append(first_answer_ms(hearth, editor, keys))
        for document in keys:
            editor.complete(document)
        for series, mib in zip((in_all, beside), hearth.resident_mib()):
            series.append(mib)
        hearth.stop()
    print(f"{datetime.date.today()}, {machine()}, {options.threads} threads, {options.model.name}, {options.rounds} starts; "
          f"memory after {options.keys} keys\n")  # fmt: skip
    print("| hearth serve | median | spread |\n| --- | --- | --- |")
    rows = (("socket open after, ms", ready), ("first token after, ms", first), ("resident, MiB", in_all),
            ("resident without the mapped model file, MiB", beside))  # fmt: skip
    for name, values in rows:
        print(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} to {max(values):.1f} |")


if __name__ == "__main__":
    sys.exit(main())
