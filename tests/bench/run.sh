#!/usr/bin/env bash
# What `make bench` runs: speed on this machine, printed as Markdown. The model is HEARTH_MODEL, else the default one.
set -euo pipefail
build=$(realpath "$1")
bench=$(realpath "$(dirname "$0")")
root=$(realpath "$bench/../..")
model=${HEARTH_MODEL:-$root/models/default.gguf}
HEARTH_RUNTIME_DIR=$(mktemp -d)
export HEARTH_RUNTIME_DIR HEARTH_MODEL="$model"
trap '"$build/bin/hearth" stop >/dev/null 2>&1 || true; rm -rf "$HEARTH_RUNTIME_DIR"' EXIT

echo "## $(date -u +%F), $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $("$build/bin/hearth" --version)"
echo
echo "### hearth bench --model $(basename "$model")"
"$build/bin/hearth" bench --model "$model" -r 5
echo
echo "### Start and memory"
python3 -B "$bench/start_up.py" "$build" --model "$model"
echo
echo "### Keystrokes into core/base/result.h and lsp/server/session.cpp"
"$build/bin/hearthd" 2>/dev/null &
until "$build/bin/hearth" status >/dev/null 2>&1; do sleep 0.01; done
for file in core/base/result.h lsp/server/session.cpp; do
    "$build/bin/hearth-bench-keystroke" "$root/$file" 200
    echo
done
"$build/bin/hearth" stop

echo "### Beside llama.cpp, on synthetic models"
if [ -z "${HEARTH_PEER:-}" ] && [ ! -d "$root/build/peer/node_modules" ]; then
    mkdir -p "$root/build/peer"
    cp "$root"/tests/bench/peer/{package.json,package-lock.json,.npmrc} "$root/build/peer/"
    npm --prefix "$root/build/peer" ci >/dev/null 2>&1 || echo "the peer could not be fetched"
fi
python3 -B "$bench/compare.py" "$build" "$root/build/peer"
echo
echo "### Suggestions beside llama-server"
python3 -B "$bench/keystrokes.py" "$build" "$root/build/peer"
echo
echo "### Logits beside llama.cpp"
python3 -B "$bench/logits.py" "$build" "$root/build/peer"
