"""hearth and llama.cpp as somebody who types sees them: a server on a model file, and editors that ask it.

Both are asked for the same number of tokens, and both answers are timed here, from the first byte of the request to
the last of the answer. hearth is reached through the bridge that an editor starts, llama-server through one
connection per editor that is kept open. The text goes with every request, to both.
"""

import atexit
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

TOKENS = 24  # of a suggestion
CHAT_TOKENS = 256
PATIENCE_S = 120


class Document(NamedTuple):
    """ASCII: a character is a byte."""

    prefix: str
    suffix: str


class Answer(NamedTuple):
    ms: float
    tokens: int = 0
    prompt: int = 0  # its tokens ...
    computed: int = 0  # ... and those of them that were not found in the cache
    first_token_ms: float = 0.0  # hearth alone


def warm(editor, document):
    """Asks until the whole answer comes: on a slow machine a long prompt takes longer than hearth lets a key wait."""
    for _ in range(20):
        if editor.complete(document).tokens == TOKENS:
            return
    raise RuntimeError(f"20 times no suggestion of {TOKENS} tokens")


def await_true(what, is_true):
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start in {PATIENCE_S} s")
        time.sleep(0.002)


def resident_mib(pid, file):
    """Resident memory: all of it, and what is not the mapped model file."""
    resident = mapped = 0
    is_model = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_model = words[-1] == str(Path(file).resolve())
        elif words[0] == "Rss:":
            resident += int(words[1])
            mapped += int(words[1]) if is_model else 0
    return resident / 1024, (resident - mapped) / 1024


class Hearth:
    def __init__(self, build, model, threads, settings):
        self.model = model
        self.editors = []
        self.program = Path(build) / "bin/hearth"
        self.folder = tempfile.mkdtemp()
        path = Path(self.folder) / "settings.json"
        path.write_text(json.dumps(settings))
        self.environment = {**os.environ, "HEARTH_RUNTIME_DIR": self.folder, "HEARTH_SETTINGS": str(path)}
        arguments = [self.program, "serve", "--model", model, "--threads", str(threads)]
        self.command = f"{' '.join(map(str, arguments))}, settings {json.dumps(settings)}"
        self.started = time.perf_counter()
        self.process = subprocess.Popen(arguments, env=self.environment, stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        await_true("hearth serve", self.is_ready)

    def is_ready(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self.folder}/hearthd.sock") == 0

    def now_ms(self):
        """Since the program was started."""
        return (time.perf_counter() - self.started) * 1000

    def editor(self, number=0):
        self.editors.append(HearthEditor(self.program, self.environment, f"file{number}.cpp"))
        return self.editors[-1]

    def resident_mib(self):
        return resident_mib(self.process.pid, self.model)

    def stop(self):
        for editor in self.editors:
            editor.close()
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


# Whatever the model says is an answer, and no more than was asked for, of the whole prompt.
AS_ASKED = {
    "cold_prompt_ms": 0,
    "completion_confidence": 0,
    "completion_copy": False,
    "answer_confidence": 0,
    "plugins": {"hearth.complete": {"tokens_max": str(TOKENS)}},
}


class HearthEditor:
    def __init__(self, program, environment, path):
        self.path = path
        self.id = 0
        self.bridge = subprocess.Popen([program, "lsp"], env=environment, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # fmt: skip

    def call(self, method, params):
        self.id += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}).encode()
        self.bridge.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.bridge.stdin.flush()
        while True:
            size = 0
            while (line := self.bridge.stdout.readline().strip()) != b"":
                size = int(line.split(b":")[1])
            if size == 0:
                raise RuntimeError("the bridge ended")
            answer = json.loads(self.bridge.stdout.read(size))
            if answer.get("id") == self.id:
                return answer

    def ask(self, method, document, begin):
        sent = time.perf_counter()
        answer = self.call(method, {"path": self.path, "language": "cpp", "text": document.prefix + document.suffix,
                                    "begin_byte": begin, "end_byte": len(document.prefix)})  # fmt: skip
        ms = (time.perf_counter() - sent) * 1000
        result = answer.get("result")
        if result is None:  # no answer in hearth's own time
            return Answer(ms)
        computed = result["prompt_tokens"] - result["cached_tokens"]
        return Answer(ms, result["tokens"], result["prompt_tokens"], computed, result["first_token_ms"])

    def complete(self, document):
        return self.ask("hearth/complete", document, len(document.prefix))

    def chat(self, document):
        """Explains the whole prefix."""
        return self.ask("hearth/explain", document, 0)

    def close(self):
        self.bridge.kill()
        self.bridge.wait()


class LlamaServer:
    def __init__(self, folder, model, threads, context, flags=(), editors=1):
        self.model = model
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        arguments = [Path(folder) / "llama-server", "-m", model, "-t", str(threads), "-c", str(context), "-np", str(editors), *flags]
        self.command = " ".join(map(str, arguments))
        self.process = subprocess.Popen([*arguments, "--host", "127.0.0.1", "--port", str(self.port)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        atexit.register(self.process.kill)
        await_true("llama-server", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"llama-server ended with {self.process.returncode}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def editor(self, number=0):
        return LlamaEditor(self.port, number)

    def resident_mib(self):
        return resident_mib(self.process.pid, self.model)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class LlamaEditor:
    def __init__(self, port, slot):
        self.slot = slot
        self.connection = http.client.HTTPConnection("127.0.0.1", port)
        self.asked = 0.0

    def ask(self, path, tokens, parts):
        # llama-server hangs up after some seconds of silence. An editor that asks again would find out by itself.
        if time.monotonic() - self.asked > 2:
            self.connection.close()
            self.connection.connect()
        sent = time.perf_counter()
        body = {"n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": True, "stream": False,
                "id_slot": self.slot, **parts}  # fmt: skip
        self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = json.loads(self.connection.getresponse().read())
        ms = (time.perf_counter() - sent) * 1000
        self.asked = time.monotonic()
        if "timings" not in answer:
            raise RuntimeError(f"llama-server: {answer}")
        timings = answer["timings"]
        return Answer(ms, timings["predicted_n"], answer["tokens_evaluated"], timings["prompt_n"])

    def complete(self, document):
        return self.ask("/infill", TOKENS, {"input_prefix": document.prefix, "input_suffix": document.suffix})

    def chat(self, document):
        return self.ask("/completion", CHAT_TOKENS, {"prompt": document.prefix})

    def close(self):
        with contextlib.suppress(OSError):  # the server has hung up
            if self.connection.sock is not None:
                self.connection.sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for an answer
        self.connection.close()


def in_turns(round_number, sides):
    """Who is first in one round is second in the next."""
    return sides if round_number % 2 == 0 else sides[::-1]


def peer_version(folder):
    """What its programs say of themselves, in one line."""
    said = subprocess.run([Path(folder) / "llama-bench", "--version"], capture_output=True, text=True)
    lines = (said.stdout + said.stderr).splitlines()
    return "llama.cpp, " + "; ".join(line for line in lines if line.startswith(("version", "built")))


def machine():
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{os.cpu_count()} cores of {names[0].split(':')[1].strip() if names else 'an unknown processor'}"
