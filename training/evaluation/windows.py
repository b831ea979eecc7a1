"""Bits per byte of held-out text, and what the model knows by heart: windows of the shards that training was given."""

import json
import sys
from collections import Counter
from pathlib import Path

import answers
from scores import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "corpus"))

import filters
import pack_parts
import shingles

RECALL_TOKENS = 50
SHARED_MAX = 0.5
PLAIN_WINDOWS = 50  # of a language, where bits are counted over all windows
WINDOW_TOKENS = 512


def spread(noted, names, count):
    """`count` windows (0: all) over these shards, evenly: (shard, index)."""
    all_windows = [(name, i) for name in names for i in range(noted[name]["tokens"] // WINDOW_TOKENS)]
    wanted = min(count, len(all_windows)) if count else len(all_windows)
    return [all_windows[i * len(all_windows) // wanted] for i in range(wanted)]


def language_of(shard):
    return shard.removeprefix("heldout-").removesuffix(".bin")


class Windows:
    """Asks for windows of one folder of shards."""

    def __init__(self, asker, shards):
        self.asker, self.shards = asker, shards
        self.noted = json.loads((shards / "shards.json").read_text())
        self.hashes = {}

    def names(self, start):
        return sorted(name for name in self.noted if name.startswith(start) and self.noted[name]["tokens"])

    def ask(self, name, places, which):
        """(shard, answer) for each place. Refuses shards that were cut by another tokenizer."""
        for shard, _ in places:
            if shard not in self.hashes:
                self.hashes[shard] = answers.sha256(self.shards / shard)
        cases = [[shard, index, which] for shard, index in places]
        _, said = self.asker.ask(name, "bits", cases, [self.shards], lambda case: self.hashes[case[0]])
        for (shard, _), answer in zip(places, said, strict=True):
            if answer["shard_bytes"] != self.noted[shard]["bytes"]:
                sys.exit(
                    f"evaluate: {shard} has {self.noted[shard]['bytes']} bytes of text, but {answer['shard_bytes']} when "
                    f"read by {self.asker.model}: its tokenizer did not cut these shards; make the shards of this model"
                )
        return [(shard, answer) for (shard, _), answer in zip(places, said, strict=True)]

    def heldout(self, count):
        """By language: bits, bytes and tokens of `count` windows."""
        places = [
            place for name in self.names("heldout-") for place in spread(self.noted, [name], count)
        ]
        sums = {}
        for shard, answer in self.ask("bits", places, "any"):
            entry = sums.setdefault(language_of(shard), {"bits": 0.0, "bytes": 0, "tokens": 0})
            for what in entry:
                entry[what] += answer[what]
        return sums

    def memory(self, count):
        """Training text beside held-out text, both in windows from a path line on and without holes, by language."""
        count = count or PLAIN_WINDOWS
        heldout = self.names("heldout-")
        places = {
            "heldout": [place for name in heldout for place in spread(self.noted, [name], count)],
            "training": spread(self.noted, self.names("train-"), count * len(heldout)),
        }
        texts = {}
        for side, chosen in places.items():
            said = [(shard, answer) for shard, answer in self.ask("plain-" + side, chosen, "plain") if answer["path"]]
            texts[side] = [(filters.language_of(answer["path"], ""), answer) for _, answer in said]
        return memory_entry(texts["training"], texts["heldout"])


def memory_entry(training, heldout):
    """Of (language, answer): bits per byte and the share of windows whose next 50 tokens the model writes by itself."""
    entry = {"languages": {}}
    both = sorted({language for language, _ in training} & {language for language, _ in heldout})
    for language in both:
        entry["languages"][language] = {
            side: _bits_per_byte([answer for own, answer in texts if own == language])
            for side, texts in (("training", training), ("heldout", heldout))
        }
    for side, texts in (("training", training), ("heldout", heldout)):
        entry[side] = {
            "windows": len(texts),
            "repeated": mean(answer["recalled"] == RECALL_TOKENS for _, answer in texts),
            "tokens_repeated": mean(answer["recalled"] for _, answer in texts),
            "bits_per_byte": mean(own[side] for own in entry["languages"].values()),
        }
    entry["gap"] = round(entry["heldout"]["bits_per_byte"] - entry["training"]["bits_per_byte"], 4) if both else None
    return entry


def _bits_per_byte(said):
    return round(sum(answer["bits"] for answer in said) / max(1, sum(answer["bytes"] for answer in said)), 4)


def alike_files(pack):
    """Training files of a pack that share half of their runs of three lines with a held-out file: [path, path, share]."""
    places, heldout_paths, alike, trained = {}, [], [], 0
    projects = {}  # language -> bytes of its held-out files by project

    def read(split):
        for own, record in pack_parts.records(pack):
            if own == split:
                head, text = record.split(b"\n", 1)
                _, language, package, path, _ = head.decode().split("\t")
                if split == "heldout":
                    projects.setdefault(language, Counter())[package] += len(text)
                yield f"{package}/{path}", shingles.shingles_of(text.decode("utf-8"))

    for path, runs in read("heldout"):
        for run in runs:
            places.setdefault(run, []).append(len(heldout_paths))
        heldout_paths.append(path)
    for path, runs in read("train"):
        trained += 1
        shared = {}
        for run in runs & places.keys():
            for place in places[run]:
                shared[place] = shared.get(place, 0) + 1
        place = max(shared, key=shared.get, default=None)
        if place is not None and shared[place] >= SHARED_MAX * len(runs):
            alike.append([path, heldout_paths[place], round(shared[place] / len(runs), 2)])
    return {"training_files": trained, "evaluation_files": len(heldout_paths), "alike": alike,
            "projects": {language: [name for name, _ in own.most_common()] for language, own in sorted(projects.items())}}


def check_pack(pack, kept):
    """The same, remembered under the pack's hash."""
    noted = kept / f"pack-{answers.sha256(pack)[:16]}.json"
    if not noted.exists():
        print(f"evaluate: comparing the files of {pack}", file=sys.stderr)
        kept.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps(alike_files(pack)))
    return json.loads(noted.read_text())
