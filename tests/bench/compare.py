"""hearth beside llama.cpp on the same synthetic files: each number by turns in one run, since machines drift.

    compare.py BUILD FOLDER [--rounds 7] [--threads 2] [--models ds2-small:Q4_K_M,...] [--depths 0,1800,4096]

FOLDER keeps the model files and, where HEARTH_PEER names no folder with llama-bench, the node_modules of
tests/bench/peer/package.json. Prints both command lines and a Markdown table. Beside decode stands which share of the memory's read
rate, as hearth measures it in the same minutes, the weights of its tokens take.
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from sides import in_turns, machine, peer_version
from typed_text import ROOT

PEER = Path(__file__).parent / "peer/peer.mjs"


def sizes(what, tokens, depth):
    return ["-p", str(tokens), "-n", "0"] if what == "prefill" else ["-p", "0", "-n", str(tokens), "-d", str(depth)]


class Hearth:
    def __init__(self, build, file, threads):
        self.command = [build / "bin/hearth-engine", "bench", "--device", "cpu", "--model", file, "--threads", str(threads),
                        "-r", "1", "--json"]  # fmt: skip
        self.shares = []  # of the memory's read rate, by decode

    def measure(self, what, tokens, depth):
        out = subprocess.run([*self.command, *sizes(what, tokens, depth)], check=True, capture_output=True, text=True).stdout
        result = json.loads(out)
        if what == "prefill":
            return result["prefill"]["tokens_per_s"]["median"]
        self.shares.append(result["decode"][0]["share"])
        return result["decode"][0]["tokens_per_s"]["median"]


class LlamaBench:
    def __init__(self, folder, file, threads):
        self.command = [Path(folder) / "llama-bench", "-m", file, "-t", str(threads), "-r", "1", "-o", "json"]
        self.name = f"llama-bench of {peer_version(folder)}"

    def measure(self, what, tokens, depth):
        out = subprocess.run([*self.command, *sizes(what, tokens, depth)], check=True, capture_output=True, text=True).stdout
        return json.loads(out)[0]["avg_ts"]


class NodePeer:
    def __init__(self, folder, file, threads, context):
        # Where its packages are: node looks for them beside the script.
        script = shutil.copy(PEER, folder)
        self.command = ["node", script, file, str(threads), str(context)]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        self.name = self.process.stdout.readline().strip()
        if not self.name:
            raise RuntimeError("the peer did not start")

    def measure(self, what, tokens, depth):
        print(what, tokens, depth, file=self.process.stdin, flush=True)
        return tokens / float(self.process.stdout.readline()) * 1000.0

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def spread(rates):
    return f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})" if rates else "not measured"


def row(name, ours, theirs, shares):
    ratio = f"{statistics.median(a / b for a, b in zip(ours, theirs)):.2f}" if theirs else ""
    share = f"{statistics.median(shares):.0%}" if shares else ""
    print(f"| {name} | {spread(ours)} | {share} | {spread(theirs)} | {ratio} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--models", default="ds2-small:Q4_K_M,ds2-small:Q8_0,ds2-lite4:Q4_K_M,ds2-lite4:Q8_0")
    parser.add_argument("--depths", default="0,1800,4096", help="of decode; the models of several gigabytes at 0 alone")
    parser.add_argument("--tokens", type=int, default=64, help="of decode")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    folder = os.environ.get("HEARTH_PEER")
    has_node = (options.folder / "node_modules").is_dir()
    print(f"{datetime.date.today()}, {machine()}, {options.threads} threads, medians of {options.rounds} rounds by turns; the ratio is the "
          "median of each round's\n")  # fmt: skip
    is_named = False
    for spec in options.models.split(","):
        file = options.folder / (spec.replace(":", "-") + ".gguf")
        if not file.exists():
            vocabulary = ROOT / "models/default.gguf"
            subprocess.run([options.build / "bin/hearth-bench-model", spec, file, vocabulary], check=True)
        depths = [int(depth) for depth in options.depths.split(",")]
        depths = [depth for depth in depths if depth == 0 or file.stat().st_size < 1 << 30]
        ours = Hearth(options.build, file, options.threads)
        sides = [ours]
        if folder:
            sides.append(LlamaBench(folder, file, options.threads))
        elif has_node:
            sides.append(NodePeer(options.folder, file, options.threads, max(depths) + options.tokens + 512))
        if not is_named:
            print(f"{sides[1].name if len(sides) == 2 else 'no HEARTH_PEER, and no packages of the peer'}; of the first model:\n")
            print(*(f"    {' '.join(map(str, side.command))}" for side in sides), sep="\n")
            print("\n| tokens/s | hearth | of the read rate | llama.cpp | ratio |\n| --- | --- | --- | --- | --- |")
            is_named = True
        cells = [("prefill", 512, 0), *(("decode", options.tokens, depth) for depth in depths)]
        for what, tokens, depth in cells:
            ours.shares = []
            rates = {side: [] for side in sides}
            for number in range(options.rounds):
                for side in in_turns(number, sides):
                    rates[side].append(side.measure(what, tokens, depth))
            row(f"{spec}, {what} of {tokens} at {depth}", rates[ours], rates[sides[-1]] if len(sides) == 2 else [], ours.shares)
        if has_node and not folder:
            sides[1].close()


if __name__ == "__main__":
    sys.exit(main())
