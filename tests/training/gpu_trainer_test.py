"""The PyTorch trainer of training/gpu on the processor: the engine's model, bit-exact rounding, a run that learns,
stops and goes on. `gpu_trainer_test.py BIN` (the folder with hearth-train and hearth); skipped without torch."""

import math
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "training" / "gpu"))

try:
    import numpy
    import torch
except ImportError as error:
    print(f"skipped: {error}; install python3-torch to run this test")
    sys.exit(77)

import experts
import model
import mtp
import optimizer
import parts
import rounding
import shape as shapes
import shards
import state as states
import train

BIN = Path(sys.argv.pop(1)) if len(sys.argv) > 1 else ROOT / "build" / "release" / "bin"
SPECIALS = ("endoftext fim_prefix fim_middle fim_suffix fim_pad repo_name file_sep explain fix bug".split()
            + [f"reserved_{i}" for i in range(54)])  # fmt: skip
VOCAB = 256 + len(SPECIALS)
CPU = torch.device("cpu")
torch.set_num_threads(1)


def write_tokenizer(path):
    lines = ["hearth-tokenizer 1", "pre qwen2", "merges 0", f"specials {len(SPECIALS)}"]
    Path(path).write_text("\n".join(lines + [f"<|{name}|>" for name in SPECIALS]) + "\n", encoding="utf-8")


def random_state(shape, seed=3):
    """Weights with nothing at zero, so that every part of the model counts."""
    state = states.State(shape, CPU)
    torch.manual_seed(seed)
    for weight, parameter in model.views(shape, state.weights).values():
        if parameter.kind == "norm":
            weight += 0.2 * torch.randn_like(weight)
        elif parameter.kind == "routing_bias":
            weight += 0.1 * torch.randn_like(weight)
        else:
            weight.copy_(torch.randn_like(weight) / math.sqrt(parameter.columns))
    return state


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stderr}")
    return done.stdout


class FolderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        write_tokenizer(self.folder / "tokenizer.txt")

    def export(self, state, out, *more):
        states.write_checkpoint(state.shape, state.weights, self.folder / "checkpoint.bin", 7, 1000, 2.5)
        run(
            BIN / "hearth-train", "export", "--checkpoint", self.folder, "--tokenizer", self.folder / "tokenizer.txt",
            "--out", out, "--matrices", "F32", "--embedding", "F32", "--window", "64", *more,
        )  # fmt: skip


