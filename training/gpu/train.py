"""The training loop: bounded by time and tokens, stopped at any step with a state that goes on."""

import itertools
import json
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

import optimizer
import shards
from model import Model, views
from mtp import MtpModel
from shape import layout
from state import State, write_checkpoint

# Shares of the run, as training/trainer/schedule.h has them but for the decay: in a run of minutes a long one is worth more.
WARM_UP_SHARE = 0.02
LONG_WINDOWS_BEGIN = 0.60
DECAY_BEGIN = 0.65
ROUNDING_BEGIN = 0.88
Z_LOSS = 1e-4
GRADIENT_NORM_MAX = 1.0
# Routers learn in large steps at first: at a fifth of this rate layers sent all tokens to two experts for 500 steps.
BIAS_RATE_FIRST = 5e-3
BIAS_RATE = 1e-3
BIAS_SETTLES_FROM = 0.30
BIAS_FIXED_FROM = 0.90
# A token of an answer (a middle, a sentence, a fixed line) counts as so many others: what is asked for is a thirtieth of all.
ANSWER_WORTH = 3.0


@dataclass
class Options:
    data: str
    out: str
    minutes: float = 22.0
    until: float = 0.0  # seconds since 1970: instead of minutes
    tokens: float = 0.0  # 0: as many as the minutes give
    step_tokens: int = 131072
    micro_tokens: int = 65536  # of one forward and backward pass
    short: int = 1024  # window until LONG_WINDOWS_BEGIN
    long: int = 2048
    rate: float = 0.01
    adam_rate: float = 0.004
    specials: dict = field(default_factory=dict)  # {name: id}; empty: of the tokenizer in `data`
    log_seconds: float = 10.0
    state_seconds: float = 240.0
    heldout_seconds: float = 120.0


def rate_factor(progress):
    """Factor on the learning rates."""
    if progress < WARM_UP_SHARE:
        return max(0.02, progress / WARM_UP_SHARE)
    if progress < DECAY_BEGIN:
        return 1.0
    return max(0.0, (1 - progress) / (1 - DECAY_BEGIN))


