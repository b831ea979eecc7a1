"""How answers are scored: pure functions over texts and numbers."""

import math
from collections import Counter

CHRF_ORDER = 6
CHRF_BETA = 2
SITUATIONS = ("automatic", "invoked", "certain_copy")
THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))


def similarity(left, right):
    """1 less the edit distance (insert, delete, replace) over the longer length."""
    if not left or not right:
        return float(left == right)
    # One bit per letter of `left`: where a column of the distance table goes up or down by one.
    places = {}
    for i, letter in enumerate(left):
        places[letter] = places.get(letter, 0) | 1 << i
    every, last = (1 << len(left)) - 1, 1 << (len(left) - 1)
    up, down, distance = every, 0, len(left)
    for letter in right:
        same = places.get(letter, 0)
        diagonal = (((same & up) + up) ^ up) | same | down
        row_up, row_down = down | (every & ~(diagonal | up)), up & diagonal
        distance += bool(row_up & last) - bool(row_down & last)
        row_up = row_up << 1 | 1
        up = ((row_down << 1) | ~(diagonal | row_up)) & every
        down = row_up & diagonal & every
    return 1 - distance / max(len(left), len(right))


def accepted(target, answer):
    """How many letters at the start of the answer are the target's."""
    count = 0
    for wanted, letter in zip(target, answer):
        if wanted != letter:
            break
        count += 1
    return count


def is_right(target, text):
    """Blanks at the end do not count."""
    return bool(text.strip()) and text.rstrip() == target.rstrip()


def is_right_so_far(target, text):
    """The same of a text that may hold only the first lines of the target."""
    lines = text.rstrip().split("\n")
    return bool(text.strip()) and lines == target.rstrip().split("\n")[: len(lines)]


def mean(values):
    """Nothing of nothing."""
    values = list(values)
    return round(sum(values) / len(values), 4) if values else None


def standard_error(values):
    """Of their mean, as if they were independent; nothing of fewer than two."""
    values = list(values)
    if len(values) < 2:
        return None
    middle = sum(values) / len(values)
    return round(math.sqrt(sum((value - middle) ** 2 for value in values) / (len(values) - 1) / len(values)), 4)


def share_error(share, count):
    """The same of a share of `count` cases."""
    return math.sqrt(share * (1 - share) / (count - 1)) if count > 1 else None


def score(targets, answers):
    """Share of exact answers, mean similarity, letters that may be kept and their share of the target."""
    pairs = [(target.rstrip(), answer.rstrip()) for target, answer in zip(targets, answers, strict=True)]
    return {
        "exact": mean(target == answer for target, answer in pairs),
        "similarity": mean(similarity(target, answer) for target, answer in pairs),
        "accepted": mean(accepted(target, answer) for target, answer in pairs),
        "accepted_share": mean(accepted(target, answer) / max(1, len(target)) for target, answer in pairs),
    }


def surer_half(targets, answers, probabilities):
    """Share of exact answers in the half that is likeliest by its own word; of equal ones the earlier."""
    order = sorted(range(len(targets)), key=lambda i: -probabilities[i])[: (len(targets) + 1) // 2]
    return mean(is_right(targets[i], answers[i]) for i in order)


def chrf(reference, answer):
    """F-score of runs of 1 to 6 letters, blanks left out; recall counts twice as much as precision.

    Precision and recall are means over the run lengths that both texts have.
    """
    reference, answer = ("".join(text.split()) for text in (reference, answer))
    precisions, recalls = [], []
    for length in range(1, min(CHRF_ORDER, len(reference), len(answer)) + 1):
        wanted, said = (
            Counter(text[i : i + length] for i in range(len(text) - length + 1)) for text in (reference, answer)
        )
        shared = (wanted & said).total()
        precisions.append(shared / said.total())
        recalls.append(shared / wanted.total())
    precision, recall = (sum(values) / max(1, len(values)) for values in (precisions, recalls))
    if precision + recall == 0:
        return 0.0
    weight = CHRF_BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall)


