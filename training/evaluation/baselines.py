"""What can be had without a model: copies from the same file, words of names, looked-up sentences, simple repairs."""

import math
import re
from collections import Counter

NAME = re.compile(r"[A-Za-z_]\w*")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Of the eight languages; a name is none of them.
KEYWORDS = frozenset(
    """abstract and as assert async await auto bool boolean break byte case catch chan char class const constexpr continue crate def
    default defer defined del do double elif else enum except export extends extern false final finally float fn for from func
    function go goto if impl implements import in inline instanceof int interface is lambda let long loop map match mod move mut
    namespace new nil none None not null nullptr or override package pass private protected pub public raise range ref return
    select self Self short signed sizeof size_t static str string struct super switch template this throw throws trait True False
    true try type typedef typename typeof undefined union unsafe unsigned use using var virtual void volatile where while with
    yield""".split()
)
# Said in every explanation and in many names.
COMMON_WORDS = frozenset("a an and are as at be by for from if in into is it its not of on or that the this to with".split())
CLOSER_OF = {"(": ")", "[": "]", "{": "}"}


def copy_lines(prefix, others, count=1):
    """What follows the longest run of text that stands both before the cursor and elsewhere, up to `count` lines.

    Of several such places the last one before the cursor, else the first one in the texts `others`; only places
    that something follows in their line.
    """

    def copied(length):
        tail = prefix[len(prefix) - length :]
        end = len(prefix) - 1
        while (at := prefix.rfind(tail, 0, end)) >= 0:
            if text := _lines_at(prefix, at + length, count):
                return text
            end = at + length - 1
        for other in others:
            at = other.find(tail)
            while at >= 0:
                if text := _lines_at(other, at + length, count):
                    return text
                at = other.find(tail, at + 1)
        return ""

    # A place that follows a long run follows each shorter one as well, and few runs are long.
    low, high = 0, 1
    while high < len(prefix) and copied(high):
        low, high = high, 2 * high
    high = min(high, len(prefix)) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if copied(middle):
            low = middle
        else:
            high = middle - 1
    return copied(low) if low > 0 else ""


def _lines_at(text, begin, count):
    first, *more = text[begin:].split("\n", count)[:count]
    return "\n".join([first, *more]).rstrip() if first.strip() else ""


def inside_brackets(text):
    """Up to the bracket that closes what the text did not open."""
    depth = 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0:
            return text[:i]
    return text


def copy_case(case, beside=None):
    """The copy at a case of eval-line.jsonl, as long as its target can be. `beside`: what an editor has (Projects.in_editor)."""
    _, prefix, suffix, files = beside or ("", case["prefix"], case["suffix"], [])
    copy = copy_lines(prefix, [suffix, *(text for _, text in files)], 1 + case["target"].count("\n"))
    return inside_brackets(copy) if case["kind"] == "argument_list" else copy


def names_in(code):
    return [name for name in NAME.findall(code) if name not in KEYWORDS]


def words_of(name):
    return [word.lower() for word in WORD.findall(name)]


def name_words(code):
    """The words of all names of the code that say something."""
    words = {word for name in names_in(code) for word in words_of(name)}
    return {word for word in words if len(word) > 2 and word not in COMMON_WORDS}


def names_a_word(code, text):
    """Whether the text has a word of a name of the code; "parses" speaks of "parse"."""
    said = set(words_of(text))
    return any(word in said or word + "s" in said for word in name_words(code))


def function_name(code):
    """Of the first function or type of the code; empty where none is found."""
    head = r"(?:\b(?:def|fn|function\*?|func(?:\s*\([^)]*\))?|class|struct|interface|trait)\s+(\w+)"
    assigned = r"([\w$]+)\s*[:=]\s*(?:async\s*)?(?:function\b|\([^)]*\)\s*=>)"
    called = r"(\w+)\s*(?:<[^<>()]*>\s*)?\("
    code = re.sub(r"\btemplate\s*<[^{};]*?>\s*(?=\w)", "", code)
    for found in re.finditer(f"{head})|{assigned}|{called}", code):
        name = next(filter(None, found.groups()))
        if name not in KEYWORDS:
            return name
    return ""


def name_sentence(code):
    """The function's name as words."""
    return " ".join(words_of(function_name(code)))


class NearestSentence:
    """The sentence of the known function whose names share most words with the code, rare words counting more."""

    def __init__(self, pairs):
        self.pairs = pairs
        words = [name_words(pair["code"]) for pair in pairs]
        counts = Counter(word for own in words for word in own)
        self.weights = {word: math.log(1 + len(pairs) / count) for word, count in counts.items()}
        self.lengths = [math.sqrt(sum(self.weights[word] ** 2 for word in own)) for own in words]
        self.having = {}
        for i, own in enumerate(words):
            for word in own:
                self.having.setdefault(word, []).append(i)

    def of(self, code):
        shared = Counter()
        for word in sorted(name_words(code)):
            for i in self.having.get(word, ()):
                shared[i] += self.weights[word] ** 2
        best = max(shared, key=lambda i: (shared[i] / self.lengths[i], -i), default=None)
        return "" if best is None else self.pairs[best]["sentence"]


def balanced(line):
    """The line with its brackets in balance: one too many taken out, missing ones put before what ends the line.

    Strings are left alone; a curly bracket that opens a block is no mistake.
    """
    open_brackets, i, quote = [], 0, ""
    while i < len(line):
        letter = line[i]
        if quote:
            i += letter == "\\"
            quote = "" if letter == quote else quote
        elif letter in "\"'`":
            quote = letter
        elif letter in CLOSER_OF:
            open_brackets.append(letter)
        elif letter in CLOSER_OF.values():
            if open_brackets and CLOSER_OF[open_brackets[-1]] == letter:
                open_brackets.pop()
            elif any(CLOSER_OF[bracket] == letter for bracket in open_brackets):
                return line[:i] + CLOSER_OF[open_brackets[-1]] + line[i:]
            elif letter != "}" or open_brackets:
                return line[:i] + line[i + 1 :]
        i += 1
    missing = "".join(CLOSER_OF[bracket] for bracket in reversed(open_brackets) if bracket != "{")
    end = re.search(r"\s*(?:[{:;,]|\{\s*\})?\s*$", line)
    fixed = line[: end.start()] + missing + line[end.start() :]
    return fixed.replace(";;", ";") if fixed.rstrip().endswith(";;") else fixed


def most_frequent_name(before, line, after):
    """The line with the name that stands nowhere else around replaced by the most frequent one that it lacks."""
    around = Counter(names_in(before + "\n" + after))
    own = names_in(line)
    strange = next((name for name in own if name not in around), None)
    frequent = next((name for name, _ in around.most_common() if name not in own), None)
    if strange is None or frequent is None:
        return line
    return re.sub(rf"\b{re.escape(strange)}\b", lambda _: frequent, line, count=1)
