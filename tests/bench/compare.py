"""hearth beside llama.cpp on the same synthetic files: each number by turns in one run, since machines drift.

    compare.py BUILD FOLDER [--rounds 7] [--threads 2] [--models ds2-small:Q4_K_M,...] [--depths 0,1800,4096]

FOLDER keeps the model files and, where HEARTH_PEER names no folder with llama-bench, the node_modules of
tests/bench/peer/package.json. Prints a Markdown table.
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

from sides import machine, peer_version
from typed_text import ROOT

PEER = Path(__file__).parent / "peer/peer.mjs"


class Hearth:
    def __init__(self, build, file, threads):
        self.command = [build / "bin/hearth-engine", "bench", "--device", "cpu", "--model", file, "--threads", str(threads),
                        "-r", "1", "--json"]  # fmt: skip

    def measure(self, what, tokens, depth):
        sizes = ["-p", str(tokens), "-n", "0"] if what == "prefill" else ["-p", "0", "-n", str(tokens), "-d", str(depth)]
        out = subprocess.run([*self.command, *sizes], check=True, capture_output=True, text=True).stdout
        result = json.loads(out)
        return (result["prefill"] if what == "prefill" else result["decode"][0])["tokens_per_s"]["median"]


class LlamaBench:
    def __init__(self, folder, file, threads):
        self.command = [Path(folder) / "llama-bench", "-m", file, "-t", str(threads), "-r", "1", "-o", "json"]
        self.name = f"llama-bench of {peer_version(folder)}"

    def measure(self, what, tokens, depth):
        sizes = ["-p", str(tokens), "-n", "0"] if what == "prefill" else ["-p", "0", "-n", str(tokens), "-d", str(depth)]
        out = subprocess.run([*self.command, *sizes], check=True, capture_output=True, text=True).stdout
        return json.loads(out)[0]["avg_ts"]


class NodePeer:
    def __init__(self, folder, file, threads, context):
        # Where its packages are: node looks for them beside the script.
        script = shutil.copy(PEER, folder)
        self.process = subprocess.Popen(["node", script, file, str(threads), str(context)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        self.name = self.process.stdout.readline().strip()
        if not self.name:
            raise RuntimeError("the peer did not start")

    def measure(self, what, tokens, depth):
        print(what, tokens, depth, file=self.process.stdin, flush=True)
        return tokens / float(self.process.stdout.readline()) * 1000.0

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def row(name, ours, theirs):
    def spread(rates):
        return f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"

    ratio = statistics.median(a / b for a, b in zip(ours, theirs))
    print(f"| {name} | {spread(ours)} | {spread(theirs)} | {ratio:.2f} |", flush=True)


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
    if not folder and not (options.folder / "node_modules").is_dir():
        print("not measured: no HEARTH_PEER, and no packages of the peer")
        return
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
        theirs = (LlamaBench(folder, file, options.threads) if folder
                  else NodePeer(options.folder, file, options.threads, max(depths) + options.tokens + 512))  # fmt: skip
        if not is_named:
            print(f"{theirs.name}\n\n| tokens/s | hearth | llama.cpp | ratio |\n| --- | --- | --- | --- |")
            is_named = True
        cells = [("prefill", 512, 0), *(("decode", options.tokens, depth) for depth in depths)]
        for what, tokens, depth in cells:
            pairs = [(ours.measure(what, tokens, depth), theirs.measure(what, tokens, depth))
                     for _ in range(options.rounds)]  # fmt: skip
            row(f"{spec}, {what} of {tokens} at {depth}", *zip(*pairs))
        if not folder:
            theirs.close()


if __name__ == "__main__":
    sys.exit(main())
