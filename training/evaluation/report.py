"""The results as a section of a Markdown page. What was not measured is a dash."""

import math
import textwrap

from scores import share_error

COPIES = {"copy": "copy", "editor_copy": "copy there"}  # what is no model, and has no word of its own
LINE_NAMES = {"whole_line": "Whole line", "line_tail": "Line tail", "argument_list": "Argument list", "block": "Block"}


def percent(part, whole=1):
    return f"{100 * part / whole:.0f}" if whole and part is not None else "-"


def tenths(share):
    return "-" if share is None else f"{100 * share:.1f}"


def paragraph(text):
    return textwrap.fill(" ".join(text.split()), 125, break_on_hyphens=False) + "\n"


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def rows_of(entries, cells):
    """A row per language and one for all."""
    return [[f"**{name}**" if name == "all" else name, *cells(entry)] for name, entry in entries.items()]


def lines_table(entries):
    def cells(entry):
        exact = [f"{tenths(one['exact'])} ({percent(one['similarity'])})" for one in map(entry.get, sides)]
        kept = [f"{one['accepted']:.1f} ({percent(one['accepted_share'])})" for one in map(entry.get, sides)]
        return [*exact, *kept, *(percent(entry[who]["surer_half"]) for who in sides if who not in COPIES)]

    sides = [who for who in ("model", "copy", "product", "editor_copy", "editor") if who in entries["all"]]
    heads = ["language"]
    for what in ("exact", "letters", "surer half"):
        own = [COPIES.get(who, who) for who in sides if what != "surer half" or who not in COPIES]
        heads += [f"{what}: {own[0]}", *own[1:]]
    return table(heads, rows_of(entries, cells))


def lines_text(results):
    counts = ", ".join(f"{kind['all']['cases']} {LINE_NAMES[name].lower()}s" for name, kind in results["lines"].items())
    text = "### Lines\n" + paragraph(f"""
        {counts}, greedy. *Exact*: per cent, and mean edit similarity in brackets. *Letters*: how many at the start of the
        answer are right, and their share of the hidden text in brackets. *Surer half*: per cent exact in the half of the
        answers that are likeliest by their own word. *Copy* is no model: it copies what follows the longest match in up to
        16 kB of the same file, of which the model sees what fits its context. *Product* is the likeliest of the lines that the
        product's search finds and of the copies, however unlikely. *Editor* is the product where all of the file and up to
        eight others of its project and language are open, first those that the file names, nearest folders first; *copy there*
        is the copy in all of these. An argument list ends at its bracket. A block has two to five lines; an answer may have
        as many as the hidden text.""")
    for name, entries in results["lines"].items():
        text += f"\n**{LINE_NAMES[name]}**\n\n" + lines_table(entries)
    return text


def seen_text(results):
    least, lines = results["shown_from"], results["lines"]

    def row(name):
        cells = []
        for situation in ("automatic", "invoked"):
            for entries in lines.values():
                one, cases = entries[name]["seen"][situation], entries[name]["cases"]
                cells.append(f"{percent(one['shown'], cases)} ({percent(one['right'], one['shown'])})")
        copies = [entries[name]["seen"]["certain_copy"] for entries in lines.values()]
        shown, right = (sum(one[what] for one in copies) for what in ("shown", "right"))
        cases = sum(entries[name]["cases"] for entries in lines.values())
        return [f"**{name}**" if name == "all" else name, *cells, f"{percent(shown, cases)} ({percent(right, shown)})"]

    kinds = [LINE_NAMES[kind].lower() for kind in lines]
    heads = ["language", *(f"typing: {kind}" if not i else kind for i, kind in enumerate(kinds)),
             *(f"asked: {kind}" if not i else kind for i, kind in enumerate(kinds)), "copy at once"]  # fmt: skip
    text = paragraph(f"""
        {'In an editor, as above: per' if 'editor' in lines['whole_line']['all'] else 'Per'} cent of the cases in which something is suggested, and in brackets per cent of these that are exactly the hidden
        text (of a block: its first lines). While one types a line needs a probability of {least['automatic']:g}, where one asks for it
        {least['invoked']:g}; a copy of {least['certain_copy']:g} is shown before the model is asked.""")
    return (
        "### What the user sees\n" + text + "\n" + table(heads, [row(name) for name in next(iter(lines.values()))])
        + "\n" + gates_text(results)
    )  # fmt: skip


