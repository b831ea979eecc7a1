"""hearth-train as a person or make runs it: stopped, gone on with, exported. `commands_test.py BIN`."""

import array
import random
import signal
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "training" / "gpu"))

import shape as shapes

BIN = Path(sys.argv.pop(1)) if len(sys.argv) > 1 else ROOT / "build" / "release" / "bin"
SPECIALS = ("endoftext fim_prefix fim_middle fim_suffix fim_pad repo_name file_sep explain fix bug".split()
            + [f"reserved_{i}" for i in range(54)])  # fmt: skip
MAGIC = 0x32306B7063687268


def write_tokenizer(path):
    lines = ["hearth-tokenizer 1", "pre qwen2", "merges 0", f"specials {len(SPECIALS)}"]
    path.write_text("\n".join(lines + [f"<|{name}|>" for name in SPECIALS]) + "\n")


def write_checkpoint(path):
    """Weights alone (training/gpu/state.py), of the shape of tests."""
    s = shapes.toy_of(256 + len(SPECIALS))
    elements = sum(parameter.elements for parameter in shapes.layout(s))
    chance = random.Random(1)
    weights = array.array("f", (chance.gauss(0, 0.05) for _ in range(elements)))
    with open(path, "wb") as file:
        file.write(struct.pack(
            "<15Q", MAGIC, s.vocab_size, s.hidden_dim, s.layer_count, s.dense_layer_count, s.head_count, s.nope_dim,
            s.rope_dim, s.value_dim, s.query_rank, s.latent_rank, s.dense_ffn_dim, s.expert_ffn_dim, s.expert_count,
            s.experts_per_token,
        ))  # fmt: skip
        file.write(struct.pack("<fffI", s.expert_weights_scale, s.norm_epsilon, s.rope_base, s.shared_expert_count))
        file.write(struct.pack("<QQQQdQ", 0, 0, 0, 0, 0.0, elements) + weights.tobytes())


