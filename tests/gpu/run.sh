#!/usr/bin/env bash
# Tests and measures the CUDA backend on a machine with a GPU. It lies in the bundle that `make gpu-bundle` builds and uses
# only that: no network, no compiler, no Python. Prints one table, writes results.json beside it, and fails where a check does.
#
#   ./run.sh [--quick] [FOLDER FOR RESULTS]
set -uo pipefail
bundle=$(cd "$(dirname "$0")" && pwd)
quick=false
results=$bundle/results
for argument in "$@"; do
    case $argument in
        --quick) quick=true ;;
        -*) echo "usage: run.sh [--quick] [FOLDER]" >&2; exit 2 ;;
        *) results=$argument ;;
    esac
done
mkdir -p "$results"
engine=$bundle/bin/hearth-engine
tests=$bundle/bin/hearth-gpu-tests
export HEARTH_GPU_MODEL=$bundle/models/default.gguf
failed=0
json_parts=()
rows=()

for part in bin/hearth-engine bin/hearth-gpu-tests lib/hearth/backends/libhearth_cuda.so models/default.gguf; do
    if [ ! -e "$bundle/$part" ]; then
        echo "the bundle lacks $part: build it with \`make gpu-bundle\`"
        failed=1
    fi
done
[ "$failed" = 0 ] || exit 1

# row NAME VALUE; field NAME JSON
row() { rows+=("| $1 | $2 |"); }
field() { json_parts+=("\"$1\": $2"); }
quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\n\r' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }

# check NAME SECONDS COMMAND...: runs it, notes whether it passed.
check() {
    local name=$1 limit=$2 started=$SECONDS status=0
    shift 2
    timeout "$limit" "$@" >"$results/$name.log" 2>&1 || status=$?
    local taken=$((SECONDS - started))
    if [ "$status" = 0 ]; then
        row "$name" "passed, $taken s"
    else
        row "$name" "**FAILED** ($status), $taken s"
        failed=1
        echo "--- $name failed; the end of $results/$name.log:"
        tail -n 25 "$results/$name.log"
    fi
    field "$name" "{\"status\": $status, \"seconds\": $taken}"
}

device=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv,noheader 2>/dev/null | head -n 1)
build=$("$engine" --version)
row build "$build"
row device "${device:-unknown: nvidia-smi is not here}"
row date "$(date -u +%FT%TZ)"
field build "$(quoted "$build")"
field device "$(quoted "$device")"
field date "$(quoted "$(date -u +%FT%TZ)")"

check kernels 180 "$tests" "[cuda]~[program]"
check parity 180 "$tests" "[parity]"
grep '^parity' "$results/parity.log" || true
check models 240 "$tests" "[program]"
if ! $quick; then check long_context 180 "$tests" "[long]"; fi

sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null || true)
if $quick; then
    row sanitizer "left out: --quick"
elif [ -z "$sanitizer" ]; then
    row sanitizer "left out: compute-sanitizer is not here"
    field sanitizer null
else
    for tool in memcheck racecheck; do
        check "$tool" 240 "$sanitizer" --tool "$tool" --error-exitcode 9 "$tests" "[experts],[attention]"
    done
fi

bandwidth=$("$tests" "[bandwidth]" 2>/dev/null | awk '/^bandwidth_gb_s/ {print $2}')
row "memory, read and written" "${bandwidth:-?} GB/s"
field bandwidth_gb_s "${bandwidth:-null}"

# bench NAME ARGUMENTS...: one line of the table from the JSON that the engine writes.
benches=()
bench() {
    local name=$1 out
    shift
    out=$(timeout 180 "$engine" bench --backend cuda --json "$@" 2>"$results/bench_$name.log")
    if [ -z "$out" ]; then
        row "bench $name" "**FAILED**: $(tail -n 1 "$results/bench_$name.log")"
        failed=1
        return
    fi
    benches+=("\"$name\": $out")
    local medians
    medians=$(printf '%s' "$out" | tr -d '\n ' | grep -o '"median":[0-9.e+]*' | cut -d: -f2 | paste -sd' ')
    local bytes
    bytes=$(printf '%s' "$out" | tr -d '\n ' | grep -o '"bytes_per_token":[0-9]*' | cut -d: -f2)
    row "bench $name" "tokens/s, prefill then decode: $medians; $bytes bytes per token; share of bandwidth $(awk -v t="${medians##* }" -v b="$bytes" -v g="${bandwidth:-0}" 'BEGIN {if (g > 0) printf "%.1f %%", t * b / g / 1e7; else printf "?"}')"
}
bench default --model "$HEARTH_GPU_MODEL" -r 5
HEARTH_CUDA_GRAPHS=0 bench default_without_graphs --model "$HEARTH_GPU_MODEL" -r 3
if "$engine" bench --help | grep -q -- --synthetic; then
    models="deepseek-v2-lite:Q4_K_M"
    if ! $quick; then models="$models qwen3-30b-a3b:Q4_K_M granite-1b:Q8_0 deepseek-v3-slice:Q4_K_M"; fi
    for model in $models; do
        depths=0
        if ! $quick; then depths="0 4096 16384"; fi
        for depth in $depths; do
            bench "${model//[:.]/_}_at_$depth" --synthetic "$model" -d "$depth" -r 3
        done
    done
else
    row "bench of real shapes" "left out: this build's bench has no --synthetic"
fi

printf '| what | result |\n| --- | --- |\n' >"$results/table.md"
printf '%s\n' "${rows[@]}" >>"$results/table.md"
cat "$results/table.md"
{
    printf '{\n'
    printf '  %s,\n' "${json_parts[@]}"
    printf '  "bench": {%s},\n' "$(IFS=,; printf '%s' "${benches[*]}")"
    printf '  "failed": %s\n}\n' "$([ "$failed" = 0 ] && echo false || echo true)"
} >"$results/results.json"
exit "$failed"