def gates_text(results):
    columns = ("shown", "right", "wrong", "silent", "silent_right")
    gates = results["gates"] | results["fix"]["gates"]
    rows = [[gate, LINE_NAMES.get(kind, kind).lower(), *(str(one[column]) for column in columns)]
            for gate, kinds in gates.items() for kind, one in kinds.items()]  # fmt: skip
    text = paragraph("""
        Each gate by itself: how many lines of its source (the model, copies from the file, the product's choice of these while
        one types (automatic) and where one asks (invoked), changes to a marked line) it lets pass, right and wrong ones, how
        many it holds back, and how many of these were right. Of a block the first line counts. A line that passes one gate may
        be held by another.""")
    return text + "\n" + table(["gate", "kind", "shown", "right", "wrong", "silent", "right of these"], rows)


def thresholds_table(head, worth, entry):
    rows = [[least, percent(one["shown"]), tenths(one["worth"])] for least, one in entry["thresholds"].items()]
    return table([head, "per cent", worth], rows)


def explain_text(explain):
    def cells(entry):
        chrf, shown = entry["chrf"], entry["shown_chrf"]
        return [*(tenths(chrf[who]) for who in ("model", "name", "nearest")), percent(entry["names_a_word"]),
                percent(entry["shown"]), *(tenths(shown[who]) for who in ("model", "name", "nearest"))]  # fmt: skip

    entries = explain["entries"]
    text = paragraph(f"""
        {entries['all']['cases']} documented functions, greedy, without their documentation; chrF against its first sentence.
        *Name*: the function's name as words. *Nearest*: the sentence of the function, of {explain['known']} of training files, whose
        names share most words with it. *Names a word*: per cent of the answers that have a word of a name of the code.
        *Shown*: per cent that have the confidence of {explain['confidence_min']:g} and no other fault, and the three on these alone.""")
    heads = ["language", "chrF: model", "name", "nearest", "names a word", "shown", "shown: model", "name", "nearest"]
    return (
        "### Explanations\n" + text + "\n" + table(heads, rows_of(entries, cells))
        + "\nAnswers of at least this confidence, per cent of all, and their chrF:\n\n"
        + thresholds_table("confidence", "chrF", entries["all"])
    )  # fmt: skip


def fix_text(fix):
    def cells(entry):
        exact, false, seen = entry["exact"], entry["false_changes"], entry["seen"]
        return [*(tenths(exact[who]) for who in ("model", "product", "known_wrong", "balancer", "frequent_name")),
                *(tenths(false[who]) for who in ("model", "product", "balancer", "frequent_name")),
                f"{seen['shown']} ({percent(seen['right'], seen['shown'])})"]  # fmt: skip

    def kind_cells(entry):
        return [str(entry["broken"]), *(tenths(entry["exact"][who]) for who in sides),
                *(str(entry["seen"][what]) for what in ("shown", "right", "wrong", "silent"))]  # fmt: skip

    sides = ("model", "product", "known_wrong", "balancer", "frequent_name")
    total = fix["entries"]["all"]
    kinds = {kind: entry for kind, entry in fix["kinds"].items() if kind != "none"}
    text = paragraph(f"""
        {total['broken']} lines with one bug of {len(kinds)} kinds, and {total['clean']} without. *Exact*: per cent of the broken
        lines that are as they were. *False*: per cent of the sound lines that are changed. *Model* answers greedily. *Product*
        shows the likeliest line among the model's answer and all lines one edit away that no check holds back, from a
        probability of {fix['probability_min']:g} on; *shown* counts them, right ones in per cent in brackets. *Known*: the same where
        a diagnostic names the line, so that to leave it is no answer. *Balancer* puts brackets in order; *name* puts the most frequent name around for one that stands nowhere else. To
        change nothing has 0 and 0.""")
    heads = ["language", "exact: model", "product", "known", "balancer", "name", "false: model", "product", "balancer",
             "name", "shown"]  # fmt: skip
    return (
        "### Fixes\n" + text + "\n" + table(heads, rows_of(fix["entries"], cells)) + "\n"
        + table(["bug", "cases", "exact: model", "product", "known", "balancer", "name", "shown", "right", "wrong", "silent"],
                rows_of(kinds, kind_cells))
        + "\nChanges of at least this probability, per cent of all changes, and per cent of these that are right:\n\n"
        + thresholds_table("probability", "right", total)
    )  # fmt: skip