def run(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


class FolderTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "train"
        self.out.mkdir()


class TrainTest(FolderTest):
    def setUp(self):
        super().setUp()
        write_tokenizer(self.folder / "tokenizer.txt")
        write_checkpoint(self.folder / "checkpoint.bin")
        self.model = self.folder / "model.gguf"
        self.export(self.folder, self.model, "--tokenizer", self.folder / "tokenizer.txt", "--window", 2048,
                    "--infill-mark", "none", "--name", "a name", "--description", "what it is")  # fmt: skip
        (self.folder / "train-000.bin").write_bytes(struct.pack("<4096H", *(i % 250 for i in range(4096))))

    def export(self, checkpoint, out, *words):
        done = run(BIN / "hearth-train", "export", "--checkpoint", checkpoint, "--out", out, *words)
        self.assertEqual(done.returncode, 0, done.stderr)

    def weights(self, name):
        done = run(BIN / "hearth-train", "import", "--model", self.folder / name, "--out", self.folder / "imported")
        self.assertEqual(done.returncode, 0, done.stderr)
        data = (self.folder / "imported" / "checkpoint.bin").read_bytes()
        return array.array("f", data[15 * 8 + 16 + 48 :])

    def command(self, *words):
        fixed = ["--data", self.folder, "--out", self.out, "--window", 64, "--step-tokens", 256, "--log-steps", 1]
        return [str(word) for word in (BIN / "hearth-train", "run", *fixed, *words)]

    def stopped(self, *words):
        """What a run says that is stopped after its first step."""
        with subprocess.Popen(self.command(*words), stderr=subprocess.PIPE, text=True) as process:
            said = ""
            while " step " not in said:
                line = process.stderr.readline()
                self.assertTrue(line, said)  # it ended by itself
                said += line
            process.send_signal(signal.SIGTERM)
            said += process.stderr.read()
        self.assertEqual(process.returncode, 3, said)
        return said

    def test_a_stopped_run_says_so_and_goes_on_to_where_it_was_going(self):
        self.assertIn("--resume", self.stopped("--from", self.model, "--tokens", 1e9))
        self.assertTrue((self.out / "unfinished").is_file())
        self.stopped("--resume", self.out)  # the 1e9 tokens are known
        done = run(*self.command("--resume", self.out, "--tokens", 256))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse((self.out / "unfinished").exists())
        done = run(*self.command("--resume", self.out))
        self.assertEqual(done.returncode, 1)
        self.assertIn("complete", done.stderr)

    def test_a_file_like_another_keeps_what_readers_go_by(self):
        self.export(self.folder, self.folder / "same.gguf", "--like", self.model)
        self.assertEqual((self.folder / "same.gguf").read_bytes(), self.model.read_bytes())
        self.export(self.folder, self.folder / "other.gguf", "--like", self.model, "--name", "another")
        self.assertNotEqual((self.folder / "other.gguf").read_bytes(), self.model.read_bytes())

    def test_experts_may_learn_alone(self):
        done = run(*self.command("--from", self.model, "--epochs", 0.25, "--weights", "experts"))
        self.assertEqual(done.returncode, 0, done.stderr)
        done = run(*self.command("--from", self.model, "--epochs", 0.25, "--weights", "some"))
        self.assertEqual(done.returncode, 2)
        self.assertIn("--weights wants all or experts, found 'some'", done.stderr)

    def test_a_blend_lies_between_both_models(self):
        done = run(*self.command("--from", self.model, "--epochs", 0.25))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r" step 5 tokens .* progress 1\.000")  # 4096 * 0.25 / 0.8 are 5 steps of 256
        exact = ["--like", self.model, "--matrices", "F32", "--experts", "F32", "--embedding", "F32"]
        self.export(self.folder, self.folder / "before.gguf", *exact)
        self.export(self.out, self.folder / "after.gguf", *exact)
        before, after = self.weights("before.gguf"), self.weights("after.gguf")
        self.assertNotEqual(before, after)
        for share in (0, 0.25, 1):
            self.export(self.out, self.folder / "blend.gguf", *exact, "--blend", self.folder / "before.gguf",
                        "--blend-share", share)  # fmt: skip
            for blended, first, last in zip(self.weights("blend.gguf"), before, after, strict=True):
                self.assertAlmostEqual(blended, share * first + (1 - share) * last, places=5)
        words = ["export", "--checkpoint", self.out, "--out", self.folder / "no.gguf", *exact, "--blend", self.model]
        done = run(BIN / "hearth-train", *words, "--blend-share", 2)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--blend-share", done.stderr)


class MakeTest(FolderTest):
    """What `make train` and `make learn` would run."""

    def plan(self, target="train", *words):
        words = [f"TRAINED={self.out}", f"LEARNT={self.out}", "MODEL=models/default.gguf", "MINUTES=5", *words]
        done = run("make", "-n", "-C", ROOT, target, *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.replace("\\\n", " ")

    def test_an_unfinished_run_comes_first_then_the_chain_then_the_shipped_file(self):
        self.assertRegex(self.plan(), r"hearth-train run .*--minutes 5 +--from models/default\.gguf")
        (self.out / "stable.bin").touch()
        self.assertRegex(self.plan(), rf"hearth-train run .*--minutes 5 +--chain {self.out}")
        (self.out / "unfinished").touch()
        said = self.plan()
        self.assertRegex(said, rf"hearth-train run .*--resume {self.out}")
        self.assertNotIn("--minutes", said)

    def test_the_shipped_file_is_only_read(self):
        said = self.plan()
        self.assertRegex(said, rf"hearth-train export .*--like models/default\.gguf --out {self.out}/model\.gguf")
        self.assertNotIn("--out models", said)

    def test_learning_begins_from_the_shipped_file_and_goes_on_where_it_was(self):
        said = self.plan("learn", "PROJECTS=a b")
        self.assertRegex(said, rf"pack_projects\.py {self.out}/corpus\.pack a b ")
        self.assertRegex(said, r"hearth-train run .*--weights experts .*--epochs 2 --from models/default\.gguf")
        self.assertRegex(said, rf"export .*--blend models/default\.gguf --blend-share 0\.25 --out {self.out}/model\.gguf")
        (self.out / "unfinished").touch()
        self.assertRegex(self.plan("learn", "PROJECTS=a b"), rf"hearth-train run .*--resume {self.out}")


if __name__ == "__main__":
    unittest.main()
