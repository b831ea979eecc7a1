#!/usr/bin/env python3
"""Cuts a corpus for travel: `pack_parts.py corpus.pack OUT [--part-bytes N]`.

OUT gets heldout.pack.xz and part-000.pack.xz and on, each with about N bytes of text, compressed. The
training files of corpus.pack are shuffled by folder, so each part is a mix like the whole: the first is
enough to begin with. Every part is a pack of its own.
"""

import argparse
import lzma
from pathlib import Path


def records(path):
    """(split, bytes of the record) one by one."""
    with open(path, "rb") as pack:
        while head := pack.readline():
            size = int(head.rsplit(b"\t", 1)[1])
            yield head.split(b"\t", 1)[0].decode("utf-8"), head + pack.read(size + 1)


def write_parts(path, out, part_bytes, preset=6):
    """Returns the names of the training parts."""
    out.mkdir(parents=True, exist_ok=True)
    names = []
    heldout = lzma.open(out / "heldout.pack.xz", "wb", preset=preset)
    part, room = None, 0
    for split, record in records(path):
        if split == "heldout":
            heldout.write(record)
            continue
        if part is None or room <= 0:
            if part:
                part.close()
            names.append(f"part-{len(names):03d}")
            part, room = lzma.open(out / f"{names[-1]}.pack.xz", "wb", preset=preset), part_bytes
        part.write(record)
        room -= len(record)
    for file in filter(None, (heldout, part)):
        file.close()
    return names


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part-bytes", type=int, default=60_000_000, help="of text, before compression")
    arguments = parser.parse_args()
    for name in ["heldout", *write_parts(arguments.pack, arguments.out, arguments.part_bytes)]:
        print(f"{name}: {(arguments.out / f'{name}.pack.xz').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
