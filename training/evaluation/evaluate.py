#!/usr/bin/env python3
"""Measures a model file: bits per byte of held-out code, lines at a cursor, explanations, fixes, and what it knows by heart.

hearth-evaluate runs the file through the plan, the engine and the gates that serve it; this program
chooses the cases, scores them beside baselines that need no model, and writes evaluation.json and the
section "Evaluation" of README.md into the folder RESULTS. Answers are kept: what was interrupted goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import baselines
import report
import scores
import windows
from answers import Asker, sha256
from cases import REPORT, explain_parts, fix_cases, fix_parts, line_parts, take_cases
from projects import Projects

KINDS = ("whole_line", "line_tail", "argument_list", "block")
REPAIRS = {"balancer": lambda case: baselines.balanced(case["bad_line"]),
           "frequent_name": lambda case: baselines.most_frequent_name(
               case["before"], case["bad_line"], case["after"])}  # fmt: skip


def line_entry(cases, answers, shown_from):
    """Of the cases of one kind. `answers`: with the case alone, and the copy there; in an editor, and the copy there, both None
    where no editor's was asked."""
    targets = [case["target"] for case in cases]
    alone, copies, in_editor, editor_copies = zip(*answers, strict=True)

    def score(who, answers):
        said = [answer[who] for answer in answers]
        likely = [answer["probability"] if who == "product" else answer["log_probability"] if answer["tokens"] else -1e9
                  for answer in answers]  # fmt: skip
        return scores.score(targets, said) | {"surer_half": scores.surer_half(targets, said, likely)}

    entry = {
        "cases": len(cases),
        "model": score("model", alone),
        "copy": scores.score(targets, copies),
        "product": score("product", alone),
        "seen": scores.sight(cases, alone if None in in_editor else in_editor, shown_from),
    }
    if None not in in_editor:
        entry |= {"editor_model": score("model", in_editor), "editor_copy": scores.score(targets, editor_copies),
                  "editor": score("product", in_editor)}  # fmt: skip
    return entry


def explain_entry(cases, answers, nearest):
    sentences = [case["sentence"] for case in cases]
    said = {
        "model": [answer["answer"] for answer in answers],
        "name": [baselines.name_sentence(case["code"]) for case in cases],
        "nearest": [nearest(case) for case in cases],
    }
    worth = {who: list(map(scores.chrf, sentences, texts)) for who, texts in said.items()}
    shown = [bool(answer["shown"]) for answer in answers]
    return {
        "cases": len(cases),
        "chrf": {who: scores.mean(values) for who, values in worth.items()},
        "chrf_error": scores.standard_error(worth["model"]),
        "names_a_word": scores.mean(map(baselines.names_a_word, (case["code"] for case in cases), said["model"])),
        "shown": scores.mean(shown),
        "shown_chrf": {
            who: scores.mean(value for value, is_shown in zip(values, shown, strict=True) if is_shown)
            for who, values in worth.items()
        },
        "shown_chrf_error": scores.standard_error(
            value for value, is_shown in zip(worth["model"], shown, strict=True) if is_shown
        ),
        "thresholds": scores.by_threshold(
            [(answer["confidence"], value) for answer, value in zip(answers, worth["model"], strict=True)]
        ),
    }


def fix_entry(cases, answers):
    """Exact lines where something is wrong, and changes where nothing is; an empty answer changes nothing."""
    said = {
        "model": [answer["answer"] or case["bad_line"] for case, answer in zip(cases, answers, strict=True)],
        "product": [answer["shown"] or case["bad_line"] for case, answer in zip(cases, answers, strict=True)],
        "known_wrong": [answer["shown_if_wrong"] or case["bad_line"] for case, answer in zip(cases, answers, strict=True)],
        "no_change": [case["bad_line"] for case in cases],
    } | {name: [repair(case) for case in cases] for name, repair in REPAIRS.items()}
    broken = [i for i, case in enumerate(cases) if case["kind"] != "none"]
    clean = [i for i, case in enumerate(cases) if case["kind"] == "none"]
    right = lambda texts, i: texts[i].rstrip() == cases[i]["target"].rstrip()
    shown = [i for i, answer in enumerate(answers) if answer["shown"]]
    shown_right = sum(right(said["product"], i) for i in shown)
    found = [(answer["probability"], answer["found"].rstrip() == case["target"].rstrip())
             for case, answer in zip(cases, answers, strict=True) if answer["found"]]  # fmt: skip
    return {
        "broken": len(broken),
        "clean": len(clean),
        "exact": {who: scores.mean(right(texts, i) for i in broken) for who, texts in said.items()},
        "false_changes": {who: scores.mean(not right(texts, i) for i in clean) for who, texts in said.items()},
        "seen": {"shown": len(shown), "right": shown_right, "wrong": len(shown) - shown_right,
                 "silent": len(cases) - len(shown)},
        "thresholds": scores.by_threshold(found),
    }  # fmt: skip


