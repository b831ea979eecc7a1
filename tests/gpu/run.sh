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

check kernels 180 "$tests" "[cuda]~[program]~[expert_offload]"
check offload 120 "$tests" "[expert_offload]"
check parity 180 "$tests" "[parity]"
grep '^parity' "$results/parity.log" || true
check models 240 "$tests" "[program]"
HEARTH_CUDA_OVERLAP=1 check parity_with_overlap 180 "$tests" "[parity]"
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

# bench NAME ARGUMENTS...: the engine's own table, and its JSON beside it.
benches=()
bench() {
    local name=$1 status=0
    shift
    timeout 150 "$engine" bench --device cuda --json "$results/bench_$name.json" "$@" \
        >"$results/bench_$name.txt" 2>"$results/bench_$name.log" || status=$?
    if [ "$status" != 0 ]; then
        row "bench $name" "**FAILED** ($status): $(tail -n 1 "$results/bench_$name.log")"
        failed=1
        return
    fi
    row "bench $name" "below"
    benches+=("\"$name\": $(cat "$results/bench_$name.json")")
    tables+=("$results/bench_$name.txt")
}
tables=()
bench default --model "$HEARTH_GPU_MODEL" -r 5
HEARTH_CUDA_GRAPHS=0 bench default_without_graphs --model "$HEARTH_GPU_MODEL" -r 3
HEARTH_CUDA_OVERLAP=1 bench default_with_overlap --model "$HEARTH_GPU_MODEL" -r 5
if $quick; then
    bench deepseek-v2-lite --synthetic deepseek-v2-lite:Q4_K_M -p 2048 -n 128 -d 0 -r 3
else
    for model in deepseek-v2-lite:Q4_K_M qwen3-30b-a3b:Q4_K_M granite-1b:Q8_0 deepseek-v3-slice:Q4_K_M; do
        bench "${model%:*}" --synthetic "$model" -p 2048 -n 128 -d 0,4096,16384 --sequences 1,2,4,8,16,32,64 -r 3
        HEARTH_CUDA_OVERLAP=1 bench "${model%:*}_with_overlap" --synthetic "$model" -p 0 -n 128 -d 0 -r 3
    done
fi

printf '| what | result |\n| --- | --- |\n' >"$results/table.md"
printf '%s\n' "${rows[@]}" >>"$results/table.md"
for table in "${tables[@]}"; do
    printf '\n' && cat "$table"
done >>"$results/table.md"
cat "$results/table.md"
{
    printf '{\n'
    printf '  %s,\n' "${json_parts[@]}"
    printf '  "bench": {%s},\n' "$(IFS=,; printf '%s' "${benches[*]}")"
    printf '  "failed": %s\n}\n' "$([ "$failed" = 0 ] && echo false || echo true)"
} >"$results/results.json"
exit "$failed"