def sight(cases, answers, shown_from):
    """What a user sees of these cases: by situation how often something is shown, and how often that is right.

    Of a block the sure lines alone are shown; they are right where they are its first ones.
    """
    seen = {}
    for situation in SITUATIONS:
        shown = right = 0
        for case, answer in zip(cases, answers, strict=True):
            if situation == "certain_copy":  # shown before the model is asked
                copies = [copy for copy in answer["copies"] if copy["fault"] == "none"]
                best = max(copies, key=lambda copy: copy["probability"], default={"probability": 0})
                text = best["text"] if best["probability"] >= shown_from[situation] else ""
            else:
                text = answer[situation]
            shown += bool(text.strip())
            right += is_right_so_far(case["target"], text)
        seen[situation] = {"shown": shown, "right": right, "wrong": shown - right, "silent": len(cases) - shown}
    return seen


class GateCounts:
    """What gates do to the lines of a source ("model", "copy", a situation, ...), by gate and kind of case.

    Of each gate: how many lines it lets pass (shown), whether these are right or wrong, and how many it holds back
    (silent); of the latter some were right. A line that passes one gate may be held by another.
    """

    def __init__(self):
        self.lines = {}  # (source, kind) -> [(gate that holds the line or None, is right)]

    def add(self, source, kind, gate, is_right):
        self.lines.setdefault((source, kind), []).append((gate, is_right))

    def counts(self):
        """{gate: {kind: counts}}, of the gates that ever held a line of their source."""
        found = {}
        for source in sorted({source for source, _ in self.lines}):
            of_kind = {kind: lines for (own, kind), lines in self.lines.items() if own == source}
            for gate in sorted({gate for lines in of_kind.values() for gate, _ in lines if gate}):
                found[f"{source}: {gate}"] = {kind: self._count(lines, gate) for kind, lines in of_kind.items()}
        return found

    @staticmethod
    def _count(lines, gate):
        passed = [is_right for own, is_right in lines if own != gate]
        held = [is_right for own, is_right in lines if own == gate]
        return {"shown": len(passed), "right": sum(passed), "wrong": len(passed) - sum(passed),
                "silent": len(held), "silent_right": sum(held)}  # fmt: skip


def gate_counts(cases, answers):
    """Of lines: their faults, and that they are not likely enough where one types or asks. Of a block the first line counts."""
    gates = GateCounts()
    for case, answer in zip(cases, answers, strict=True):
        kind = case["kind"]
        right = lambda text, case=case: is_right_so_far(case["target"], text)
        held_by = lambda fault: None if fault == "none" else fault
        if answer["line"].strip() or answer["fault"] != "none":
            gates.add("model", kind, held_by(answer["fault"]), right(answer["line"]))
        for copy in answer["copies"]:
            gates.add("copy", kind, held_by(copy["fault"]), right(copy["text"]))
        for situation in SITUATIONS[:2]:
            if answer["product"].strip():
                is_shown = bool(answer[situation].strip())
                text = answer[situation] if is_shown else answer["product"]
                gates.add(situation, kind, None if is_shown else "not likely enough", right(text))
    return gates.counts()


def fix_gate_counts(cases, answers):
    """The same of changes to broken and to sound lines; any change to a sound line is wrong."""
    gates = GateCounts()
    for case, answer in zip(cases, answers, strict=True):
        kind = "sound line" if case["kind"] == "none" else "broken line"
        if answer["answer"]:
            gate = None if answer["fault"] == "none" else answer["fault"]
            gates.add("fix, greedy", kind, gate, is_right(case["target"], answer["answer"]))
        if answer["found"]:
            gate = None if answer["shown"] else "not likely enough"
            gates.add("fix", kind, gate, is_right(case["target"], answer["found"]))
    return gates.counts()


def by_threshold(values):
    """Share shown and mean worth from each threshold on; values are (what the model gives its answer, its worth)."""
    rows = {}
    for least in THRESHOLDS:
        worth = [value for said, value in values if said >= least]
        rows[str(least)] = {"shown": round(len(worth) / max(1, len(values)), 4), "worth": mean(worth)}
    return rows
