"""What hearth-evaluate says of cases: asked one by one, and kept, so that an interrupted evaluation goes on where it was.

An answer is found again under the case itself, the model, the program and the command; where one of them
changes, the case is asked anew.
"""

import hashlib
import json
import subprocess
import sys
import threading

NOTED_EVERY = 200  # answers
COPY_WORDS = ("match", "agreeing", "disagreeing", "line_below", "frame_lines", "frame_agreeing", "frame_disagreeing")


def _lines_answer(word, text):
    answer = {"source": word(), "probability": float(word()), "log_probability": float(word()), "tokens": int(word()),
              "fault": word(), "line_log_probability": float(word()), "copies": []}  # fmt: skip
    for _ in range(int(word())):
        copy = {"fault": word(), "probability": float(word())}
        answer["copies"].append(copy | {name: int(word()) for name in COPY_WORDS})
    for name in ("model", "line", "product", "automatic", "invoked"):
        answer[name] = text()
    for copy in answer["copies"]:
        copy["text"] = text()
    return answer


def _explain_answer(word, text):
    return {"confidence": float(word()), "answer": text(), "shown": text()}


def _fix_answer(word, text):
    return {"fault": word(), "probability": float(word()), "probability_if_wrong": float(word()), "answer": text(),
            "found": text(), "shown": text(), "shown_if_wrong": text()}  # fmt: skip


def _bits_answer(word, text):
    return {"tokens": int(word()), "bytes": int(word()), "bits": float(word()),
            "recalled": int(word()), "shard_bytes": int(word()), "path": text()}  # fmt: skip


READERS = {"lines": _lines_answer, "copies": _lines_answer, "explain": _explain_answer, "fix": _fix_answer,
           "bits": _bits_answer}  # fmt: skip


def request_of(parts):
    encoded = [str(part).encode() for part in parts]
    return " ".join(str(len(part)) for part in encoded).encode() + b"\n" + b"".join(encoded)


class Conversation:
    """A running hearth-evaluate, within a `with`: an iterator over its answers to cases, in their order.

    A case is a list of parts.
    """

    def __init__(self, program, arguments, cases):
        self.reader = READERS[arguments[0]]
        self.cases = cases
        command = [str(program), *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.writer = threading.Thread(target=self._write, daemon=True)
        self.writer.start()

    def __enter__(self):
        self.constants = [float(word) for word in self._line().split()]
        return self

    def __exit__(self, *_):
        self.process.stdout.close()
        self.process.wait()
        self.writer.join()

    def __iter__(self):
        for _ in self.cases:
            words = iter(self._line().decode().split())
            yield self.reader(lambda: next(words), lambda: self._read(int(next(words))))

    def _write(self):
        try:
            with self.process.stdin as stream:
                for case in self.cases:
                    stream.write(request_of(case))
                    stream.flush()
        except BrokenPipeError:
            pass  # the reader sees the end as well, and says so

    def _line(self):
        return self._whole(self.process.stdout.readline(), 1)

    def _read(self, size):
        return self._whole(self.process.stdout.read(size), size).decode(errors="replace")

    def _whole(self, data, size):
        if len(data) < size:
            raise subprocess.CalledProcessError(self.process.wait(), self.process.args)
        return data


class Store:
    """Answers by key in a file of JSON lines, to which each is added as it comes. A last line that was cut is dropped."""

    def __init__(self, path):
        self.known = {}
        whole = 0
        for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else ():
            entry = json.loads(line)
            self.known[entry.pop("key")] = entry
            whole += len(line) + 1
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("ab")
        self.file.truncate(whole)

    def add(self, key, entry):
        self.known[key] = entry
        self.file.write(json.dumps({"key": key, **entry}).encode() + b"\n")
        self.file.flush()


class Asker:
    """Asks one program about one model; `kept` is a folder for answers."""

    def __init__(self, program, model, kept):
        self.program, self.model = program, model
        self.talks = []
        self.is_stopped = False
        self.folder = kept / f"{sha256(model)[:16]}-{sha256(program)[:16]}"

    def stop(self):
        """From another thread: no more answers."""
        self.is_stopped = True
        for talk in self.talks:
            talk.process.terminate()

    def ask(self, name, command, cases, more=(), salt=lambda case: ""):
        """The program's constants and an answer for each case.

        `more` are arguments behind the model; `salt` says what of their content an answer depends on.
        """
        store = Store(self.folder / f"{name}.jsonl")
        keys = [hashlib.sha256(salt(case).encode() + request_of(case)).hexdigest() for case in cases]
        missing = {key: case for key, case in zip(keys, cases, strict=True) if key not in store.known}
        if missing or "constants" not in store.known:
            talk = Conversation(self.program, [command, self.model, *more], list(missing.values()))
            self.talks.append(talk)
            if self.is_stopped:
                self.stop()
            with talk, store.file:
                store.add("constants", {"values": talk.constants})
                for count, (key, answer) in enumerate(zip(missing, talk, strict=True), 1):
                    store.add(key, answer)
                    if count % NOTED_EVERY == 0 or count == len(missing):
                        print(f"{name}: {len(cases) - len(missing) + count} of {len(cases)}", file=sys.stderr)
        store.file.close()
        return store.known["constants"]["values"], [store.known[key] for key in keys]


def sha256(path):
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()
