"""C++ to type into, cut by the tokens of a model: hearth's own sources, one after the other."""

import json
import subprocess
from pathlib import Path

from sides import Document

ROOT = Path(__file__).resolve().parents[2]
TYPED_TOKENS = 100  # between prefix and suffix, for the keys
LINES_ABOVE = 20


def words(build, model, count):
    """The first `count` tokens of the sources, as texts."""
    sources = sorted((ROOT / "core").glob("*/*.cpp"))
    text = "\n".join(path.read_text() for path in sources).encode("ascii", "ignore").decode()[: 8 * count]
    out = subprocess.run([build / "bin/hearth-engine", "tokenize", "--model", model], input=text, check=True,
                         capture_output=True, text=True).stdout  # fmt: skip
    tokens = [json.loads(line.split("\t", 1)[1]) for line in out.splitlines()]
    if len(tokens) < count:
        raise RuntimeError(f"the sources have {len(tokens)} tokens and {count} are wanted; ask for fewer editors")
    return tokens[:count]


class Place:
    """Where somebody types: `number` tells places apart."""

    def __init__(self, tokens, number, prefix_tokens, suffix_tokens):
        begin = number * (prefix_tokens + TYPED_TOKENS + suffix_tokens)
        middle = begin + prefix_tokens
        after = middle + TYPED_TOKENS
        self.prefix = "".join(tokens[begin:middle])
        self.typed = "".join(tokens[middle:after])
        self.suffix = "\n" + "".join(tokens[after : after + suffix_tokens])

    def keys(self, count, characters_max=3):
        """The prefix grows by one to `characters_max` each time; the first document is to be asked for unmeasured."""
        ends = [sum(1 + i % characters_max for i in range(key)) for key in range(count + 1)]
        return [Document(self.prefix + self.typed[:end], self.suffix) for end in ends]

    def edits(self, count):
        """A letter more each time in the line LINES_ABOVE above the cursor."""
        lines = self.prefix.split("\n")
        above = lines[-1 - LINES_ABOVE]
        documents = []
        for edit in range(count + 1):
            lines[-1 - LINES_ABOVE] = above + "x" * edit
            documents.append(Document("\n".join(lines), self.suffix))
        return documents
