#!/usr/bin/env bash
# Tests and measures the CUDA backend on a machine with a GPU. It lies in the bundle that `make gpu-bundle` builds and uses
# only that: no network, no compiler, no Python. Prints one table, writes results.json beside it, and fails where a check does
# or none ran. What the time is over for is named. HEARTH_TEST_SEED repeats the random inputs of an earlier run.
#
#   ./run.sh [--quick | --sanitizers] [--deadline SECONDS] [FOLDER FOR RESULTS]
set -uo pipefail
usage() { echo "usage: run.sh [--quick | --sanitizers] [--deadline SECONDS] [FOLDER]" >&2; exit 2; }
bundle=$(cd "$(dirname "$0")" && pwd)
quick=false
only_sanitizers=false
deadline=
results=$bundle/results
while [ $# -gt 0 ]; do
    case $1 in
        --quick) quick=true ;;
        --sanitizers) only_sanitizers=true ;;
        --deadline) deadline=${2:-}; [[ $deadline =~ ^[0-9]+$ ]] || usage; shift ;;
        -*) usage ;;
        *) results=$1 ;;
    esac
    shift
done
if $quick && $only_sanitizers; then usage; fi
if [ -z "$deadline" ]; then deadline=$($quick && echo 120 || echo 540); fi
mkdir -p "$results"
engine=$bundle/bin/hearth-engine
tests=$bundle/bin/hearth-gpu-tests
export HEARTH_GPU_MODEL=$bundle/models/default.gguf
export HEARTH_TEST_SEED=${HEARTH_TEST_SEED:-$RANDOM}
failed=0
ran=0
json_parts=()
rows=()
not_run=()
benches=()

for part in bin/hearth-engine bin/hearth-gpu-tests lib/hearth/backends/libhearth_cuda.so models/default.gguf; do
    if [ ! -e "$bundle/$part" ]; then
        echo "the bundle lacks $part: build it with \`make gpu-bundle\`"
        failed=1
    fi
done
[ "$failed" = 0 ] || exit 1
if ! why=$(timeout 60 "$engine" models info "$HEARTH_GPU_MODEL" --device cuda 2>&1 >"$results/device.txt"); then
    why=${why:-hearth-engine did not answer within 60 s}
    echo "nothing here can run: ${why##*$'\n'}"
    exit 1
fi

