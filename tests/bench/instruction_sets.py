"""One instruction set of the CPU backend beside another on this machine: first that both are right, then how fast, by turns.

    instruction_sets.py BUILD [--sets avx512,amx] [--rounds 7] [--threads 2] [--models ds2-small:Q4_K_M,...] [--tokens 512]

The tests are those of the kernels and of whole models; what fails there is not measured. Prints a Markdown table of prefill and
decode: medians and spread of each set, and the median of each round's ratio, second to first.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from sides import machine

TESTS = ("kernels_cpu_test", "model_test", "engine_test")
SIZES = {"prefill": ("-p", "{tokens}", "-n", "0"), "decode": ("-p", "0", "-n", "32", "-d", "0")}


def with_set(name):
    return {**os.environ, "HEARTH_CPU_ISA": name}


def check(build, name):
    for test in TESTS:
        result = subprocess.run([build / "bin" / test], env=with_set(name), capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"{test} failed with {name}:\n{result.stdout[-4000:]}{result.stderr[-2000:]}")
        print(f"{test} with {name}: {result.stdout.strip().splitlines()[-1]}")


def measure(build, name, options, model, what):
    sizes = [size.format(tokens=options.tokens) for size in SIZES[what]]
    command = [build / "bin/hearth-engine", "bench", "--device", "cpu", "--synthetic", model,
               "--threads", str(options.threads), "-r", "1", "--json", *sizes]  # fmt: skip
    report = json.loads(subprocess.run(command, env=with_set(name), check=True, capture_output=True, text=True).stdout)
    return (report["prefill"] if what == "prefill" else report["decode"][0])["tokens_per_s"]["median"]


def spread(values):
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def row(build, sets, options, model, what):
    rates = ([], [])
    for _ in range(options.rounds):
        for name, of_set in zip(sets, rates, strict=True):
            of_set.append(measure(build, name, options, model, what))
    ratios = [second / first for first, second in zip(*rates, strict=True)]
    return (f"| {model} | {what} | {spread(rates[0])} | {spread(rates[1])} | {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) |")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("--sets", default="avx512,amx")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--models", default="ds2-small:Q4_K_M,ds2-small:Q8_0,granite-1b:Q4_K_M")
    options = parser.parse_args()
    sets = options.sets.split(",")
    for name in sets:
        check(options.build, name)
    print(f"\n{datetime.date.today()}, {machine()}, {options.threads} threads, {options.rounds} rounds, tokens/s\n")
    print(f"| model | what | {sets[0]} | {sets[1]} | ratio |\n| --- | --- | --- | --- | --- |")
    for model in options.models.split(","):
        for what in SIZES:
            print(row(options.build, sets, options, model, what), flush=True)


main()