def bits_text(results):
    memory = results["memory"]

    def cells(name):
        own = memory["languages"].get(name) or {"training": None, "heldout": None}
        if name == "all":
            own = {side: memory[side]["bits_per_byte"] for side in own}
        return [f"{results['bits'][name]['bits_per_byte']:.3f}",
                *("-" if own[side] is None else f"{own[side]:.3f}" for side in ("heldout", "training"))]  # fmt: skip

    rows = [[f"**{name}**" if name == "all" else name, *cells(name)] for name in results["bits"]]
    corpus = results["corpus"]
    if corpus is None:
        alike = "Whether training files are like evaluation files was not checked: the corpus was not at hand."
    else:
        alike = (f"Of {corpus['training_files']} training files {len(corpus['alike'])} share half of their runs of three lines with "
                 f"one of {corpus['evaluation_files']} held-out files (wanted: none).")  # fmt: skip
    repeated = " and ".join(
        f"{tenths(memory[side]['repeated'])} % of {memory[side]['windows']} {name} ones"
        for side, name in (("training", "training"), ("heldout", "held-out"))
    )
    gap = "not known" if memory["gap"] is None else f"{memory['gap']:.3f} bits a byte"
    text = paragraph(f"""
        {results['bits']['all']['tokens']} tokens of held-out files in windows of 512, each predicted from its own window, the ends of files
        included; lower is better. *Plain*: windows that begin with a path line and have no hole, held out and of training:
        what training text gains by having been seen is {gap}. After 50 tokens of such a window the model writes
        the next 50 by itself in {repeated}. {alike}""")
    heads = ["language", "held out", "plain: held out", "training"]
    return "### Bits per byte, and what is known by heart\n" + text + "\n" + table(heads, rows)


def with_error(share, error):
    return tenths(share) if error is None else f"{tenths(share)} ± {tenths(error)}"


def bars(results):
    """(what, what is wanted, model, product): a side is its value as text and whether it reaches the bar, or nothing."""
    languages = lambda entries: [entry for name, entry in entries.items() if name != "all"]
    rows = []
    for kind, least, where, whose in (
        ("whole_line", 0.26, "", ("model", "product")),
        ("line_tail", 0.43, "", ("model", "product")),
        ("whole_line", 0.26, " in an editor", ("editor_model", "editor")),
        ("line_tail", 0.43, " in an editor", ("editor_model", "editor")),
    ):
        if whose[0] not in results["lines"][kind]["all"]:
            continue
        sides = []
        for who in whose:
            own = [(entry[who]["exact"], entry["cases"]) for entry in languages(results["lines"][kind])]
            value = sum(share for share, _ in own) / max(1, len(own))
            errors = [share_error(*one) for one in own]
            error = None if None in errors else math.sqrt(sum(each**2 for each in errors)) / max(1, len(own))
            sides.append((with_error(value, error) + " %", value >= least))
        rows.append((f"{LINE_NAMES[kind].lower()} exact{where}, mean of languages", f"at least {percent(least)} %", *sides))
    full = results["full_precision"]
    worse = full and full["own_bits_per_byte"] / full["bits_per_byte"] - 1
    rows.append(("bits per byte beside full precision", "at most 0.5 % more",
                 full and (f"{100 * worse:+.2f} %", worse <= 0.005), None))  # fmt: skip
    total = results["explain"]["entries"]["all"]
    sides = []
    for chrf, error in ((total["chrf"], total["chrf_error"]), (total["shown_chrf"], total["shown_chrf_error"])):
        # Nothing to look up is no baseline that was beaten.
        if chrf["model"] is None or results["explain"]["known"] == 0:
            sides.append(None)
            continue
        best = max(chrf["name"], chrf["nearest"])
        sides.append((f"{with_error(chrf['model'], error)} beside {tenths(best)}", chrf["model"] > best))
    rows.append(("explanations, chrF", "above both baselines", *sides))
    fix = results["fix"]["entries"]["all"]
    for what, wanted, values, count, is_reached in (
        ("fixes exact", "at least 40 %", fix["exact"], fix["broken"], lambda value: value >= 0.40),
        ("false changes", "at most 5 %", fix["false_changes"], fix["clean"], lambda value: value <= 0.05),
    ):
        sides = [(f"{with_error(values[who], share_error(values[who], count))} %", is_reached(values[who]))
                 for who in ("model", "product")]  # fmt: skip
        rows.append((what, wanted, *sides))
    return rows


