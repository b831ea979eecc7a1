#!/usr/bin/env python3
"""A smaller pack for the tokenizer: `sample_pack.py corpus.pack OUT [--megabytes N]`.

All held-out files, and of each language the first N megabytes of training files: the pack is shuffled, so
these come from all packages, and no language shapes the vocabulary by its size alone.
"""

import argparse
import collections
from pathlib import Path

from pack_parts import records


def write_sample(path, out, bytes_per_language):
    """Returns the bytes of each language that were taken."""
    taken = collections.Counter()
    with open(out, "wb") as sample:
        for split, record in records(path):
            language = record.split(b"\t", 2)[1].decode("utf-8")
            if split == "train" and taken[language] >= bytes_per_language:
                continue
            sample.write(record)
            taken[language] += len(record) if split == "train" else 0
    return taken


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--megabytes", type=float, default=12.0, help="of each language")
    arguments = parser.parse_args()
    for language, size in sorted(write_sample(arguments.pack, arguments.out, arguments.megabytes * 1e6).items()):
        print(f"{language}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