def by_language(cases, answers, entry_of):
    """`entry_of(cases, answers)` of each language and, under "all", of all together."""
    groups = {}
    for case, answer in zip(cases, answers, strict=True):
        for name in (case["language"], "all"):
            own = groups.setdefault(name, ([], []))
            own[0].append(case)
            own[1].append(answer)
    return {name: entry_of(*groups[name]) for name in sorted(groups, key=lambda name: (name == "all", name))}


def measure_lines(asker, options, projects, kind):
    """Also: the cases and their answers, in an editor where the projects are at hand."""
    path = options.shards / "eval-line.jsonl"
    cases = take_cases(path, lambda own: options.cases if own == kind else 0, REPORT)
    constants, answers = asker.ask(f"lines-{kind}", "lines", list(map(line_parts, cases)))
    in_editor = editor_copies = [None] * len(cases)
    if projects:
        beside = list(map(projects.in_editor, cases))
        _, in_editor = asker.ask(f"editor-{kind}", "lines", list(map(line_parts, cases, beside)), [options.plugins])
        editor_copies = list(map(baselines.copy_case, cases, beside))
    shown_from = dict(zip(scores.SITUATIONS, constants, strict=True))

    all_answers = list(zip(answers, map(baselines.copy_case, cases), in_editor, editor_copies, strict=True))
    entries = by_language(cases, all_answers, lambda own, said: line_entry(own, said, shown_from))
    return {"shown_from": shown_from, "entries": entries,
            "cases": cases, "answers": in_editor if projects else answers}  # fmt: skip


def measure_explain(asker, options):
    cases = take_cases(options.shards / "eval-explain.jsonl", lambda _: options.cases, REPORT)
    constants, answers = asker.ask("explain", "explain", list(map(explain_parts, cases)))
    known, pairs = {}, {}
    if options.pairs.exists():
        for pair in take_cases(options.pairs, lambda _: sys.maxsize):
            pairs.setdefault(pair["language"], []).append(pair)
    else:
        print(f"evaluate: {options.pairs} is missing: no sentences are looked up", file=sys.stderr)
    for language in {case["language"] for case in cases}:
        known[language] = baselines.NearestSentence(pairs.get(language, []))
    nearest = lambda case: known[case["language"]].of(case["code"])
    entries = by_language(cases, answers, lambda own, said: explain_entry(own, said, nearest))
    return {"confidence_min": constants[0], "known": sum(map(len, pairs.values())), "entries": entries}


def measure_fix(asker, options):
    cases = fix_cases(options.shards / "eval-fix.jsonl", options.cases, REPORT)
    constants, answers = asker.ask("fix", "fix", list(map(fix_parts, cases)))
    kinds = {}
    for kind in sorted({case["kind"] for case in cases}):
        own = [i for i, case in enumerate(cases) if case["kind"] == kind]
        kinds[kind] = fix_entry([cases[i] for i in own], [answers[i] for i in own])
    return {"probability_min": constants[0], "entries": by_language(cases, answers, fix_entry), "kinds": kinds,
            "gates": scores.fix_gate_counts(cases, answers)}  # fmt: skip


def bits_entries(sums):
    """By language, and of all their bytes together."""
    sums["all"] = {what: sum(own[what] for own in sums.values()) for what in ("bits", "bytes", "tokens")}
    return {
        name: {"bits_per_byte": round(own["bits"] / own["bytes"], 4), "bytes": own["bytes"], "tokens": own["tokens"]}
        for name, own in sums.items()
    }


def measure_bits(asker, options):
    places = windows.Windows(asker, options.shards)
    return {"entries": bits_entries(places.heldout(options.windows)), "memory": places.memory(options.windows)}


def full_bits(asker, options):
    """The same windows through the model file in full precision."""
    if asker is None:
        return None
    places = windows.Windows(asker, options.shards)
    return bits_entries(places.heldout(options.windows))["all"]["bits_per_byte"]


def full_precision(full, own, model_hash, results):
    """Bits per byte in full precision and of the model's file, over the same windows. Without a file in full precision (`full`
    None) what is noted in the folder `results` of the same model file; none where nothing is."""
    if full is not None:
        return {"bits_per_byte": full, "own_bits_per_byte": own}
    noted = results / "evaluation.json"
    known = json.loads(noted.read_text()) if noted.exists() else {}
    return known.get("full_precision") if known and known["model"]["sha256"] == model_hash else None