def short_text(results):
    """Which languages had fewer cases than were asked for; empty where none had."""
    asked = results["cases_max"]
    groups = {LINE_NAMES[kind].lower() + "s": (entries, "cases") for kind, entries in results["lines"].items()}
    groups["explanations"] = (results["explain"]["entries"], "cases")
    groups["broken lines"] = (results["fix"]["entries"], "broken")
    groups["sound lines"] = (results["fix"]["entries"], "clean")
    short = []
    for name, (entries, count) in groups.items():
        own = [f"{language} {one[count]}" for language, one in entries.items() if language != "all" and one[count] < asked]
        short += [f"{name}: {', '.join(own)}"] if own else []
    return f"Fewer than the {asked} cases of a language that were asked for were to be had of {'; '.join(short)}." if short else ""


def earlier_text(results):
    full = results["full_precision"]
    is_earlier = full and full["own_bits_per_byte"] != results["bits"]["all"]["bits_per_byte"]
    return "Full precision and this file were compared over the windows of an earlier evaluation." if is_earlier else ""


def bars_text(results):
    cell = lambda side: f"{side[0]}: {'reached' if side[1] else 'not reached'}" if side else "not measured"
    rows = [[what, wanted, cell(model), cell(product)] for what, wanted, model, product in bars(results)]
    text = paragraph(f"""
        ± is the standard error, as if cases were independent; two of them are a 95 % interval. The cases are of the half of the
        held-out files by which no constant of the product is chosen. {short_text(results)} {earlier_text(results)}""")
    return "### Bars\n\n" + table(["bar", "wanted", "model", "product"], rows) + "\n" + text


def projects_text(results):
    """Those that held-out files of each language really come from, the largest first."""
    if results["corpus"] is None:
        return ""
    own = [f"{language} of {', '.join(projects)}" for language, projects in results["corpus"]["projects"].items()]
    return f" ({'; '.join(own)})"


def section(results):
    head = paragraph(f"""
        Measured by `make evaluate` on `{results['model']['file']}` (SHA-256 {results['model']['sha256'][:16]}...) through the plan, the
        CPU kernels, the engine and the gates that serve it, on projects that training never saw{projects_text(results)}.
        `training/README.md` says what each number is.""")
    parts = [head, bars_text(results), bits_text(results), lines_text(results), seen_text(results),
             explain_text(results["explain"]), fix_text(results["fix"])]  # fmt: skip
    return "## Evaluation\n\n" + "\n".join(parts)


def with_section(page, text):
    """`page` with `text` in place of the section of the same heading, or at its end."""
    heading = text.split("\n", 1)[0]
    lines = page.splitlines(keepends=True)
    begin = next((i for i, line in enumerate(lines) if line.rstrip() == heading), None)
    if begin is None:
        return (page.rstrip("\n") + "\n\n" if page.strip() else "") + text
    end = next((i for i in range(begin + 1, len(lines)) if lines[i].startswith(("# ", "## "))), len(lines))
    rest = "".join(lines[end:])
    return "".join(lines[:begin]) + text + ("\n" + rest if rest else "")
