#!/usr/bin/env python3
"""run.sh in a bundle of fake programs: what fails it, what the deadline leaves out, and its joined table."""

import json
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
import unittest
import unittest.mock

HERE = pathlib.Path(__file__).resolve().parent

# Notes its arguments; fails where FAILS names one of them, and hangs where HANGS does.
TESTS = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
echo "seed ${HEARTH_TEST_SEED:-none}"
[ "$*" = "[bandwidth]" ] && { echo "bandwidth_gb_s 3000.5"; exit 0; }
[ -n "${HANGS:-}" ] && [ "$*" = "$HANGS" ] && exec sleep 600
[ -n "${LATE:-}" ] && [ "$*" = "$LATE" ] && exit 124
[ -n "${FAILS:-}" ] && [ "$*" = "$FAILS" ] && { echo "a bit is wrong"; exit 3; }
echo "parity on code: KL 0.001"
"""

# --tool NAME --error-exitcode CODE PROGRAM FILTER
SANITIZER = """#!/usr/bin/env bash
echo "$2 $6" >>"$CALLS"
"""

ENGINE = """#!/usr/bin/env bash
[ "$1" = --version ] && { echo "hearth 1 (build \\"quoted\\")"; exit 0; }
[ "$1 $2" = "models info" ] && { [ -z "${NO_DEVICE:-}" ] || { echo a note >&2; echo "hearth-engine: $NO_DEVICE" >&2; exit 1; }; exit 0; }
while [ $# -gt 0 ]; do case $1 in --json) out=$2 ;; --synthetic) name=$2 ;; esac; shift; done
[ -n "${FAILS:-}" ] && [ "$FAILS" = "${name:-}" ] && { echo "no device memory" >&2; exit 4; }
echo "the table of ${name:-a file}"
cat "$REPORT" >"$out"
"""


def rate(median):
    return {"median": median, "min": median - 1, "max": median + 1}


# As bench_report.cpp writes it.
REPORT = {
    "model": "a, \"b\": [c]",
    "device_bytes": 10_809_000_000,
    "load_s": 2.149,
    "kernels_per_token": 250,
    "prefill": {"tokens": 2048, "depth": 0, "tokens_per_s": rate(7247.0), "first_token_ms": 282.6},
    "decode": [
        {"tokens": 128, "depth": 0, "tokens_per_s": rate(526.4), "bytes_per_token": 1_700_000_000, "share": 0.276,
         "waited_tokens_per_s": rate(431.0)},
        {"tokens": 128, "depth": 16384, "tokens_per_s": rate(311.0), "bytes_per_token": 2_000_000_000, "share": 0.2},
    ],
    "keystroke": {"depth": 3000, "ms": rate(38.24)},
    "throughput": [{"sequences": 2, "depth": 512, "tokens_per_s": rate(900.0)},
                   {"sequences": 64, "depth": 512, "tokens_per_s": rate(8000.0)}],
}


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.bundle = self.folder / "bundle"
        for part in ["bin", "lib/hearth/backends", "models", "tools"]:
            (self.bundle / part).mkdir(parents=True)
        shutil.copy(HERE / "run.sh", self.bundle)
        (self.bundle / "models/default.gguf").touch()
        (self.bundle / "lib/hearth/backends/libhearth_cuda.so").touch()
        self.calls = self.folder / "calls"
        self.calls.touch()
        (self.folder / "report.json").write_text(json.dumps(REPORT, indent=2) + "\n")
        self.program("bin/hearth-gpu-tests", TESTS)
        self.program("bin/hearth-engine", ENGINE)
        self.program("tools/compute-sanitizer", SANITIZER)

    def program(self, name, text):
        path = self.bundle / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def run_it(self, *arguments, **variables):
        environment = {**os.environ, **variables, "CALLS": str(self.calls), "REPORT": str(self.folder / "report.json"),
                       "PATH": f"{self.bundle / 'tools'}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", self.bundle / "run.sh", *arguments, self.folder / "results"],
                              env=environment, capture_output=True, text=True)
        results = self.folder / "results/results.json"
        return done, json.loads(results.read_text()) if results.exists() else None

    def test_all_passes_and_the_benches_are_one_table(self):
        done, results = self.run_it()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertFalse(results["failed"])
        self.assertEqual(results["not_run"], [])
        self.assertEqual(results["bandwidth_gb_s"], 3000.5)
        self.assertEqual(results["build"], 'hearth 1 (build "quoted")')
        self.assertEqual(results["bench"]["qwen3-30b-a3b"], REPORT)
        self.assertEqual(len(results["bench"]), 11)
        head, row = (next(line for line in done.stdout.splitlines() if line.startswith(start)).split("|")
                     for start in ["| bench |", "| deepseek-v2-lite |"])
        self.assertEqual(len(head), len(row))
        cells = {name.strip(): cell.strip() for name, cell in zip(head, row)}
        expected = {"decode, tokens/s at 0": "526", "at 4,096": "", "at 16,384": "311", "waited for, at 0": "431",
                    "kernels a token": "250", "read a token": "1700 MB", "of the memory's rate": "27.6 %", "prefill": "7247",
                    "first token of 2,048": "283 ms", "keystroke": "38.2 ms", "1 sequence": "", "2": "900", "64": "8000",
                    "on the device": "10809 MB", "load": "2.15 s"}
        self.assertEqual({name: cells[name] for name in expected}, expected)
        self.assertIn("the table of granite-1b:Q8_0", done.stdout)
        self.assertIn("parity on code: KL 0.001", done.stdout)

    def test_sanitizers_look_at_kernels_and_at_a_model(self):
        self.run_it()
        calls = self.calls.read_text().splitlines()
        for tool in ["memcheck", "racecheck"]:
            self.assertEqual([call for call in calls if call.startswith(tool)],
                             [f"{tool} [experts],[attention]", f"{tool} [sanitize]"])

    def test_sanitizers_alone_run_nothing_else(self):
        done, results = self.run_it("--sanitizers")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(len(self.calls.read_text().splitlines()), 4)
        self.assertEqual(results["racecheck_model"]["status"], 0)
        self.assertEqual(results["bench"], {})
        self.assertEqual(self.run_it("--sanitizers", "--quick")[0].returncode, 2)

    @unittest.skipIf(shutil.which("compute-sanitizer"), "it is on this machine")
    def test_sanitizers_alone_fail_where_there_is_none(self):
        (self.bundle / "tools/compute-sanitizer").unlink()
        done, _ = self.run_it("--sanitizers", CUDA_HOME="/nonexistent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("compute-sanitizer is not here", done.stdout)
        self.assertIn("**nothing ran**", done.stdout)

    def test_without_a_device_one_line_says_why(self):
        done, results = self.run_it(NO_DEVICE="no NVIDIA driver is installed")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "nothing here can run: hearth-engine: no NVIDIA driver is installed\n")
        self.assertIsNone(results)
        self.assertEqual(self.calls.read_text(), "")

    def test_a_check_that_takes_too_long_fails_by_name(self):
        done, results = self.run_it(LATE="[program]")
        self.assertEqual(done.returncode, 1)
        self.assertIn("| models | **FAILED**: took longer than 240 s, ", done.stdout)
        self.assertEqual(results["models"]["status"], 124)
        self.assertEqual(results["not_run"], [])

    def test_the_seed_is_drawn_unless_it_is_set_and_noted(self):
        environment = {name: value for name, value in os.environ.items() if name != "HEARTH_TEST_SEED"}
        with unittest.mock.patch.dict(os.environ, environment, clear=True):
            done, results = self.run_it("--quick")
            self.assertRegex(results["seed"], r"^\d+$")
            self.assertIn(f"| seed | {results['seed']} |", done.stdout)
            log = self.folder / "results/kernels.log"
            self.assertIn(f"seed {results['seed']}\n", log.read_text())
        self.assertEqual(self.run_it("--quick", HEARTH_TEST_SEED="77")[1]["seed"], "77")

    def test_a_check_that_fails_fails_the_run(self):
        done, results = self.run_it("--quick", FAILS="[expert_offload]")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(results["failed"])
        self.assertEqual(results["offload"]["status"], 3)
        self.assertIn("a bit is wrong", done.stdout)
        self.assertIn("| offload | **FAILED** (3)", done.stdout)
        self.assertEqual(results["kernels"]["status"], 0)

    def test_a_bench_that_fails_fails_the_run(self):
        done, results = self.run_it(FAILS="granite-1b:Q8_0")
        self.assertEqual(done.returncode, 1)
        self.assertIn("| bench granite-1b | **FAILED** (4): no device memory |", done.stdout)
        self.assertNotIn("granite-1b", results["bench"])
        self.assertIn("deepseek-v3-slice", results["bench"])

    def test_what_the_deadline_leaves_out_is_named_and_no_failure(self):
        done, results = self.run_it("--deadline", "10", HANGS="[parity]")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(results["kernels"]["status"], 0)
        self.assertEqual(results["not_run"][:3], ["parity", "models", "parity_with_overlap"])
        self.assertIn("bench deepseek-v2-lite", results["not_run"])
        self.assertIn("racecheck_model", results["not_run"])
        self.assertIn("| models | **not run**: the time was over (10 s) |", done.stdout)
        self.assertEqual(results["bench"], {})

    def test_a_run_without_any_part_is_a_failure(self):
        done, results = self.run_it("--deadline", "0")
        self.assertEqual(done.returncode, 1)
        self.assertTrue(results["failed"])
        self.assertIn("**nothing ran**", done.stdout)
        self.assertEqual(self.calls.read_text(), "")

    def test_a_missing_part_is_named(self):
        (self.bundle / "bin/hearth-gpu-tests").unlink()
        done, results = self.run_it()
        self.assertEqual(done.returncode, 1)
        self.assertIn("the bundle lacks bin/hearth-gpu-tests", done.stdout)
        self.assertIsNone(results)


if __name__ == "__main__":
    unittest.main()