def evaluate(options):
    asker = Asker(options.program, options.model, options.kept)
    full_asker = options.full and Asker(options.program, options.full, options.kept)
    projects = Projects(options.corpus) if options.corpus.is_file() else None
    pool = ThreadPoolExecutor(options.jobs)
    try:
        # Several programs, a thread each, that never wait for each other.
        bits = pool.submit(measure_bits, asker, options)
        lines = {kind: pool.submit(measure_lines, asker, options, projects, kind) for kind in KINDS}
        explain = pool.submit(measure_explain, asker, options)
        fix = pool.submit(measure_fix, asker, options)
        full = pool.submit(full_bits, full_asker, options)
        for future in as_completed([bits, *lines.values(), explain, fix, full]):
            future.result()
        lines = {kind: future.result() for kind, future in lines.items()}
        measured = {"bits": bits.result(), "explain": explain.result(), "fix": fix.result(), "full": full.result()}
    finally:
        # What failed ends the rest as well.
        pool.shutdown(wait=False, cancel_futures=True)
        for one in filter(None, (asker, full_asker)):
            one.stop()
        pool.shutdown()
    cases = [case for kind in KINDS for case in lines[kind].pop("cases")]
    said = [answer for kind in KINDS for answer in lines[kind].pop("answers")]
    model_hash, own_bits = sha256(options.model), measured["bits"]["entries"]["all"]["bits_per_byte"]
    return {
        "model": {"file": options.model.name, "bytes": options.model.stat().st_size, "sha256": model_hash},
        "cases_sha256": {
            name: sha256(options.shards / f"eval-{name}.jsonl") for name in ("line", "explain", "fix")
        },
        "cases_max": options.cases,
        "windows_max": options.windows,
        "bits": measured["bits"]["entries"],
        "full_precision": full_precision(measured["full"], own_bits, model_hash, options.results),
        "memory": measured["bits"]["memory"],
        "shown_from": lines[KINDS[0]]["shown_from"],
        "lines": {kind: lines[kind]["entries"] for kind in KINDS},
        "gates": scores.gate_counts(cases, said),
        "explain": measured["explain"],
        "fix": measured["fix"],
        "corpus": windows.check_pack(options.corpus, options.kept) if options.corpus.is_file() else None,
    }


def missing_hint(options, needed):
    if needed == options.model:
        return "--model names a GGUF file"
    return f"`make shards SHARDS={options.shards}` makes it, the corpus first where there is none (about 2 GB of downloads)"


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path("build/release/bin/hearth-evaluate"))
    parser.add_argument("--model", type=Path, default=Path("models/default.gguf"))
    parser.add_argument("--full", type=Path, help="the same model in full precision")
    parser.add_argument("--shards", type=Path, default=Path("build/corpus/shards"))
    parser.add_argument("--pairs", type=Path, help="documented functions of training files (SHARDS/train-explain.jsonl)")
    parser.add_argument("--corpus", type=Path, help="corpus.pack (beside SHARDS); without it no case is seen in an editor")
    parser.add_argument("--plugins", type=Path, default=Path("build/release/lib/hearth/plugins"))
    parser.add_argument("--results", type=Path, default=Path("models"))
    parser.add_argument("--kept", type=Path, default=Path("build/evaluation"), help="folder for answers")
    parser.add_argument("--cases", type=int, default=50, help="of each language and kind")
    parser.add_argument("--windows", type=int, default=50, help="of each language; 0: all")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="programs side by side")
    options = parser.parse_args()
    if options.cases < 1 or options.windows < 0 or options.jobs < 1:
        parser.error("at least one case and one job, and no negative number of windows")
    options.pairs = options.pairs or options.shards / "train-explain.jsonl"
    options.corpus = options.corpus or options.shards.parent / "corpus.pack"
    cases = [options.shards / f"eval-{name}.jsonl" for name in ("line", "explain", "fix")]
    for needed in (options.model, options.shards / "shards.json", *cases):
        if not needed.is_file():
            sys.exit(f"evaluate: {needed} is missing; {missing_hint(options, needed)}")
    return options


def main():
    options = parse_options()
    options.results.mkdir(parents=True, exist_ok=True)
    try:
        results = evaluate(options)
    except KeyboardInterrupt:
        sys.exit("evaluate: interrupted; what was answered is kept, the same command goes on")
    except subprocess.CalledProcessError as error:
        sys.exit(f"evaluate: {options.program} gave up with status {error.returncode}; what it answered is kept")
    (options.results / "evaluation.json").write_text(json.dumps(results, indent=1) + "\n")
    card = options.results / "README.md"
    text = report.section(results)
    card.write_text(report.with_section(card.read_text() if card.exists() else "", text))
    print(text, end="")


if __name__ == "__main__":
    main()
