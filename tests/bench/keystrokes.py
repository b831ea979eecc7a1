"""hearth beside llama-server while somebody types: the same model file, the same texts, 24 tokens each, by turns.

    keystrokes.py BUILD FOLDER [--tables suggestions,clients,chat] [--orders prefix-first,suffix-first] ...

FOLDER keeps the model files; HEARTH_PEER names a folder with llama-server, without which its columns say "not measured".
Prints Markdown tables.
"""

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typed_text
from sides import AS_ASKED, CHAT_TOKENS, TOKENS, Hearth, LlamaServer, in_turns, machine, peer_version, warm

PREFIX, LONG_PREFIX, SUFFIX = 1500, 1700, 300
CHAT_PREFIX = 600
MISSING = "not measured"


def p95(values):
    return sorted(values)[-(-len(values) * 95 // 100) - 1]


def check_whole(answers):
    """hearth's own, since both sides are to read the same."""
    short = [answer.prompt for answer in answers if 0 < answer.prompt < PREFIX]
    if short:
        raise RuntimeError(f"{len(short)} of {len(answers)} prompts of hearth were short, one of {short[0]} tokens with {PREFIX} "
                           "and more before the cursor: nothing is reported")  # fmt: skip


def short_text(answers):
    short = sum(answer.tokens != TOKENS for answer in answers)
    return f"; {short} of {len(answers)} answers without their {TOKENS} tokens" if short else ""


class Bench:
    """The model file of one order, and texts to type into. Both sides are started anew for each row: nothing is in a cache."""

    def __init__(self, options, order):
        self.options = options
        self.order = order
        self.commands = []  # of servers, each kind once
        self.model = options.folder / f"ds2-small-Q4_K_M-{order}.gguf"
        if not self.model.exists():
            subprocess.run([options.build / "bin/hearth-bench-model", "ds2-small:Q4_K_M", self.model,
                            typed_text.ROOT / "models/default.gguf", order], check=True)  # fmt: skip
        tokens_each = LONG_PREFIX + SUFFIX + typed_text.TYPED_TOKENS
        self.tokens = typed_text.words(options.build, self.model, (options.clients + 1) * tokens_each)

    def place(self, number, prefix_tokens=PREFIX):
        return typed_text.Place(self.tokens, number, prefix_tokens, SUFFIX)

    def start(self, context, flags=(), editors=1):
        """hearth, and llama-server where there is one, with room for `context` tokens of all editors."""
        options = self.options
        sides = [Hearth(options.build, self.model, options.threads, AS_ASKED)]
        if options.peer:
            order = ["--spm-infill"] if self.order == "suffix-first" else []
            sides.append(LlamaServer(options.peer, self.model, options.threads, context, [*order, *flags], editors))
        self.commands += [side.command for side in sides if side.command not in self.commands]
        return sides


def stop(sides):
    for side in sides:
        side.stop()


def print_row(name, cells, ratio):
    """One cell per side."""
    both = cells if len(cells) == 2 else [*cells, MISSING]
    print(f"| {name} | {' | '.join(both)} | {'' if ratio is None else f'{ratio:.2f}'} |", flush=True)


def suggestion_row(bench, what, documents, flags=()):
    """Returns what memory each side has taken by then."""
    sides = bench.start(8192, flags)
    editors = [side.editor() for side in sides]
    answers = {editor: [] for editor in editors}
    for editor in editors:
        warm(editor, documents[0])
    for number, document in enumerate(documents[1:]):
        for editor in in_turns(number, editors):
            time.sleep(bench.options.pause_s)  # threads of the other that still spin have gone to sleep
            answers[editor].append(editor.complete(document))
    check_whole(answers[editors[0]])
    cells, medians = [], []
    for measured in answers.values():
        times = [answer.ms for answer in measured]
        computed = statistics.median(answer.computed for answer in measured)
        prompt = statistics.median(answer.prompt for answer in measured)
        medians.append(statistics.median(times))
        cells.append(f"{medians[-1]:.0f} ({min(times):.0f} to {max(times):.0f}); {computed:.0f} of {prompt:.0f}{short_text(measured)}")
    print_row(f"{bench.order}, {what}", cells, medians[-1] / medians[0] if len(medians) == 2 else None)
    memory = [side.resident_mib() for side in sides]
    stop(sides)
    return memory


def suggestions(benches, options):
    print(f"\nWhole suggestion of {TOKENS} tokens, ms: median (spread) of {options.keys}; tokens of the prompt that were computed, of how many\n")
    print("| order, what | hearth | llama-server | ratio |\n| --- | --- | --- | --- |")
    memory = []
    for bench in benches:
        place = bench.place(0)
        memory.append(suggestion_row(bench, "a key", place.keys(options.keys)))
        suggestion_row(bench, f"an edit {typed_text.LINES_ABOVE} lines above", place.edits(options.keys))
        keys = bench.place(0, LONG_PREFIX).keys(options.long_keys)
        suggestion_row(bench, f"a key, prefix of {LONG_PREFIX}, median of {options.long_keys}", keys)
        if options.peer:
            suggestion_row(bench, "the same with --cache-reuse 256", keys, ["--cache-reuse", "256"])
    print("\nResident after the keys, MiB: all; without the mapped model file\n")
    print("| order | hearth | llama-server |\n| --- | --- | --- |")
    for bench, sides in zip(benches, memory):
        cells = [f"{in_all:.0f}; {beside:.0f}" for in_all, beside in sides] + [MISSING]
        print(f"| {bench.order} | {' | '.join(cells[:2])} |")


def type_together(editors, documents):
    """Each editor sends its documents, one when the one before is answered. Answers and tokens/s of all together."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(len(editors)) as pool:
        answers = list(pool.map(lambda editor, own: [editor.complete(each) for each in own], editors, documents))
    took_s = time.perf_counter() - begin
    flat = [answer for own in answers for answer in own]
    return flat, sum(answer.tokens for answer in flat) / took_s


def clients_row(bench, options):
    sides = bench.start(4096 * options.clients, editors=options.clients)
    documents = [bench.place(number).keys(options.blocks * options.keys_of_block) for number in range(options.clients)]
    all_editors = [[side.editor(number) for number in range(options.clients)] for side in sides]
    for editors in all_editors:
        for editor, own in zip(editors, documents):
            warm(editor, own[0])
    answers, rates = [[] for _ in sides], [[] for _ in sides]
    for block in range(options.blocks):
        begin = 1 + block * options.keys_of_block
        typed = [own[begin : begin + options.keys_of_block] for own in documents]
        for index in in_turns(block, list(range(len(sides)))):
            time.sleep(options.pause_s)
            block_answers, rate = type_together(all_editors[index], typed)
            answers[index] += block_answers
            rates[index].append(rate)
    check_whole(answers[0])
    cells = []
    for rate, answer in zip(rates, answers):
        times = [each.ms for each in answer]
        cells.append(f"{statistics.median(rate):.1f} ({min(rate):.1f} to {max(rate):.1f}); "
                     f"{statistics.median(times):.0f}, {p95(times):.0f}{short_text(answer)}")  # fmt: skip
    print_row(bench.order, cells, statistics.median(a / b for a, b in zip(*rates)) if len(rates) == 2 else None)
    stop(sides)


def clients(benches, options):
    print(f"\n{options.clients} editors that type, {options.blocks} blocks of {options.keys_of_block} keys each: tokens/s of all "
          "together, median (spread) of the blocks; a suggestion in ms, median, p95; the ratio is of tokens/s\n")  # fmt: skip
    print("| order | hearth | llama-server | ratio |\n| --- | --- | --- | --- |")
    for bench in benches:
        clients_row(bench, options)


class Chat(threading.Thread):
    """Asks for one long answer after the other until it is stopped; the last one is waited for."""

    def __init__(self, editor, document):
        super().__init__()
        self.editor = editor
        self.document = document
        self.answers = []
        self.is_over = False
        self.fault = None

    def run(self):
        try:
            while not self.is_over:
                self.answers.append(self.editor.chat(self.document))
        except Exception as fault:  # raised where it is waited for
            self.fault = fault

    def stop(self):
        self.is_over = True
        self.join()
        self.editor.close()
        if self.fault:
            raise self.fault


class ChatSide:
    def __init__(self, side, document):
        self.side = side
        self.document = document
        self.typist = side.editor(0)
        self.alone, self.beside = [], []
        self.answers = []
        reader = side.editor(1)
        tokens = reader.chat(document).tokens  # from here on its prompt is in the cache
        reader.close()
        if tokens != CHAT_TOKENS:
            raise RuntimeError(f"the chat has {tokens} tokens and not {CHAT_TOKENS}")

    def block(self, documents, pause_s):
        time.sleep(pause_s)
        self.alone += [self.typist.complete(each) for each in documents[: len(documents) // 2]]
        chat = Chat(self.side.editor(1), self.document)
        chat.start()
        time.sleep(0.5)
        self.beside += [self.typist.complete(each) for each in documents[len(documents) // 2 :]]
        chat.stop()
        self.answers += chat.answers

    def print_row(self, name):
        alone, beside = ([answer.ms for answer in answers] for answers in (self.alone, self.beside))
        print(f"| {name} | {statistics.median(alone):.0f}, {p95(alone):.0f} | {statistics.median(beside):.0f}, {p95(beside):.0f} "
              f"| {p95(beside) / p95(alone):.2f} | {statistics.median(answer.ms for answer in self.answers) / 1000:.1f}, "
              f"{sum(answer.tokens == CHAT_TOKENS for answer in self.answers)} of {len(self.answers)}"
              f"{short_text(self.alone + self.beside)} |", flush=True)  # fmt: skip


def chat_rows(bench, options):
    started = bench.start(16384, editors=2)
    document = bench.place(1, CHAT_PREFIX).keys(0)[0]
    sides = [ChatSide(side, document) for side in started]
    # One character a key: llama-server cuts a prefix of more than 1,536 tokens and then loses its cache.
    keys = bench.place(0).keys(2 * options.chat_blocks * options.chat_keys, characters_max=1)
    for side in sides:
        warm(side.typist, keys[0])
    for block in range(options.chat_blocks):
        begin = 1 + block * 2 * options.chat_keys
        for side in in_turns(block, sides):
            side.block(keys[begin : begin + 2 * options.chat_keys], options.pause_s)
    check_whole(sides[0].alone + sides[0].beside)
    for side, name in zip(sides, ["hearth", "llama-server"]):
        side.print_row(f"{bench.order}, {name}")
    if len(sides) == 1:
        print(f"| {bench.order}, llama-server | {MISSING} | | | |")
    stop(started)


def chat(benches, options):
    print(f"\nKeys alone and beside a chat, {options.chat_blocks} blocks of {options.chat_keys} each: a suggestion in ms, median, p95; "
          f"an answer of the chat in s, median, and how many had all {CHAT_TOKENS} tokens\n")  # fmt: skip
    print("| order | alone | beside a chat | p95 grows by | the chat |\n| --- | --- | --- | --- | --- |")
    for bench in benches:
        chat_rows(bench, options)


TABLES = {"suggestions": suggestions, "clients": clients, "chat": chat}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--orders", default="prefix-first,suffix-first")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--keys", type=int, default=15, help="of a row of suggestions")
    parser.add_argument("--long-keys", type=int, default=7, help="of a row with the longer prefix")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--blocks", type=int, default=7, help="of keys of all clients")
    parser.add_argument("--keys-of-block", type=int, default=1, help="of each client")
    parser.add_argument("--chat-blocks", type=int, default=7)
    parser.add_argument("--chat-keys", type=int, default=20, help="of a block, alone and beside the chat each")
    parser.add_argument("--pause-s", type=float, default=0.05, help="between the two sides")
    options = parser.parse_args()
    options.peer = os.environ.get("HEARTH_PEER")
    options.folder.mkdir(parents=True, exist_ok=True)
    print(f"{datetime.date.today()}, {machine()}, {options.threads} threads, ds2-small Q4_K_M, prefix of {PREFIX} tokens and suffix "
          f"of {SUFFIX}; {peer_version(options.peer) if options.peer else 'no HEARTH_PEER'}")  # fmt: skip
    benches = [Bench(options, order) for order in options.orders.split(",")]
    for table in options.tables.split(","):
        TABLES[table](benches, options)
    print("\nStarted as:\n", *(f"    {command}" for bench in benches for command in bench.commands), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