class EngineTest(FolderTest):
    def test_logits_are_those_of_the_engine_on_the_exported_file(self):
        for changes in ({}, {"shared_expert_count": 1, "experts_per_token": 3}, {"dense_layer_count": 2}):
            with self.subTest(changes):
                shape = shapes.dataclasses.replace(shapes.toy_of(VOCAB), **changes)
                state = random_state(shape)
                file = self.folder / "model.gguf"
                self.export(state, file)
                tokens = torch.randint(0, VOCAB, (1, 40), generator=torch.Generator().manual_seed(5))
                run(BIN / "hearth", "logits", "--model", file, "--backend", "reference", "--tokens",
                    ",".join(str(int(token)) for token in tokens[0]), "--out", self.folder / "logits")  # fmt: skip
                theirs = torch.from_numpy(numpy.fromfile(self.folder / "logits", dtype="<f4")).view(40, VOCAB)
                ours = model.Model(shape, CPU, torch.float32).logits(
                    model.views(shape, state.weights), tokens, rounded=True
                )
                self.assertLess(float((ours - theirs).norm() / theirs.norm()), 2e-3)
                unrounded = model.Model(shape, CPU, torch.float32).logits(model.views(shape, state.weights), tokens)
                self.assertGreater(float((unrounded - theirs).norm() / theirs.norm()), 1e-2)

    def test_rounding_gives_the_bytes_of_the_exported_file(self):
        shape = shapes.toy_of(VOCAB)
        state = random_state(shape)
        weights = model.views(shape, state.weights)
        # Blocks of zeros, and equal extremes of both signs, the first of which decides.
        gate, _ = weights["blk.1.ffn_gate_exps.weight"]
        gate[0, 0] = 0.0
        gate[0, 1] = torch.tensor([1.5, -1.5] * 32)
        gate[0, 2] = torch.tensor([-1.5, 1.5] * 32)
        self.export(state, self.folder / "model.gguf")
        tensors = read_q4_0(self.folder / "model.gguf")
        self.assertEqual(len(tensors), 3 * 2)
        for name, values in tensors.items():
            rounded = rounding.round_q4_0(weights[name][0]).reshape(-1)
            self.assertTrue(torch.equal(rounded, torch.from_numpy(values)), name)

    def test_a_model_file_is_where_the_gpu_goes_on(self):
        state = random_state(shapes.toy_of(VOCAB))
        self.export(state, self.folder / "model.gguf", "--experts", "F32")
        run(BIN / "hearth-train", "import", "--model", self.folder / "model.gguf", "--out", self.folder / "start")
        again = states.State.load(self.folder / "start" / "checkpoint.bin", CPU)
        self.assertEqual((again.shape, again.steps), (state.shape, 0))
        self.assertTrue(torch.equal(again.weights, state.weights))
        (self.folder / "start" / "checkpoint.bin").write_bytes(bytes(1000))
        with self.assertRaisesRegex(ValueError, "hearth-train import"):
            states.State.load(self.folder / "start" / "checkpoint.bin", CPU)

    def test_a_checkpoint_of_the_gpu_is_where_the_cpu_goes_on(self):
        shape = shapes.toy_of(VOCAB)
        states.write_checkpoint(shape, random_state(shape).weights, self.folder / "checkpoint.bin")
        write_part(self.folder, "shards", 64, 4, flat=True)
        out = run(BIN / "hearth-train", "run", "--data", self.folder / "shards", "--out", self.folder, "--resume",
                  self.folder, "--tokens", "512", "--window", "64", "--step-tokens", "256", "--math", "portable",
                  "--head-sampled", "0")  # fmt: skip
        self.assertIsInstance(out, str)
        self.assertGreater(os.path.getsize(self.folder / "checkpoint.bin"), 2 * 4 * random_state(shape).weights.numel())


