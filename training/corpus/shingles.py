"""Near-duplicate check: two files that share many runs of three lines have one origin."""

LINES = 3


def shingles_of(text):
    """The hashes of all runs of three non-blank lines, blanks inside lines ignored."""
    lines = [squeezed for line in text.split("\n") if (squeezed := "".join(line.split()))]
    return {hash(tuple(lines[i : i + LINES])) for i in range(max(1, len(lines) - LINES + 1))}


def shared_fraction(shingles, others):
    """How much of `shingles` is in `others`."""
    return len(shingles & others) / len(shingles) if shingles else 0.0