# row NAME VALUE; field NAME JSON
row() { rows+=("| $1 | $2 |"); }
field() { json_parts+=("\"$1\": $2"); }
quoted() { printf '"%s"' "$(printf '%s' "$1" | tr -d '\n\r' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }
seconds_left() { echo $((deadline > SECONDS ? deadline - SECONDS : 0)); }

# limited SECONDS COMMAND...: runs it for at most so long, and not beyond the deadline: is_over says that this was in the way.
limited() {
    local limit=$1 left status=0
    left=$(seconds_left)
    shift
    is_over=true
    [ "$left" -gt 0 ] || return 1
    timeout "$((left < limit ? left : limit))" "$@" || status=$?
    [ "$status" = 124 ] && [ "$left" -lt "$limit" ] || is_over=false
    return "$status"
}
leave_out() {
    not_run+=("$1")
    row "$1" "**not run**: the time was over ($deadline s)"
}

# fault STATUS SECONDS: what became of a command that had so long.
fault() {
    if [ "$1" = 124 ]; then echo "**FAILED**: took longer than $2 s"; else echo "**FAILED** ($1)"; fi
}

# check NAME SECONDS COMMAND...: runs it, notes whether it passed.
check() {
    local name=$1 limit=$2 started=$SECONDS status=0
    shift 2
    limited "$limit" "$@" >"$results/$name.log" 2>&1 || status=$?
    $is_over && { leave_out "$name"; return; }
    local taken=$((SECONDS - started))
    ran=$((ran + 1))
    if [ "$status" = 0 ]; then
        row "$name" "passed, $taken s"
    else
        row "$name" "$(fault "$status" "$limit"), $taken s"
        failed=1
        echo "--- $name failed; the end of $results/$name.log:"
        tail -n 25 "$results/$name.log"
    fi
    field "$name" "{\"status\": $status, \"seconds\": $taken}"
}

# bench NAME ARGUMENTS...: the engine's own table, and its JSON beside it.
bench() {
    local name=$1 limit=150 status=0
    shift
    limited "$limit" "$engine" bench --device cuda --json "$results/bench_$name.json" "$@" \
        >"$results/bench_$name.txt" 2>"$results/bench_$name.log" || status=$?
    $is_over && { leave_out "bench $name"; return; }
    ran=$((ran + 1))
    if [ "$status" != 0 ]; then
        row "bench $name" "$(fault "$status" "$limit"): $(tail -n 1 "$results/bench_$name.log")"
        failed=1
        return
    fi
    benches+=("$name")
}

# joined FILES...: a row of the table for each JSON that bench wrote. It writes a value a line, which is all that is read here.
joined() {
    printf '| bench | decode, tokens/s at 0 | at 4,096 | at 16,384 | waited for, at 0 | kernels a token | read a token | of the memory'"'"'s rate |'
    printf ' prefill | first token of 2,048 | keystroke | 1 sequence | 2 | 4 | 8 | 16 | 32 | 64 | on the device | load |\n|'
    printf ' --- |%.0s' {1..20}
    printf '\n'
    local name
    for name in "$@"; do
        awk -v name="$name" '
            function leaf(text) { sub(/,$/, "", text); gsub(/"/, "", text); return text }
            function number(path, digits) { return (path in value) ? sprintf("%." digits "f", value[path]) : "" }
            function scaled(path, factor, digits, unit) {
                return (path in value) && value[path] > 0 ? sprintf("%." digits "f%s", value[path] * factor, unit) : ""
            }
            # The place in `list` whose `key` is `wanted`, or none.
            function place(list, key, wanted,    i) {
                for (i = 0; (list "." i "." key) in value; ++i) if (value[list "." i "." key] == wanted) return list "." i "."
                return "none."
            }
            {
                line = $0
                sub(/^ +/, "", line)
                if (line ~ /^[}\]]/) { --depth; next }
                key = ""
                if (match(line, /^"[^"]*": /)) { key = substr(line, 2, RLENGTH - 4); line = substr(line, RLENGTH + 1) }
                if (depth > 0) path = prefix[depth] (key == "" ? items[depth]++ : key)
                if (line ~ /^[{\[]$/) { ++depth; prefix[depth] = depth == 1 ? "" : path "."; items[depth] = 0; next }
                value[path] = leaf(line)
            }
            END {
                at = place("decode", "depth", 0)
                printf "| %s", name
                for (d = 0; d <= 16384; d = d == 0 ? 4096 : 4 * d) printf " | %s", number(place("decode", "depth", d) "tokens_per_s.median", 0)
                printf " | %s | %s", number(at "waited_tokens_per_s.median", 0), number("kernels_per_token", 0)
                printf " | %s | %s", scaled(at "bytes_per_token", 1e-6, 0, " MB"), scaled(at "share", 100, 1, " %")
                printf " | %s", number("prefill.tokens_per_s.median", 0)
                printf " | %s", value["prefill.tokens"] == 2048 ? scaled("prefill.first_token_ms", 1, 0, " ms") : ""
                printf " | %s", scaled("keystroke.ms.median", 1, 1, " ms")
                for (n = 1; n <= 64; n *= 2) printf " | %s", number(place("throughput", "sequences", n) "tokens_per_s.median", 0)
                printf " | %s | %s |\n", scaled("device_bytes", 1e-6, 0, " MB"), scaled("load_s", 1, 2, " s")
            }' "$results/bench_$name.json"
    done
}

device=$(nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv,noheader 2>/dev/null | head -n 1)
build=$("$engine" --version)
row build "$build"
row device "${device:-unknown: nvidia-smi is not here}"
row date "$(date -u +%FT%TZ)"
row seed "$HEARTH_TEST_SEED"
field build "$(quoted "$build")"
field device "$(quoted "$device")"
field date "$(quoted "$(date -u +%FT%TZ)")"
field seed "$(quoted "$HEARTH_TEST_SEED")"

check_all() {
    check kernels 180 "$tests" "[cuda]~[program]~[expert_offload]"
    check offload 120 "$tests" "[expert_offload]"
    check parity 180 "$tests" "[parity]"
    grep -s '^parity' "$results/parity.log" || true
    check models 240 "$tests" "[program]"
    HEARTH_CUDA_OVERLAP=1 check parity_with_overlap 180 "$tests" "[parity]"
    if ! $quick; then check long_context 180 "$tests" "[long]"; fi

    bandwidth=$(limited 60 "$tests" "[bandwidth]" 2>/dev/null | awk '/^bandwidth_gb_s/ {print $2}')
    row "memory, read and written" "${bandwidth:-?} GB/s"
    field bandwidth_gb_s "${bandwidth:-null}"

    bench default --model "$HEARTH_GPU_MODEL" -r 5 --keystroke
    HEARTH_CUDA_GRAPHS=0 bench default_without_graphs --model "$HEARTH_GPU_MODEL" -r 3
    HEARTH_CUDA_OVERLAP=1 bench default_with_overlap --model "$HEARTH_GPU_MODEL" -r 5
    if $quick; then
        bench deepseek-v2-lite --synthetic deepseek-v2-lite:Q4_K_M -p 2048 -n 128 -d 0 -r 3 --keystroke
    else
        for model in deepseek-v2-lite:Q4_K_M qwen3-30b-a3b:Q4_K_M granite-1b:Q8_0 deepseek-v3-slice:Q4_K_M; do
            bench "${model%:*}" --synthetic "$model" -p 2048 -n 128 -d 0,4096,16384 --sequences 1,2,4,8,16,32,64 -r 3 --keystroke
            HEARTH_CUDA_OVERLAP=1 bench "${model%:*}_with_overlap" --synthetic "$model" -p 0 -n 128 -d 0 -r 3
        done
    fi
}

check_with_sanitizers() {
    local sanitizer tool
    sanitizer=$(command -v compute-sanitizer || ls "${CUDA_HOME:-/usr/local/cuda}/bin/compute-sanitizer" 2>/dev/null || true)
    if [ -z "$sanitizer" ]; then
        row sanitizer "left out: compute-sanitizer is not here"
        field sanitizer null
        return
    fi
    for tool in memcheck racecheck; do
        check "$tool" 120 "$sanitizer" --tool "$tool" --error-exitcode 9 "$tests" "[experts],[attention]"
        check "${tool}_model" 120 "$sanitizer" --tool "$tool" --error-exitcode 9 "$tests" "[sanitize]"
    done
}

$only_sanitizers || check_all
# Last, because a sanitizer takes whatever time there is.
if $quick; then
    row sanitizer "left out: --quick"
else
    check_with_sanitizers
fi

if [ "$ran" = 0 ]; then
    failed=1
    row result "**nothing ran**"
fi
{
    printf '| what | result |\n| --- | --- |\n'
    printf '%s\n' "${rows[@]}"
    if [ ${#benches[@]} -gt 0 ]; then printf '\n' && joined "${benches[@]}"; fi
    for name in "${benches[@]}"; do
        printf '\n' && cat "$results/bench_$name.txt"
    done
} >"$results/table.md"
cat "$results/table.md"
{
    printf '{\n'
    printf '  %s,\n' "${json_parts[@]}"
    printf '  "not_run": [%s],\n' "$(for name in "${not_run[@]}"; do quoted "$name"; printf ','; done | sed 's/,$//')"
    printf '  "bench": {%s},\n' "$(for name in "${benches[@]}"; do quoted "$name"; printf ': '; cat "$results/bench_$name.json"; printf ','; done | sed '$ s/,$//')"
    printf '  "failed": %s\n}\n' "$([ "$failed" = 0 ] && echo false || echo true)"
} >"$results/results.json"
exit "$failed"