def read_q4_0(path):
    """{name: values} of the Q4_0 tensors of a GGUF file, read by the letter of the format."""
    data = Path(path).read_bytes()
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def text():
        nonlocal at
        size = take("Q")
        at += size
        return data[at - size : at].decode("utf-8")

    forms = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}

    def value(kind):
        if kind == 8:
            return text()
        if kind == 9:
            inner, count = take("I"), take("Q")
            return [value(inner) for _ in range(count)]
        return take(forms[kind])

    assert take("4s") == b"GGUF"
    take("I")
    tensor_count, key_count = take("Q"), take("Q")
    metadata = {}
    for _ in range(key_count):
        key = text()
        metadata[key] = value(take("I"))
    tensors = []
    for _ in range(tensor_count):
        name = text()
        dims = [take("Q") for _ in range(take("I"))]
        tensors.append((name, math.prod(dims), take("I"), take("Q")))
    alignment = metadata.get("general.alignment", 32)
    begin = (at + alignment - 1) // alignment * alignment
    found = {}
    for name, elements, kind, offset in tensors:
        if kind != 2:
            continue
        blocks = numpy.frombuffer(data, numpy.uint8, elements // 32 * 18, begin + offset).reshape(-1, 18)
        step = blocks[:, :2].copy().view("<f2").astype(numpy.float32)
        quants = numpy.concatenate((blocks[:, 2:] & 15, blocks[:, 2:] >> 4), axis=1).astype(numpy.float32)
        found[name] = (step * (quants - 8)).reshape(-1)
    return found


def write_part(folder, name, length, windows, flat=False, seed=1):
    """A part of easy text: after each token comes its successor, with a step that the first token tells."""
    at = Path(folder) / name if flat else Path(folder) / name / f"w{length}"
    at.mkdir(parents=True)
    generator = numpy.random.default_rng(seed)
    index = {}
    for kind in ("train", "decay", "heldout"):
        starts = generator.integers(0, 200, (windows, 1))
        tokens = (starts + numpy.arange(length) * (1 + starts % 3)) % 250
        file = "heldout-python.bin" if kind == "heldout" else f"{kind}-000.bin"
        tokens.astype("<u2").tofile(at / file)
        index[file] = {"tokens": int(tokens.size), "bytes": int(tokens.size)}
    (at / "shards.json").write_text(train.json.dumps(index))


class ModelTest(unittest.TestCase):
    def test_gradients_agree_with_differences(self):
        torch.manual_seed(1)
        rows = torch.randn(10, 6, dtype=torch.float64, requires_grad=True)
        embedding = torch.randn(9, 6, dtype=torch.float64, requires_grad=True)
        targets = torch.tensor([1, 2, -1, 4, 5, 8, 0, -1, 3, 3])

        worth = torch.tensor([1, 3, 0, 1, 1, 3, 3, 0, 1, 1]) / 14

        def plain(a, b):
            logits = a @ b.t()
            partition = logits.logsumexp(1)
            loss = partition - logits.gather(1, targets.clamp_min(0)[:, None])[:, 0] + 0.01 * partition.square()
            return (loss * worth).sum()

        right = torch.autograd.grad(plain(rows, embedding), (rows, embedding))
        model.HEAD_ROWS, before = 4, model.HEAD_ROWS
        self.addCleanup(setattr, model, "HEAD_ROWS", before)
        loss = model.ChunkedLoss.apply(rows, embedding, targets, worth, 0.01, model.score_rows)
        found = torch.autograd.grad(loss, (rows, embedding))
        for ours, theirs in zip(found, right):
            self.assertLess(float((ours - theirs).norm() / theirs.norm()), 1e-5)

    def test_sorted_experts_are_what_each_token_would_do_alone(self):
        torch.manual_seed(2)
        rows = torch.randn(50, 16, requires_grad=True)
        matrices = [torch.randn(sizes, requires_grad=True) for sizes in ((5, 8, 16), (5, 8, 16), (5, 16, 8))]
        scores = torch.sigmoid(torch.randn(50, 5))
        bias = torch.tensor([0.0, 0.3, 0.0, -9.0, 0.0])  # nobody goes to expert 3
        chosen, weights = experts.route(scores, bias, 2, 1.5)
        self.assertNotIn(3, chosen)
        self.assertTrue(torch.allclose(weights.sum(1), torch.full((50,), 1.5)))
        each, load = experts.routed_experts(rows, chosen, matrices, experts.looped_product, experts.gated)
        out = experts.weighed(each, weights, torch.zeros_like(rows))
        self.assertEqual(int(load.sum()), 100)
        alone = []
        for i in range(50):
            parts_of_row = []
            for j in range(2):
                gate, up, down = (each[chosen[i, j]] for each in matrices)
                inner = torch.nn.functional.silu(gate @ rows[i]) * (up @ rows[i])
                parts_of_row.append(weights[i, j] * (down @ inner))
            alone.append(sum(parts_of_row))
        alone = torch.stack(alone)
        self.assertTrue(torch.allclose(out, alone, atol=1e-4))
        seed = torch.randn_like(out)
        found = torch.autograd.grad((out * seed).sum(), [rows, *matrices])
        right = torch.autograd.grad((alone * seed).sum(), [rows, *matrices])
        for ours, theirs in zip(found, right):
            self.assertTrue(torch.allclose(ours, theirs, atol=1e-3))

    def test_the_check_of_grouped_products_sees_a_wrong_one(self):
        self.assertEqual(experts.product_difference(experts.looped_product, CPU, torch.float32), 0.0)

        def shifted(rows, weights, ends):
            return experts.looped_product(rows, weights.roll(1, 0), ends)

        self.assertGreater(experts.product_difference(shifted, CPU, torch.float32), 0.5)
        if hasattr(torch, "_grouped_mm") or hasattr(torch.nn.functional, "grouped_mm"):
            try:
                difference = experts.product_difference(experts.grouped_product, CPU, torch.bfloat16)
            except (RuntimeError, NotImplementedError) as error:
                self.skipTest(f"no grouped product on the processor: {error}")
            self.assertLess(difference, 2e-2)

    def test_attention_looks_back_only_and_positions_count(self):
        shape = shapes.toy_of(VOCAB)
        weights = model.views(shape, random_state(shape).weights)
        both = model.Model(shape, CPU, torch.float32)
        tokens = torch.randint(0, VOCAB, (2, 12), generator=torch.Generator().manual_seed(9))
        changed = tokens.clone()
        changed[:, 8:] = 0
        first, second = (both.logits(weights, each).view(2, 12, -1) for each in (tokens, changed))
        self.assertTrue(torch.allclose(first[:, :8], second[:, :8], atol=1e-5))
        self.assertFalse(torch.allclose(first[:, 8:], second[:, 8:], atol=1e-2))


class OptimizerTest(unittest.TestCase):
    def test_orthogonalised_matrices_have_singular_values_near_one(self):
        torch.manual_seed(4)
        made = optimizer.orthogonalised(torch.randn(3, 16, 40))
        values = torch.linalg.svdvals(made)
        self.assertGreater(float(values.min()), 0.6)
        self.assertLess(float(values.max()), 1.3)

    def test_each_matrix_is_updated_alone_tall_or_wide_and_padding_of_the_layout_is_kept(self):
        parameters = [
            shapes.Parameter("a", "matrix", 8, 4, count=3), shapes.Parameter("bias", "routing_bias", 5),
            shapes.Parameter("b", "matrix", 4, 8), shapes.Parameter("n", "norm", 6),
        ]  # fmt: skip
        elements = sum(p.elements for p in parameters)
        torch.manual_seed(5)
        gradients = torch.randn(elements)
        weights, moments = torch.zeros(elements), [torch.zeros(elements), torch.zeros(elements)]
        optimizer.Optimizer(parameters, moments).update(weights, gradients, 0.1, 0.01, torch.tensor(1.0))
        for i in range(3):
            one = optimizer.orthogonalised(gradients[i * 32 : i * 32 + 32].view(1, 4, 8))
            right = -0.1 * 0.2 * 8**0.5 * one[0]
            self.assertTrue(torch.allclose(weights[i * 32 : i * 32 + 32].view(4, 8), right, atol=1e-6))
        self.assertTrue(torch.equal(weights[96:101], torch.zeros(5)))
        tall = optimizer.orthogonalised(gradients[101:133].view(8, 4).t()[None])[0].t()
        self.assertTrue(torch.allclose(weights[101:133].view(8, 4), -0.1 * 0.2 * 8**0.5 * tall, atol=1e-6))
        self.assertTrue(torch.allclose(weights[133:], -0.01 * gradients[133:].sign(), atol=1e-5))

    def test_the_bias_moves_towards_experts_with_less_work(self):
        bias = torch.zeros(3)
        optimizer.update_routing_bias([bias], torch.tensor([[10, 30, 20]]), 0.5)
        self.assertEqual(bias.tolist(), [0.5, -0.5, 0.0])


class WindowsTest(FolderTest):
    def test_parts_are_taken_up_as_they_come_and_every_window_comes_before_any_comes_again(self):
        write_part(self.folder, "part-000", 16, 5)
        windows = shards.Windows(self.folder, "train", 16)
        first = windows.draw(5)
        self.assertEqual(len({tuple(row.tolist()) for row in first}), len({int(row[0]) for row in first}))
        (self.folder / "part-001" / "w16").mkdir(parents=True)  # not whole yet
        windows.refresh()
        self.assertEqual(windows.count, 5)
        (self.folder / "part-001" / "w16").rmdir()
        (self.folder / "part-001").rmdir()
        write_part(self.folder, "part-001", 16, 7, seed=2)
        windows.refresh()
        self.assertEqual(windows.count, 12)
        windows.draw(7)
        self.assertEqual(windows.drawn, {"part-000": 5, "part-001": 7})
        self.assertEqual(windows.passes, 1.0)
        again = shards.Windows(self.folder, "train", 16, windows.drawn)
        self.assertTrue(torch.equal(windows.draw(6), again.draw(6)))

    def test_targets_follow_their_tokens_and_padding_is_none(self):
        pad = shards.special_ids(self.folder / "tokenizer.txt")["<|fim_pad|>"]
        self.assertEqual(pad, 256 + SPECIALS.index("fim_pad"))
        self.assertEqual(shards.vocab_size(self.folder / "tokenizer.txt"), VOCAB)
        tokens = torch.tensor([[5, 6, pad, 7]])
        self.assertEqual(shards.targets_of(tokens, pad).tolist(), [[6, -1, 7, -1]])

    def test_answers_lie_between_their_mark_and_the_next_end(self):
        tokens = torch.tensor([[5, 8, 6, 7, 9, 5, 8, 8, 9], [5, 9, 6, 8, 6, 6, 6, 6, 6]])
        answers = [[0, 1, 1, 1, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 1, 1, 1, 1]]
        self.assertEqual(shards.is_answer(tokens, 8, 9).long().tolist(), answers)


class TrainerTest(FolderTest):
    """With a part of easy text; what is logged is in `lines`."""

    def options(self, **changes):
        values = {
            "data": str(self.folder), "out": str(self.folder), "minutes": 0.0, "tokens": 60_000, "step_tokens": 512,
            "micro_tokens": 256, "short": 32, "long": 64, "log_seconds": 0.5,
            "specials": shards.special_ids(self.folder / "tokenizer.txt"),
        }  # fmt: skip
        return train.Options(**{**values, **changes})

    def trainer(self, options, state):
        return train.Trainer(options, model.Model(state.shape, CPU, torch.float32), state, self.lines.append)

    def setUp(self):
        super().setUp()
        self.lines = []
        write_part(self.folder, "part-000", 32, 300)
        write_part(self.folder, "part-000", 64, 150)


class RunTest(TrainerTest):
    def test_a_run_learns_and_ends_with_a_whole_decay(self):
        state = states.State(shapes.toy_of(VOCAB), CPU)
        trainer = self.trainer(self.options(), state)
        before = trainer.heldout()["python"]
        trainer.run()
        after = trainer.heldout()["python"]
        self.assertLess(after, 0.5 * before)
        self.assertEqual(sorted(state.drawn), ["decay-64", "train-32", "train-64"])
        self.assertGreaterEqual(state.tokens, 60_000)
        self.assertTrue((self.folder / "stable.pt").is_file() and (self.folder / "checkpoint.bin").is_file())
        self.assertIn("done", self.lines[-1])

    def test_a_run_that_was_stopped_goes_on_with_the_same_steps(self):
        whole = states.State(shapes.toy_of(VOCAB), CPU)
        trainer = self.trainer(self.options(tokens=20_000), whole)
        for _ in range(12):
            trainer.step(0.3)
        half = states.State(shapes.toy_of(VOCAB), CPU)
        trainer = self.trainer(self.options(tokens=20_000), half)
        for _ in range(5):
            trainer.step(0.3)
        half.save(self.folder / "state.pt")
        again = states.State.load(self.folder / "state.pt", CPU)
        self.assertEqual((again.steps, again.tokens, again.shape), (5, 5 * 512, half.shape))
        trainer = self.trainer(self.options(tokens=20_000), again)
        for _ in range(7):
            trainer.step(0.3)
        self.assertEqual(again.drawn, whole.drawn)
        self.assertLess(float((again.weights - whole.weights).norm() / whole.weights.norm()), 1e-5)

    def test_a_run_ends_by_time_and_by_request(self):
        trainer = self.trainer(self.options(tokens=0, minutes=0.03), states.State(shapes.toy_of(VOCAB), CPU))
        started = time.monotonic()
        trainer.run()
        self.assertLess(time.monotonic() - started, 20)
        trainer = self.trainer(self.options(tokens=0, minutes=60), states.State(shapes.toy_of(VOCAB), CPU))
        threading.Timer(0.5, setattr, (trainer, "is_stopped", True)).start()
        trainer.run()
        self.assertIn("stopped", self.lines[-1])

    def test_what_is_worth_more_pulls_harder(self):
        state = states.State(shapes.toy_of(VOCAB), CPU)
        whole = model.Model(state.shape, CPU, torch.float32)
        weights = model.views(state.shape, state.weights)
        tokens = torch.randint(0, 256, (2, 32))
        targets = shards.targets_of(tokens, 260)

        def loss(worth):
            return float(whole.loss(weights, tokens, targets, False, 0.0, worth)[0])

        first = torch.zeros(2, 32)
        first[0] = 1.0
        both = loss(None)
        self.assertAlmostEqual(loss(torch.full((2, 32), 3.0)), both, places=5)
        self.assertAlmostEqual(loss(1.0 + 2.0 * first), (3 * loss(first) + loss(1.0 - first)) / 4, places=4)

    def test_gradients_that_are_no_numbers_change_nothing(self):
        state = states.State(shapes.toy_of(VOCAB), CPU)
        trainer = self.trainer(self.options(), state)
        trainer.gradients.fill_(float("nan"))
        before = state.weights.clone()
        with torch.no_grad():
            trainer._update(1.0, torch.ones(2, 4), 0.95)
        self.assertTrue(torch.isfinite(state.weights).all())
        self.assertLess(float((state.weights - before).norm() / before.norm()), 2e-3)  # only weight decay

    def test_the_probe_counts_and_says_what_fails(self):
        shape = shapes.toy_of(VOCAB)
        self.assertGreater(train.probe(shape, CPU, torch.float32, 0.2, self.lines.append, 32, 256), 0)
        broken = shapes.dataclasses.replace(shape, rope_dim=7)
        self.assertEqual(train.probe(broken, CPU, torch.float32, 0.2, self.lines.append, 32, 256), 0.0)
        self.assertIn("does not run", self.lines[-1])

    def test_the_schedule_warms_up_holds_and_decays_to_nothing(self):
        for progress, factor in ((0.0, 0.02), (0.01, 0.5), (0.5, 1.0), (0.825, 0.5), (1.0, 0.0)):
            self.assertAlmostEqual(train.rate_factor(progress), factor)


class MtpTest(TrainerTest):
    """The block for multi-token prediction."""

    def setUp(self):
        super().setUp()
        self.trunk = random_state(shapes.toy_of(VOCAB))

    def block(self):
        return mtp.MtpModel(model.Model(self.trunk.shape, CPU, torch.float32), self.trunk.weights)

    def block_trainer(self, state, **changes):
        return train.Trainer(self.options(**changes), self.block(), state, self.lines.append)

    def test_a_place_reads_the_token_behind_it_and_no_further(self):
        block = self.block()
        state = random_state(block.shape)
        weights = model.views(block.shape, state.weights)
        tokens = torch.randint(0, 250, (1, 12), generator=torch.Generator().manual_seed(2))
        changed = tokens.clone()
        changed[0, 8] = 251
        rows, others = (block._rows(weights, each, False)[0] for each in (tokens, changed))
        self.assertTrue(torch.allclose(rows[:7], others[:7], atol=1e-5))
        self.assertFalse(torch.allclose(rows[7], others[7], atol=1e-2))

    def test_at_the_start_it_is_its_projection_alone(self):
        block = self.block()
        shape = block.shape
        weights = model.views(shape, states.State(shape, CPU).weights)  # what writes into the stream is zero
        tokens = torch.randint(0, 250, (1, 9), generator=torch.Generator().manual_seed(2))
        rows, seen, _ = block._rows(weights, tokens, False)
        table = block.ready["token_embd.weight"]
        for place in range(8):
            def norm(x):
                return x / torch.sqrt((x * x).mean() + shape.norm_epsilon)

            joined = torch.cat((norm(table[tokens[0, place + 1]]), norm(seen[place])))
            alone = norm(weights["blk.3.nextn.eh_proj.weight"][0] @ joined)
            self.assertTrue(torch.allclose(rows[place], alone, atol=1e-4))
        targets = shards.targets_of(tokens, 260)
        loss = float(block.loss(weights, tokens, targets, False, 0.0)[0])
        logits = (rows @ table.t()).log_softmax(1)
        right = -torch.stack([logits[i, tokens[0, i + 2]] for i in range(7)]).mean()
        self.assertAlmostEqual(loss, float(right), places=4)

    def test_it_learns_what_its_trunk_says_next_and_the_trunk_stays(self):
        self.trunk = states.State(shapes.toy_of(VOCAB), CPU)
        self.trainer(self.options(tokens=30_000), self.trunk).run()
        before = self.trunk.weights.clone()
        state = states.State(self.block().shape, CPU)
        trainer = self.block_trainer(state, tokens=40_000)
        start = trainer.heldout_agreement()["python"]
        trainer.run()
        end = trainer.heldout_agreement()["python"]
        self.assertGreater(end, start + 0.3)
        self.assertTrue(torch.equal(self.trunk.weights, before))
        self.assertIn("guessed as the trunk says them", self.lines[-2])
        again = states.State.load(self.folder / "state.pt", CPU)
        self.assertEqual((again.shape, again.tokens), (state.shape, state.tokens))

    def test_its_file_holds_the_rounded_experts_and_is_no_model(self):
        state = random_state(self.block().shape)
        states.write_checkpoint(state.shape, state.weights, self.folder / "checkpoint.bin")
        words = ("--checkpoint", self.folder, "--tokenizer", self.folder / "tokenizer.txt", "--out", self.folder / "mtp.gguf")
        run(BIN / "hearth-train", "export-mtp", *words)
        tensors = read_q4_0(self.folder / "mtp.gguf")
        weights = model.views(state.shape, state.weights)
        self.assertEqual(sorted(tensors), [f"blk.3.ffn_{name}_exps.weight" for name in ("down", "gate", "up")])
        for name, values in tensors.items():
            rounded = rounding.round_q4_0(weights[name][0]).reshape(-1)
            self.assertTrue(torch.equal(rounded, torch.from_numpy(values)), name)
        with self.assertRaisesRegex(AssertionError, "no checkpoint of this trainer"):
            run(BIN / "hearth-train", "export", *words)


class PartsTest(FolderTest):
    def test_parts_join_to_the_file_and_a_damaged_one_is_seen(self):
        data = os.urandom(100_000)
        (self.folder / "model.gguf").write_bytes(data)
        out = self.folder / "out"
        out.mkdir()
        self.assertEqual(parts.split(self.folder / "model.gguf", out, 30_000, count=2), 4)
        self.assertEqual(parts.split(self.folder / "model.gguf", out, 30_000, first=2), 4)
        run("sh", "-c", f"cd {out} && ./join-model.gguf.sh")
        self.assertEqual((out / "model.gguf").read_bytes(), data)
        (out / "model.gguf.002").write_bytes(b"x" * 30_000)
        self.assertNotEqual(subprocess.run(["sh", "join-model.gguf.sh"], cwd=out, capture_output=True).returncode, 0)


class SequenceTest(FolderTest):
    """The commands of a GPU machine, one after the other, on a corpus of a few files."""

    def test_from_packed_parts_to_a_file_that_the_engine_loads(self):
        sys.path.insert(0, str(ROOT / "training" / "corpus"))
        import pack_parts  # pylint: disable=import-outside-toplevel

        pack = self.folder / "corpus.pack"
        with open(pack, "wb") as out:
            for i in range(40):
                lines = [f"def function_{j}(value):\n    return value + {i + j}\n\n\n" for j in range(120)]
                text = "".join(lines).encode()
                split = "heldout" if i < 4 else "train"
                out.write(f"{split}\tpython\tp\tsrc{i % 3}/file_{i}.py\t{len(text)}\n".encode() + text + b"\n")
        names = pack_parts.write_parts(pack, self.folder / "parts", 100_000)
        self.assertGreater(len(names), 1)
        box, data, out, back = (self.folder / name for name in ("box", "data", "out", "back"))

        def command(*words):
            return run(sys.executable, "-B", ROOT / "training" / "gpu" / "run.py", *words)

        said = command("prepare", "--box", box, "--parts", self.folder / "parts", "--bin", BIN, "--tokenizer",
                       self.folder / "tokenizer.txt", "--load-bytes", 1)  # fmt: skip
        self.assertEqual(len(said.splitlines()), len(names) + 1)  # each part travels alone
        for load in range(len(names) + 1):
            command("unpack", "--box", f"{box}{load}", "--data", data, "--jobs", 2, "--windows", "128,256")
        self.assertEqual(len(list(data.glob("part-*/w*/shards.json"))), 2 * len(names))
        self.assertTrue((data / "heldout" / "w256" / "heldout-python.bin").is_file())
        command("probe", "--data", data, "--seconds", 0.1, "--shapes", "toy=1e12,toy", "--micro-tokens", 256,
                "--windows", "128,256")
        choice = train.json.loads((data / "choice.json").read_text())
        self.assertEqual((choice["shape"], len(choice["table"])), ("toy", 2))
        runs = ("--data", data, "--out", out, "--windows", "128,256", "--micro-tokens", 512, "--step-tokens", 512)
        command("start", *runs, "--minutes", 0, "--tokens", 10_000)
        command("poll", "--out", out, "--seconds", 200)
        said = (out / "log").read_text()
        self.assertIn("done", said)
        self.assertIn("decay-256", said)
        command("export", "--data", data, "--out", out, "--windows", "128,256", "--folder", back)
        run("sh", "-c", f"cd {back} && ./join-model.gguf.sh")
        run(BIN / "hearth", "logits", "--model", back / "model.gguf", "--backend", "reference", "--tokens", "1,2,3",
            "--out", self.folder / "logits")  # fmt: skip
        self.assertEqual((self.folder / "logits").stat().st_size, 3 * 4 * VOCAB)
        command("carry", "--out", out, "--folder", back, "--part-bytes", 300_000, "--count", 100)
        self.assertEqual((back / "full.gguf.000").stat().st_size, 300_000)
        run("sh", "-c", f"cd {back} && ./join-full.gguf.sh")
        # A model of another mark and context is gone on from, and keeps them.
        begun = self.folder / "begun.gguf"
        run(BIN / "hearth-train", "export", "--checkpoint", out, "--tokenizer", data / "tokenizer.txt", "--out", begun,
            "--infill-mark", "none", "--window", 4096, "--name", "its name")  # fmt: skip
        second = self.folder / "second"
        runs = ("--data", data, "--out", second, "--windows", "128,256", "--micro-tokens", 512, "--step-tokens", 512)
        command("train", *runs, "--minutes", 0, "--tokens", 1000, "--from-model", begun)
        command("export", "--data", data, "--out", second, "--windows", "128,256", "--folder", back)
        data_of = (second / "model.gguf").read_bytes()
        for text in (b"hearth.infill_mark", b"its name"):
            self.assertIn(text, data_of)
        place = data_of.index(b"hearth.infill_mark") + len(b"hearth.infill_mark")
        self.assertEqual(data_of[place : place + 16], struct.pack("<IQ", 8, 4) + b"none")
        place = data_of.index(b"deepseek2.context_length") + len(b"deepseek2.context_length")
        self.assertEqual(data_of[place : place + 8], struct.pack("<II", 4, 4096))
        # The state before the decay goes elsewhere as halves.
        command("carry", "--out", out, "--folder", back, "--what", "stable", "--part-bytes", 200_000, "--count", 100)
        run("sh", "-c", f"cd {back} && ./join-stable-halves.pt.sh")
        again = states.State.load(back / "stable-halves.pt", CPU)
        stable = states.State.load(out / "stable.pt", CPU)
        self.assertEqual((again.steps, again.tokens, again.shape), (0, 0, stable.shape))
        self.assertTrue(torch.allclose(again.weights, stable.weights, atol=2e-3, rtol=1e-3))
        self.assertEqual(float(again.moments[0].abs().sum()), 0.0)
        command("train", *runs, "--minutes", 0, "--tokens", 1000, "--resume", back / "stable-halves.pt")
        # The block of a shipped model.
        runs = ("--data", data, "--out", self.folder / "mtp", "--windows", "128,256", "--micro-tokens", 512, "--step-tokens", 512)
        command("train", *runs, "--minutes", 0, "--tokens", 1000, "--mtp", "--from-model", begun)
        command("export", "--data", data, "--out", self.folder / "mtp", "--windows", "128,256", "--folder", back, "--mtp")
        run("sh", "-c", f"cd {back} && ./join-mtp.gguf.sh")
        self.assertEqual(len(read_q4_0(back / "mtp.gguf")), 3)


if __name__ == "__main__":
    unittest.main()
