#!/usr/bin/env python3
"""A run on a machine with a GPU: `run.py prepare` here, the other commands there. training/README.md, "On a GPU".

The machine has Python with torch and nothing of ours: programs, tokenizer and corpus parts travel in one folder.
Only the standard library is needed, but for `probe` and `train`.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import parts

HERE = Path(__file__).resolve().parent
WORK = Path(tempfile.gettempdir()) / "hearth"  # the commands of one run share it
PROGRAMS = ("hearth-train", "hearth-make-samples")
WINDOWS = (1024, 2048)  # tokens: for the first part of a run, and for the rest
# The first that reaches its tokens a second, compiled or plain. A device too slow for 68 million weights trains c1 better.
PROBE_SECONDS_MAX = 8.0  # of one shape
SHAPES = "h2-wide=330000,h2=110000,c1"


def prepare(arguments):
    """Fills BOX0, BOX1, ... with the programs, the tokenizer and as many corpus parts as may travel at a time."""
    corpus = Path(arguments.parts)
    fixed = [Path(arguments.bin) / program for program in PROGRAMS]
    loads, room = [], 0
    for path in [corpus / "heldout.pack.xz", *sorted(corpus.glob("part-*.pack.xz"))]:
        if not loads or path.stat().st_size > room:
            loads.append([])
            room = arguments.load_bytes - sum(program.stat().st_size for program in fixed)
        loads[-1].append(path)
        room -= path.stat().st_size
    for number, load in enumerate(loads):
        box = Path(f"{arguments.box}{number}")
        shutil.rmtree(box, ignore_errors=True)
        box.mkdir(parents=True)
        for path in (*fixed, *load):
            shutil.copy(path, box)
        for program in PROGRAMS:
            subprocess.run(["strip", box / program], check=True)
        shutil.copy(arguments.tokenizer, box / "tokenizer.txt")
        total = sum(path.stat().st_size for path in box.iterdir())
        print(f"{box}: {total / 1e6:.1f} MB, {', '.join(path.name.partition('.')[0] for path in load)}")


def unpack(arguments):
    """Makes shards of what BOX brought, all parts side by side; a part is ready when its shards.json is."""
    os.nice(10)  # a run that is under way needs its core more
    box, data = Path(arguments.box), Path(arguments.data)
    data.mkdir(parents=True, exist_ok=True)
    for name in (*PROGRAMS, "tokenizer.txt"):
        shutil.copy(box / name, data / f"{name}.part")
        os.replace(data / f"{name}.part", data / name)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        packs = list(pool.map(lambda path: _decompress(path, data), sorted(box.glob("*.pack.xz"))))
        cuts = list(enumerate(arguments.windows, 1))
        jobs = [(data, pack, window, seed, arguments.twice) for seed, window in cuts for pack in packs]
        for line in pool.map(_make_samples, jobs):
            print(line, flush=True)


def _decompress(path, data):
    pack = data / path.name.removesuffix(".xz")
    if not pack.exists():
        with lzma.open(path) as packed, open(f"{pack}.part", "wb") as plain:
            shutil.copyfileobj(packed, plain, 1 << 20)
        os.replace(f"{pack}.part", pack)
    return pack


def _make_samples(job):
    data, pack, window, seed, twice = job
    started = time.monotonic()
    part = pack.name.partition(".")[0]
    out = data / part / f"w{window}"
    if (out / "shards.json").exists():
        return f"{part} w{window}: is there"
    command = [data / "hearth-make-samples", pack, data / "tokenizer.txt", out, "--window", window, "--seed", seed]
    done = subprocess.run([str(word) for word in (*command, "--twice", twice)], capture_output=True, text=True)
    if done.returncode != 0:
        return f"{part} w{window}: {done.stderr.strip()}"
    index = json.loads((out / "shards.json").read_text())
    tokens = sum(shard["tokens"] for shard in index.values())
    return f"{part} w{window}: {tokens / 1e6:.1f}M tokens in {time.monotonic() - started:.0f} s"


def probe(arguments):
    """Measures the shapes, plain and compiled, and writes the choice to DATA/choice.json: the first above its bar, else the last.

    All steps that are measured take --seconds together at most, give or take one each; making and compiling a shape,
    up to half a minute, comes on top.
    """
    import train  # pylint: disable=import-outside-toplevel  # torch is not where `prepare` runs
    from shape import PRESETS  # pylint: disable=import-outside-toplevel

    device, compute = train.pick_device()
    choice, table = None, []
    candidates = [name.partition("=") for name in arguments.shapes.split(",")]
    if unknown := [name for name, _, _ in candidates if name not in PRESETS]:
        sys.exit(f"probe: no shape is called {unknown[0]}; there are {', '.join(PRESETS)}")
    ways = (False, True) if arguments.compile else (False,)
    seconds = min(PROBE_SECONDS_MAX, arguments.seconds / (len(candidates) * len(ways)))
    sizes = {"length": arguments.windows[0], "micro_tokens": arguments.micro_tokens}
    for name, _, bar in candidates:
        for compiled in ways:
            speed = train.probe(PRESETS[name], device, compute, seconds, train.print_log, compiled=compiled, **sizes)
            share = speed * PRESETS[name].flops_per_token(arguments.windows[0]) / 790e12
            table.append({"shape": name, "compiled": compiled, "tokens_per_second": round(speed)})
            train.print_log(f"probe: {table[-1]}, {100 * share:.1f} % of 790 TFLOP/s")
            is_fast = speed >= float(bar or 0)
            if speed > 0 and is_fast and (choice is None or (choice["shape"] == name and speed > choice["speed"])):
                choice = {"shape": name, "compiled": compiled, "speed": speed}
        if choice:
            break
    choice = choice or {"shape": candidates[-1][0], "compiled": False, "speed": 0.0}
    Path(arguments.data).mkdir(parents=True, exist_ok=True)
    (Path(arguments.data) / "choice.json").write_text(json.dumps({**choice, "table": table}) + "\n")
    train.print_log(f"chosen: {choice}")


def start(arguments):
    """Starts `train` in a session of its own, which outlives the command that started it; its log is OUT/log."""
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-B", str(HERE / "run.py"), "train", *sys.argv[2:]]
    with open(out / "log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
    (out / "pid").write_text(f"{process.pid}\n")
    print(f"training runs as process {process.pid}; its log is {out / 'log'}")


def train_here(arguments):
    """One run; waits for the first part. The end is whole: decay, rounding and checkpoint happen within the minutes."""
    import shards  # pylint: disable=import-outside-toplevel
    import train  # pylint: disable=import-outside-toplevel
    from shape import PRESETS  # pylint: disable=import-outside-toplevel

    data = Path(arguments.data)
    while not (data / "tokenizer.txt").exists():
        time.sleep(0.5)
    if arguments.from_model:
        start_at = Path(arguments.out) / "start"
        subprocess.run([data / "hearth-train", "import", "--model", arguments.from_model, "--out", start_at], check=True)
        (start_at / "model").write_text(str(Path(arguments.from_model).resolve()))
        if not arguments.mtp:
            arguments.resume = start_at / "checkpoint.bin"
    elif arguments.mtp:
        sys.exit("train: --mtp wants --from-model, the trunk whose block is trained")
    choice_file = data / "choice.json"
    choice = json.loads(choice_file.read_text()) if choice_file.exists() else {}
    shape = PRESETS[arguments.shape or choice.get("shape", "h2")]
    shape = dataclasses.replace(shape, vocab_size=shards.vocab_size(data / "tokenizer.txt"))
    options = train.Options(
        data=arguments.data, out=arguments.out, minutes=arguments.minutes, until=arguments.until,
        tokens=arguments.tokens, rate=arguments.rate, adam_rate=arguments.adam_rate,
        step_tokens=arguments.step_tokens, micro_tokens=arguments.micro_tokens, short=arguments.windows[0],
        long=arguments.windows[1], heldout_seconds=arguments.heldout_seconds,
    )  # fmt: skip
    trunk = start_at / "checkpoint.bin" if arguments.mtp else None
    train.main(options, shape, arguments.resume, arguments.compile or choice.get("compiled", False), trunk)


def poll(arguments):
    """Waits up to --seconds for the run to end, then prints the end of its log. 0: ended; 3: runs on."""
    out = Path(arguments.out)
    pid = int((out / "pid").read_text())
    end = time.monotonic() + arguments.seconds
    while _runs(pid) and time.monotonic() < end:
        time.sleep(1)
    print("".join((out / "log").read_text(errors="replace").splitlines(keepends=True)[-arguments.lines :]))
    sys.exit(3 if _runs(pid) else 0)


def _runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def export(arguments):
    """Writes OUT/model.gguf and OUT/full.gguf by hearth-train, and the first's parts, the log and the choice into FOLDER.

    A run that went on from a model file keeps its name, context length and mark (--like). --mtp: the block alone, OUT/mtp.gguf.
    """
    out, data, folder = Path(arguments.out), Path(arguments.data), Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = out / "model.gguf"
    begun_with = out / "start" / "model"
    like = arguments.like or (begun_with.read_text() if begun_with.exists() else None)
    about = ["--like", like] if like else ["--window", arguments.windows[1], "--name", "hearth default"]
    about += ["--infill-mark", arguments.infill_mark] if arguments.infill_mark else []
    command = [data / "hearth-train", "export", "--checkpoint", out, "--tokenizer", data / "tokenizer.txt", *about, "--out"]
    if arguments.mtp:
        model = out / "mtp.gguf"
        command[1] = "export-mtp"
    subprocess.run([str(word) for word in (*command, model)], check=True)
    halves = [word for what in ("experts", "matrices", "embedding") for word in (f"--{what}", "F16")]
    if not arguments.mtp:
        subprocess.run([str(word) for word in (*command, out / "full.gguf", *halves)], check=True)
    count = parts.split(model, folder, arguments.part_bytes)
    for path in (out / "log", data / "choice.json"):
        if path.exists():
            shutil.copy(path, folder)
    print(f"{model.stat().st_size / 1e6:.2f} MB in {count} parts in {folder}")


def carry(arguments):
    """Writes parts of weights as halves into FOLDER: --first and --count pick which.

    `full`: OUT/full.gguf, the result. `stable`: the state before the decay without its moments, OUT/stable-halves.pt, from
    which `--resume` begins a run elsewhere.
    """
    path = Path(arguments.out) / ("full.gguf" if arguments.what == "full" else "stable-halves.pt")
    if arguments.what == "stable" and not path.exists():
        import state  # pylint: disable=import-outside-toplevel  # torch is not where `prepare` runs

        state.write_halves(path.with_name("stable.pt"), path)
    Path(arguments.folder).mkdir(parents=True, exist_ok=True)
    count = parts.split(path, arguments.folder, arguments.part_bytes, arguments.first, arguments.count)
    print(f"{path.stat().st_size / 1e6:.1f} MB in {count} parts")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name, function, *options):
        command = commands.add_parser(name, help=function.__doc__.split("\n", maxsplit=1)[0])
        command.set_defaults(function=function)
        for option, values in options:
            command.add_argument(option, **values)

    windows = ("--windows", {"type": lambda text: tuple(map(int, text.split(","))), "default": WINDOWS})
    box = ("--box", {"default": ".gpu", "help": "the folder that travels; prepare adds a number to the name"})
    data = ("--data", {"default": str(WORK / "data")})
    out = ("--out", {"default": str(WORK / "run")})
    folder = ("--folder", {"required": True, "help": "what comes back"})
    add("prepare", prepare, box, ("--parts", {"required": True}), ("--tokenizer", {"required": True}),
        ("--bin", {"default": "build/release/bin"}),
        ("--load-bytes", {"type": int, "default": 50_000_000}))  # fmt: skip
    add("unpack", unpack, box, data, windows, ("--jobs", {"type": int, "default": os.cpu_count()}),
        ("--twice", {"default": "python,typescript,javascript,java", "help": "languages that are cut twice"}))  # fmt: skip
    add("probe", probe, data, windows,
        ("--seconds", {"type": float, "default": 60.0, "help": "of all that is measured, without compiling"}),
        ("--shapes", {"default": SHAPES, "help": "NAME[=tokens a second at least],... the first that is fast enough"}),
        ("--compile", {"action": "store_true", "help": "try compiled too"}),
        ("--micro-tokens", {"type": int, "default": 65536}))  # fmt: skip
    runs = (data, out, windows, ("--shape", {"default": ""}), ("--minutes", {"type": float, "default": 22.0}),
            ("--until", {"type": float, "default": 0.0, "help": "seconds since 1970, instead of minutes"}),
            ("--tokens", {"type": float, "default": 0.0}), ("--rate", {"type": float, "default": 0.01}),
            ("--adam-rate", {"type": float, "default": 0.004}), ("--step-tokens", {"type": int, "default": 131072}),
            ("--micro-tokens", {"type": int, "default": 65536}), ("--resume", {"default": None}),
            ("--from-model", {"help": "a GGUF file of this trainer whose weights to start from"}),
            ("--mtp", {"action": "store_true", "help": "train the block for multi-token prediction of --from-model alone"}),
            ("--heldout-seconds", {"type": float, "default": 120.0}),
            ("--compile", {"action": "store_true", "help": "whatever the probe chose"}))  # fmt: skip
    add("start", start, *runs)
    add("train", train_here, *runs)
    add("poll", poll, out, ("--seconds", {"type": float, "default": 540.0}), ("--lines", {"type": int, "default": 15}))
    size = ("--part-bytes", {"type": int, "default": parts.PART_BYTES, "help": "of one part of a file that comes back"})
    add("export", export, data, out, windows, folder, size, ("--mtp", {"action": "store_true"}),
        ("--like", {"help": "a model file whose name, context length and mark are kept (that of --from-model)"}),
        ("--infill-mark", {"help": "where readers put the mark instead, as hearth-train export has it"}))
    add("carry", carry, out, folder, size, ("--what", {"choices": ("full", "stable"), "default": "full"}),
        ("--first", {"type": int, "default": 0}), ("--count", {"type": int, "default": 3}))  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    parsed = parse()
    parsed.function(parsed)
