"""hearth's logits beside llama.cpp's on the same F32 weights: relative L2 of each position, 0.002 at most, or it ends with 1.

    logits.py BUILD FOLDER [--types F32,Q4_K_M,Q8_0] [--tokens 96]

FOLDER keeps the files; HEARTH_PEER names a folder with llama-results and llama-quantize, which gives the F32 weights that a
quantised file stands for. Files that are quantised are never held against each other: each side rounds activations in its own
way. hearth's reference backend does not round, so it reads the quantised file itself. Both sides keep keys and values as floats;
the row with hearth's own F16 is for information. Prints a Markdown table.
"""

import argparse
import array
import datetime
import math
import os
import statistics
import struct
import subprocess
import sys
from pathlib import Path

from sides import machine, peer_version
from typed_text import ROOT, words

# As exact as llama.cpp computes.
EXACT = ["--no-repack", "-fa", "off", "-ctk", "f32", "-ctv", "f32", "-c", "512"]
BAR = 0.002
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of GGUF's types of values


class Reader:
    """The tensors of a GGUF file that llama-results wrote: one string of metadata, tensors of I32 and F32."""

    def __init__(self, path):
        self.data = path.read_bytes()
        self.at = 8
        tensor_count, pair_count = self.take("<QQ")
        for _ in range(pair_count):
            self.text()
            (kind,) = self.take("<I")
            if kind == 8:
                self.text()
            else:
                self.at += WIDTHS[kind]
        infos = {}
        for _ in range(tensor_count):
            name = self.text()
            (axes,) = self.take("<I")
            shape = self.take(f"<{axes}Q")
            kind, offset = self.take("<IQ")
            infos[name] = math.prod(shape), kind, offset
        begin = -(-self.at // 32) * 32
        self.tensors = {name: array.array("i" if kind == 26 else "f", self.data[begin + offset : begin + offset + 4 * count])
                        for name, (count, kind, offset) in infos.items()}  # fmt: skip

    def take(self, form):
        values = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self):
        (size,) = self.take("<Q")
        self.at += size
        return self.data[self.at - size : self.at].decode()


def run(*words):
    done = subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr[-500:]}")


class Comparison:
    def __init__(self, options):
        self.options = options
        self.peer = Path(options.peer)
        self.missed = 0

    def file(self, kind):
        path = self.options.folder / f"ds2-small-{kind}.gguf"
        if not path.exists():
            run(self.options.build / "bin/hearth-bench-model", f"ds2-small:{kind}", path, ROOT / "models/default.gguf")
        return path

    def dequantised(self, kind):
        if kind == "F32":
            return self.file(kind)
        path = self.options.folder / f"ds2-small-{kind}-as-F32.gguf"
        if not path.exists():
            run(self.peer / "llama-quantize", "--allow-requantize", self.file(kind), path, "F32")
        return path

    def theirs(self, model):
        """Tokens and logits."""
        out = self.options.folder / "peer-logits.gguf"
        prompt = "".join(words(self.options.build, model, self.options.tokens))
        run(self.peer / "llama-results", "--model", model, "--output", out, "--prompt", prompt,
            "-t", self.options.threads, *EXACT)  # fmt: skip
        tensors = Reader(out).tensors
        out.unlink()
        return tensors["tokens"], tensors["logits"]

    def ours(self, model, device, tokens, cache="f32"):
        out = self.options.folder / "hearth-logits.f32"
        run(self.options.build / "bin/hearth-engine", "logits", "--model", model, "--device", device,
            "--threads", self.options.threads, "--kv-cache", cache, "--tokens", ",".join(map(str, tokens)), "--out", out)  # fmt: skip
        logits = array.array("f", out.read_bytes())
        out.unlink()
        return logits

    def row(self, name, tokens, ours, theirs, is_held=True):
        width = len(theirs) // len(tokens)
        nothing = array.array("f", bytes(4 * width))
        errors = []
        same = 0
        in_all = math.dist(ours, theirs) / math.dist(theirs, array.array("f", bytes(4 * len(theirs))))
        for at in range(0, len(theirs), width):
            a, b = ours[at : at + width], theirs[at : at + width]
            errors.append(math.dist(a, b) / math.dist(b, nothing))
            same += max(range(width), key=a.__getitem__) == max(range(width), key=b.__getitem__)
        over = sum(error > BAR for error in errors)
        self.missed += over if is_held else 0
        print(f"| {name} | {statistics.median(errors):.6f} | {max(errors):.6f} | {over} | {in_all:.6f} | {same} of {len(errors)} |",
              flush=True)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--types", default="F32,Q4_K_M,Q8_0")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    options.peer = os.environ.get("HEARTH_PEER", "")
    programs = [Path(options.peer) / name for name in ("llama-results", "llama-quantize")]
    if not options.peer or not all(program.exists() for program in programs):
        print("not measured: no HEARTH_PEER with llama-results and llama-quantize")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(options)
    print(f"{datetime.date.today()}, {machine()}; {peer_version(options.peer)} with {' '.join(EXACT)}; ds2-small, "
          f"{options.tokens} positions of C++\n")  # fmt: skip
    print(f"| relative L2 of a position | median | largest | over {BAR} | of all together | same first choice |\n"
          "| --- | --- | --- | --- | --- | --- |")  # fmt: skip
    for kind in options.types.split(","):
        exact = comparison.dequantised(kind)
        tokens, theirs = comparison.theirs(exact)
        weights = "F32 weights" if kind == "F32" else f"{kind} weights as F32"
        comparison.row(f"{weights}, cpu", tokens, comparison.ours(exact, "cpu", tokens), theirs)
        halves = comparison.ours(exact, "cpu", tokens, "f16")
        comparison.row("the same with a cache in F16, for information", tokens, halves, theirs, is_held=False)
        if kind != "F32":
            ours = comparison.ours(comparison.file(kind), "reference", tokens)
            comparison.row(f"{kind} file on the reference backend, its weights as F32 there", tokens, ours, theirs)
    if comparison.missed > 0:
        sys.exit(f"{comparison.missed} positions on F32 weights are over {BAR}")


if __name__ == "__main__":
    sys.exit(main())
