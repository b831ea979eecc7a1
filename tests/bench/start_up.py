"""How soon hearth has an answer, as the daemon counts it and as the whole command that a user types takes it, daemon
started by it included, and what memory it takes: the default model, the settings of a new user.

    start_up.py BUILD [--rounds 7] [--keys 100]

Prints a Markdown table with the bars. The model file is in the page cache, as it is from the second start on.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sides import Document, Hearth, machine
from typed_text import ROOT

TYPED = ROOT / "core/base/result.h"
FIRST_TOKEN_BAR_MS = 300
MEMORY_BAR_MIB = 80e6 / (1 << 20)


def documents(count):
    """The first places in the second half of a file at which a line begins with text, a key apart."""
    text = TYPED.read_text()
    begin = text.index("\n    ", len(text) // 2) + 6
    end = text.index("\n", begin + count)
    return [Document(text[:at], text[end:]) for at in range(begin, begin + count)]


def first_answer(hearth, editor, keys):
    """From the start of the program to the first token, and where; places where the model is not asked are passed over."""
    for document in keys:
        asked = hearth.now_ms()
        answer = editor.complete(document)
        if answer.first_token_ms > 0:
            return asked + answer.first_token_ms, document
    raise RuntimeError(f"the model said nothing at {len(keys)} places of {TYPED}")


def command_ms(program, model, threads, document):
    """`hearth complete` with no daemon there, from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        file, settings = Path(folder) / TYPED.name, Path(folder) / "settings.json"
        file.write_text(document.prefix + document.suffix)
        settings.write_text(json.dumps({"model": str(model), "threads": threads}))
        environment = {**os.environ, "HEARTH_RUNTIME_DIR": folder, "HEARTH_SETTINGS": str(settings)}
        environment.pop("HEARTH_MODEL", None)  # it would go before the settings
        line, column = document.prefix.count("\n") + 1, len(document.prefix) - document.prefix.rfind("\n")
        begin = time.perf_counter()
        said = subprocess.run([program, "complete", file, "--at", f"{line}:{column}", "--json"], env=environment, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)  # fmt: skip
        ms = (time.perf_counter() - begin) * 1000
        subprocess.run([program, "stop"], env=environment, check=True, capture_output=True)
        if json.loads(said.stdout)["tokens"] == 0:
            raise RuntimeError(f"`hearth complete` had no answer where the daemon had one: {said.stdout}")
    return ms


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--model", type=Path, default=ROOT / "models/default.gguf")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--keys", type=int, default=100, help="after which memory is looked at")
    options = parser.parse_args()
    keys = documents(options.keys)
    ready, first, whole, in_all, beside = [], [], [], [], []
    for _ in range(options.rounds):
        hearth = Hearth(options.build, options.model, options.threads, {})
        ready.append(hearth.now_ms())
        editor = hearth.editor()
        ms, place = first_answer(hearth, editor, keys)
        first.append(ms)
        for document in keys:
            editor.complete(document)
        for series, mib in zip((in_all, beside), hearth.resident_mib()):
            series.append(mib)
        hearth.stop()
        whole.append(command_ms(options.build / "bin/hearth", options.model.resolve(), options.threads, place))
    print(f"{datetime.date.today()}, {machine()}, {options.threads} threads, {options.model.name}, {options.rounds} starts; "
          f"memory after {options.keys} keys\n")  # fmt: skip
    print("| | median | spread | bar |\n| --- | --- | --- | --- |")
    rows = (("`hearth serve`: socket open after, ms", ready, None),
            ("`hearth serve`: first token after, ms", first, FIRST_TOKEN_BAR_MS),
            ("`hearth complete`, which starts the daemon, until it has ended, ms", whole, None),
            ("resident, MiB", in_all, None),
            ("resident without the mapped model file, MiB (cache included; the bar, 80 MB, is without)", beside,
             MEMORY_BAR_MIB))  # fmt: skip
    for name, values, most in rows:
        median = statistics.median(values)
        bar = "" if most is None else f"{most:.0f}, {'kept' if median <= most else 'MISSED'}"
        print(f"| {name} | {median:.1f} | {min(values):.1f} to {max(values):.1f} | {bar} |")


if __name__ == "__main__":
    sys.exit(main())
