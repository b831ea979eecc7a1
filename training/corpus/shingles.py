"""Near-duplicate checks: two files that share many runs of three lines have one origin.

A run is known by a 64-bit hash that is the same in every process. A sketch is the smallest of a
file's hashes: what two sketches share is about what the files share, in a few hundred bytes a file.
"""

import array
import heapq
import zlib

LINES = 3
SKETCH_SIZE = 48
INDEXED = 8  # of a sketch's smallest hashes: two files that share 70 % share one of them, all but surely
NEAR_DUPLICATE_SHARE = 0.7
_MASK = (1 << 64) - 1


def shingles_of(text):
    """The hashes of all runs of three non-blank lines, blanks inside lines ignored."""
    lines = [zlib.crc32(squeezed.encode("utf-8")) for line in text.split("\n") if (squeezed := "".join(line.split()))]
    if len(lines) < LINES:
        return {_mixed(sum(lines) + len(lines))}
    return {_mixed((a << 32) ^ (b << 16) ^ c * 0x9E3779B1) for a, b, c in zip(lines, lines[1:], lines[2:])}


def _mixed(value):
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    return (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK


def shared_fraction(shingles, others):
    """How much of `shingles` is in `others`."""
    return len(shingles & others) / len(shingles) if shingles else 0.0


class NearDuplicates:
    """Remembers the sketches of the files that were kept."""

    def __init__(self):
        self._sketches = []
        self._file_of = {}

    def is_new(self, shingles):
        """True, and remembered, unless a file that was kept shares most of these shingles."""
        sketch = heapq.nsmallest(SKETCH_SIZE, shingles)
        own = set(sketch)
        for other in {self._file_of[value] for value in sketch[:INDEXED] if value in self._file_of}:
            kept = self._sketches[other]
            # Of two sketches only the hashes below both ends can be compared.
            end = min(sketch[-1], kept[-1])
            ours = sum(value <= end for value in sketch)
            theirs = sum(value <= end for value in kept)
            shared = sum(value in own for value in kept if value <= end)
            if shared >= NEAR_DUPLICATE_SHARE * max(ours, theirs, 1):
                return False
        for value in sketch[:INDEXED]:
            self._file_of.setdefault(value, len(self._sketches))
        self._sketches.append(array.array("Q", sketch))
        return True
