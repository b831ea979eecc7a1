#!/usr/bin/env python3
"""Cuts a corpus for travel: `pack_parts.py corpus.pack OUT [--part-bytes N] [--seen MANIFEST] [--language-bytes N[,LANG=N...]]`.

OUT gets heldout.pack.xz and part-000.pack.xz and on, each with about N bytes of text, compressed. The
training files of corpus.pack are shuffled by folder, so each part is a mix like the whole: the first is
enough to begin with. Every part is a pack of its own.

With --language-bytes each language gets at most so much text (LANG=N: that one); with --seen, the manifest.jsonl of a corpus
that was trained on already, files that are not in it come first.
"""

import argparse
import collections
import concurrent.futures
import json
import lzma
import os
from pathlib import Path


def records(path):
    """(split, bytes of the record) one by one."""
    with open(path, "rb") as pack:
        while head := pack.readline():
            size = int(head.rsplit(b"\t", 1)[1])
            yield head.split(b"\t", 1)[0].decode("utf-8"), head + pack.read(size + 1)


def seen_files(manifest):
    """{(package, path)} of the training files that a manifest names."""
    with open(manifest, encoding="utf-8") as lines:
        files = map(json.loads, lines)
        return {(file["package"], file["path"]) for file in files if file["split"] == "train"}


def language_sizes(text):
    """{language: bytes} of "N,LANG=N,...": N for the languages that are not named."""
    most, *named = text.split(",")
    pairs = (each.partition("=") for each in named)
    return collections.defaultdict(lambda: int(most), {language: int(size) for language, _, size in pairs})


def choose(path, seen, language_bytes):
    """The places among the records of those that are taken: of each language what is not in `seen` first, up to its bytes."""
    room = language_bytes.copy()
    chosen, later = set(), []
    for place, (split, record) in enumerate(records(path)):
        if split == "heldout":
            continue
        _, language, package, name, _ = record.split(b"\n", 1)[0].decode("utf-8").split("\t")
        if (package, name) in seen:
            later.append((place, language, len(record)))
        elif room[language] > 0:
            chosen.add(place)
            room[language] -= len(record)
    for place, language, size in later:
        if room[language] > 0:
            chosen.add(place)
            room[language] -= size
    return chosen


def write_parts(path, out, part_bytes, chosen=None, preset=6):
    """Writes the parts, of all training records or of those in the places `chosen`. Returns the names of the training parts."""
    out.mkdir(parents=True, exist_ok=True)
    jobs = os.cpu_count() or 1
    names = []

    def write(part):
        name, data = part
        (out / f"{name}.pack.xz").write_bytes(lzma.compress(data, preset=preset))

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = collections.deque()
        for part in _parts(path, part_bytes, chosen):
            if part[0] != "heldout":
                names.append(part[0])
            waiting.append(pool.submit(write, part))
            if len(waiting) > jobs:
                waiting.popleft().result()
        for each in waiting:
            each.result()
    return names


def _parts(path, part_bytes, chosen):
    """(name, bytes) of each part; the held-out one comes first, though perhaps empty."""
    heldout, part, count = bytearray(), bytearray(), 0
    for place, (split, record) in enumerate(records(path)):
        if split == "heldout":
            heldout += record
            continue
        if heldout is not None:
            yield "heldout", bytes(heldout)
            heldout = None
        if chosen is not None and place not in chosen:
            continue
        part += record
        if len(part) >= part_bytes:
            yield f"part-{count:03d}", bytes(part)
            part, count = bytearray(), count + 1
    if heldout is not None:
        yield "heldout", bytes(heldout)
    if part:
        yield f"part-{count:03d}", bytes(part)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part-bytes", type=int, default=60_000_000, help="of text, before compression")
    parser.add_argument("--seen", type=Path, help="manifest.jsonl of a corpus whose files come last")
    parser.add_argument("--language-bytes", type=language_sizes, help="of text of each language at most: N[,LANG=N...]")
    arguments = parser.parse_args()
    chosen = None
    if arguments.language_bytes:
        seen = seen_files(arguments.seen) if arguments.seen else set()
        chosen = choose(arguments.pack, seen, arguments.language_bytes)
    elif arguments.seen:
        parser.error("--seen says which files come last: --language-bytes has to say how many come at all")
    for name in ["heldout", *write_parts(arguments.pack, arguments.out, arguments.part_bytes, chosen)]:
        print(f"{name}: {(arguments.out / f'{name}.pack.xz').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