class Trainer:
    def __init__(self, options, model, state, log):
        self.options = options
        self.model = model
        self.state = state
        self.log = log
        self.parameters = layout(state.shape)
        self.gradients = torch.zeros_like(state.weights)
        self.weights = views(state.shape, state.weights)
        for name, (gradient, parameter) in views(state.shape, self.gradients).items():
            weight, _ = self.weights[name]
            if parameter.kind != "routing_bias":
                weight = weight.detach().requires_grad_()  # shares the flat tensor's memory
                weight.grad = gradient  # and its gradient adds up in the other flat tensor
                self.weights[name] = (weight, parameter)
        self.biases = [weight for weight, parameter in self.weights.values() if parameter.kind == "routing_bias"]
        self.optimizer = optimizer.Optimizer(self.parameters, state.moments)
        self.optimizer.steps = state.steps
        self.windows = {}
        self.is_stopped = False

    def progress(self):
        """How far the run is: the larger of its shares of time and of tokens, so that the decay is always whole."""
        by_time = self.state.seconds / (self.options.minutes * 60) if self.options.minutes > 0 else 0.0
        by_tokens = self.state.tokens / self.options.tokens if self.options.tokens > 0 else 0.0
        return min(1.0, max(by_time, by_tokens))

    def source(self, progress):
        """The windows to draw from; what is not there (yet) is replaced by what is."""
        # One step in four keeps to plain code.
        takes_decay = progress >= DECAY_BEGIN and self.state.steps % 4 != 0
        kinds = ("decay", "train") if takes_decay else ("train",)
        lengths = (self.options.short, self.options.long)
        for kind, length in itertools.product(kinds, lengths[::-1] if progress >= LONG_WINDOWS_BEGIN else lengths):
            key = f"{kind}-{length}"
            if key not in self.windows:
                self.windows[key] = shards.Windows(self.options.data, kind, length, self.state.drawn.get(key))
            if self.windows[key].count:
                return key, self.windows[key]
        raise FileNotFoundError(f"no windows of {lengths[0]} or {lengths[1]} tokens in {self.options.data}")

    def step(self, progress):
        """One update. Returns its loss as a tensor: reading it waits for the device."""
        key, windows = self.source(progress)
        micro_windows = max(1, self.options.micro_tokens // windows.length)
        passes = max(1, self.options.step_tokens // (micro_windows * windows.length))
        self.gradients.zero_()
        loss_sum = torch.zeros((), device=self.model.device)
        load_sum = 0
        for _ in range(passes):
            tokens = windows.draw(micro_windows)
            targets, worth = self._targets(tokens), self._worth(tokens)
            tokens, targets, worth = (self._to_device(each) for each in (tokens, targets, worth))
            loss, load = self.model.loss(self.weights, tokens, targets, progress >= ROUNDING_BEGIN, Z_LOSS, worth)
            (loss / passes).backward()
            loss_sum += loss.detach() / passes
            load_sum = load_sum + load
        self.state.drawn[key] = windows.drawn
        with torch.no_grad():
            self._update(rate_factor(progress), load_sum, progress)
        self.state.steps += 1
        self.state.tokens += passes * micro_windows * windows.length
        return loss_sum, load_sum

    def warm_up(self):
        """Passes of both lengths on random tokens, which leave nothing behind: compiling takes longer than many steps."""
        for length in (self.options.short, self.options.long):
            windows = max(1, self.options.micro_tokens // length)
            tokens = self._to_device(torch.randint(0, self.state.shape.vocab_size, (windows, length)))
            loss, _ = self.model.loss(self.weights, tokens, tokens, False, Z_LOSS)
            loss.backward()
            self.log(f"warm at {length} tokens: loss {float(loss.detach()):.3f}")
        self.gradients.zero_()

    def wait_for_windows(self):
        while True:
            try:
                return self.source(0.0)
            except FileNotFoundError:
                self.windows.clear()
                time.sleep(0.5)

    def _targets(self, tokens):
        return shards.targets_of(tokens, self.options.specials["<|fim_pad|>"])

    def _worth(self, tokens):
        ids = self.options.specials
        answers = shards.is_answer(tokens, ids["<|fim_middle|>"], ids["<|endoftext|>"])
        return 1.0 + (ANSWER_WORTH - 1.0) * answers.float()

    def _to_device(self, tensor):
        if self.model.device.type == "cuda":
            return tensor.pin_memory().to(self.model.device, non_blocking=True)
        return tensor

    def _update(self, factor, load, progress):
        norm = self.gradients.norm()
        scale = torch.clamp(GRADIENT_NORM_MAX / (norm + 1e-12), max=1.0)
        # A step whose gradients are no numbers changes nothing but the moments' decay.
        is_sound = torch.isfinite(norm)
        self.gradients.copy_(torch.where(is_sound, self.gradients, torch.zeros_like(self.gradients)))
        scale = torch.where(is_sound, scale, torch.zeros_like(scale))
        self.optimizer.update(
            self.state.weights, self.gradients, self.options.rate * factor, self.options.adam_rate * factor, scale
        )
        if progress < BIAS_FIXED_FROM and self.biases:
            rate = BIAS_RATE_FIRST if progress < BIAS_SETTLES_FROM else BIAS_RATE
            optimizer.update_routing_bias(self.biases, load, rate)

    def heldout(self, windows_max=8):
        """{language: nats per token} of a few windows of each held-out shard, as they are now."""
        is_rounded = self.progress() >= ROUNDING_BEGIN

        def loss(rows):
            targets = self._to_device(self._targets(rows))
            return self.model.loss(self.weights, self._to_device(rows), targets, is_rounded, 0.0)[0]

        return self._heldout_mean(loss, windows_max)

    def heldout_agreement(self, windows_max=8):
        """{language: share of second tokens that the block for multi-token prediction guesses as its trunk says them}."""
        agreement = lambda rows: self.model.agreement(self.weights, self._to_device(rows))
        return self._heldout_mean(agreement, windows_max)

    def _heldout_mean(self, value_of, windows_max):
        """`value_of` some rows of tokens, a mean by language."""
        found = {}
        for path in sorted(Path(self.options.data).glob(f"*/w{self.options.long}/heldout-*.bin")):
            tokens = torch.from_numpy(shards.numpy.fromfile(path, dtype="<u2").astype("int64"))
            rows = tokens[: tokens.numel() // self.options.long * self.options.long].view(-1, self.options.long)
            rows = rows[:: max(1, len(rows) // windows_max)][:windows_max]
            if not len(rows):
                continue
            total = 0.0
            with torch.no_grad():
                for part in rows.split(max(1, self.options.micro_tokens // self.options.long)):
                    total += float(value_of(part)) * len(part) / len(rows)
            found[path.stem.removeprefix("heldout-")] = round(total, 4)
        return found

    def run(self):
        """Steps until the limits or SIGTERM. Leaves stable.pt (before the decay), state.pt and checkpoint.bin."""
        out = Path(self.options.out)
        started, before = time.monotonic(), self.state.seconds
        if self.options.until:
            self.options.minutes = (self.options.until - time.time() + before) / 60
        last = {"log": started, "state": started, "heldout": started}
        logged_tokens, losses = self.state.tokens, []
        progress = self.progress()
        while progress < 1 and not self.is_stopped:
            loss, load = self.step(progress)
            losses.append(loss)
            if len(losses) % 4 == 0:
                float(loss)  # the clock below is the device's, give or take four steps
            now = time.monotonic()
            self.state.seconds = before + now - started
            entered_decay = progress < DECAY_BEGIN <= self.progress()
            progress = self.progress()
            if now - last["log"] >= self.options.log_seconds or progress >= 1:
                mean = float(torch.stack(losses).mean())
                now = time.monotonic()
                speed = (self.state.tokens - logged_tokens) / max(1e-9, now - last["log"])
                self._report(progress, mean, speed, load)
                logged_tokens, losses, last["log"] = self.state.tokens, [], now
                for windows in self.windows.values():
                    windows.refresh()
            if entered_decay:
                self.state.save(out / "stable.pt")
            if now - last["state"] >= self.options.state_seconds:
                self.state.save(out / "state.pt")
                last["state"] = time.monotonic()
            if now - last["heldout"] >= self.options.heldout_seconds:
                self.log(f"held out: {json.dumps(self.heldout())}")
                last["heldout"] = time.monotonic()
        self.log(f"held out: {json.dumps(self.heldout(windows_max=64))}")
        self.state.save(out / "state.pt")
        write_checkpoint(
            self.state.shape, self.state.weights, out / "checkpoint.bin",
            self.state.steps, self.state.tokens, self.state.seconds,
        )  # fmt: skip
        if self.state.shape.is_mtp:
            self.log(f"second tokens guessed as the trunk says them: {json.dumps(self.heldout_agreement(64))}")
        self.log("stopped on request" if self.is_stopped else "done")

    def _report(self, progress, loss, speed, load):
        spread = (load.float().amax(dim=1) / load.float().mean(dim=1)).max() if torch.is_tensor(load) else 0.0
        passes = {key: round(windows.passes, 2) for key, windows in self.windows.items()}
        self.log(
            f"step {self.state.steps} tokens {self.state.tokens / 1e6:.2f}M progress {progress:.3f} loss {loss:.4f} "
            f"tok/s {speed:.0f} rate x{rate_factor(progress):.3f} load max/mean {float(spread):.2f} passes {passes}"
        )


def stop_on_signal(trainer):
    def on_signal(_number, _frame):
        trainer.is_stopped = True

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def print_log(line):
    print(time.strftime("%H:%M:%S"), line, flush=True)


def probe(shape, device, compute, seconds, log, length=1024, micro_tokens=65536, compiled=False):
    """Tokens a second of whole steps on random tokens; 0 where it does not run."""
    try:
        model = Model(shape, device, compute, log)
        if compiled:
            model.compile()
        state = State(shape, device)
        names = ("<|fim_pad|>", "<|fim_middle|>", "<|endoftext|>")
        options = Options(
            data="", out="", minutes=1e9, micro_tokens=micro_tokens, step_tokens=2 * micro_tokens,
            specials=dict.fromkeys(names, -1),
        )  # fmt: skip
        trainer = Trainer(options, model, state, log)
        trainer.source = lambda progress: ("probe", _RandomWindows(shape.vocab_size, length))
        float(trainer.step(0.5)[0])  # warms up, and compiles
        counted, started = 0, time.monotonic()
        while counted == 0 or time.monotonic() - started < seconds:
            float(trainer.step(0.5)[0])
            counted += options.step_tokens
        return counted / (time.monotonic() - started)
    except Exception as error:  # pylint: disable=broad-exception-caught  # a probe says what does not work
        log(f"does not run{' compiled' if compiled else ''}: {type(error).__name__}: {str(error)[:300]}")
        return 0.0
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()


class _RandomWindows:
    drawn = {}

    def __init__(self, vocab, length):
        self.vocab, self.length = vocab, length

    def draw(self, count):
        return torch.randint(0, self.vocab, (count, self.length))


def pick_device():
    """The GPU with bfloat16, else the processor with float32."""
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
        return torch.device("cuda"), torch.bfloat16
    return torch.device("cpu"), torch.float32


def main(options, shape, resume, is_compiled, trunk=None):
    """One run. `resume`: a state file to go on from, or None. `trunk`: one whose block for multi-token prediction is
    trained, while it stays as it is."""
    device, compute = pick_device()
    print_log(f"torch {torch.__version__} on {device}, python {sys.version.split()[0]}")
    if trunk:
        whole = State.load(trunk, device)
        model = MtpModel(Model(whole.shape, device, compute, print_log), whole.weights)
        shape = model.shape
    state = State.load(resume, device) if resume else State(shape, device)
    if state.shape.is_mtp != bool(trunk) or (trunk and state.shape != shape):
        raise ValueError(f"{resume} is no state of what is trained here; --mtp goes with a state of the block of the same trunk")
    if not trunk:
        model = Model(state.shape, device, compute, print_log)
    if is_compiled:
        model.compile()
    if not options.specials:
        options.specials = shards.special_ids(Path(options.data) / "tokenizer.txt")
    trainer = Trainer(options, model, state, print_log)
    stop_on_signal(trainer)
    flops = state.shape.flops_per_token(options.short)
    print_log(f"{state.weights.numel() / 1e6:.1f}M weights, {flops / 1e6:.0f} MFLOP per token")
    if is_compiled:
        trainer.warm_up()
    trainer.wait_for_windows()
    trainer.run()
