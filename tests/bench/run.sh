#!/usr/bin/env bash
# What `make bench` runs: speed on this machine, printed as Markdown. The model is HEARTH_MODEL, else the default one. A part that
# fails leaves the others alone; it is named at the end, and the exit code is one.
set -uo pipefail
build=$(realpath "$1")
bench=$(realpath "$(dirname "$0")")
root=$(realpath "$bench/../..")
model=${HEARTH_MODEL:-$root/models/default.gguf}
HEARTH_RUNTIME_DIR=$(mktemp -d)
export HEARTH_RUNTIME_DIR HEARTH_MODEL="$model"
trap '"$build/bin/hearth" stop >/dev/null 2>&1 || true; rm -rf "$HEARTH_RUNTIME_DIR"' EXIT
failed=()

# part TITLE COMMAND...
part() {
    echo "### $1"
    "${@:2}" || failed+=("$1 (exit code $?)")
    echo
}

keystrokes() {
    "$build/bin/hearthd" 2>/dev/null &
    local daemon=$! code=0
    until "$build/bin/hearth" status >/dev/null 2>&1; do
        kill -0 "$daemon" 2>/dev/null || return 1
        sleep 0.01
    done
    for file in core/base/result.h lsp/server/session.cpp; do
        "$build/bin/hearth-bench-keystroke" "$root/$file" 200 || code=$?
        echo
    done
    "$build/bin/hearth" stop
    return "$code"
}

fetch_peer() {
    [ -z "${HEARTH_PEER:-}" ] && [ ! -d "$root/build/peer/node_modules" ] || return 0
    mkdir -p "$root/build/peer"
    cp "$root"/tests/bench/peer/{package.json,package-lock.json,.npmrc} "$root/build/peer/"
    npm --prefix "$root/build/peer" install >/dev/null 2>&1 || echo "the peer could not be fetched: npm is missing or failed"
}

beside() {
    python3 -B "$bench/$1" "$build" "$root/build/peer"
}

echo "## $(date -u +%F), $(nproc) cores of $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $("$build/bin/hearth" --version)"
echo
part "hearth bench --model $(basename "$model")" "$build/bin/hearth" bench --model "$model" -r 5
part "Start and memory" python3 -B "$bench/start_up.py" "$build" --model "$model"
part "Keystrokes into core/base/result.h and lsp/server/session.cpp" keystrokes
fetch_peer
part "Beside llama.cpp, on synthetic models" beside compare.py
part "Suggestions beside llama-server" beside keystrokes.py
part "Logits beside llama.cpp" beside logits.py
[ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}"; exit 1; }
