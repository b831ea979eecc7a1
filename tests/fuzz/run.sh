#!/bin/sh
# Runs every fuzz target of a HEARTH_FUZZ build for some seconds: tests/fuzz/run.sh build/fuzz 60
# Fails on any finding and names the input, which the target itself takes as an argument:
# build/fuzz/bin/gguf_fuzz FILE, or the program of the same name in build/release/bin.
set -u
build=$1
seconds=$2
findings=$build/findings
mkdir -p "$findings"
failed=
for target in "$build"/bin/*_fuzz; do
  name=$(basename "$target")
  corpus=$build/corpus/$name
  mkdir -p "$corpus"
  if "$target" -max_total_time="$seconds" -max_len=8192 -rss_limit_mb=2048 -timeout=20 -use_value_profile=1 \
      -artifact_prefix="$findings/$name-" "$corpus" >"$build/$name.log" 2>&1; then
    echo "$name: nothing found, $(sed -n 's/^Done \(.*\) in .*/\1/p' "$build/$name.log")"
  else
    grep -v '^#' "$build/$name.log" | tail -n 60
    echo "$name: FAILED; the input is $(sed -n 's/.*Test unit written to //p' "$build/$name.log"), the log $build/$name.log"
    failed="$failed $name"
  fi
done
[ -z "$failed" ] || { echo "fuzzing failed:$failed"; exit 1; }
