#!/usr/bin/env bash
# What `make demo` runs: the daemon on the default model, one completion, one explanation, one fix, with timings.
# Uses a runtime folder of its own, so a daemon that is already at work is not touched.
set -euo pipefail
build=$1
here=$(realpath "$(dirname "$0")")
hearth=$(realpath "$build/bin/hearth")
HEARTH_RUNTIME_DIR=$(mktemp -d)
export HEARTH_RUNTIME_DIR
trap '"$hearth" stop >/dev/null 2>&1 || true; rm -rf "$HEARTH_RUNTIME_DIR"' EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# number NAME ANSWER: a whole number of the JSON answer.
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" <<<"$2"; }
# ask WORDS...: runs a command of hearth with --json and prints its text and times.
ask() {
    local answer text
    answer=$("$hearth" "$@" --json)
    text=$(printf '%b' "$(sed 's/.*"text":"\(.*\)","tokens".*/\1/' <<<"$answer")")
    sed 's/^/    /' <<<"${text:-(nothing that the model is sure of)}"
    echo "    [$(number tokens "$answer") tokens after $(number first_token_ms "$answer") ms," \
        "all in $(number total_ms "$answer") ms;" \
        "$(number cached_tokens "$answer") of $(number prompt_tokens "$answer") prompt tokens were cached]"
}

say "Starting the daemon"
started=$(date +%s%N)
"$build/bin/hearthd" >"$HEARTH_RUNTIME_DIR/demo.log" 2>&1 &
until "$hearth" status >/dev/null 2>&1; do
    kill -0 $! 2>/dev/null || { cat "$HEARTH_RUNTIME_DIR/demo.log" >&2; exit 1; }
    sleep 0.05
done
echo "    ready after $(( ($(date +%s%N) - started) / 1000000 )) ms"
"$hearth" status | sed 's/^/    /'

line=$(grep -n 'return $' "$here/queue.py" | cut -d: -f1)
say "Completion: queue.py, line $line, after \"return \""
(cd "$here" && ask complete queue.py --at "$line:16")

say "The same three characters later, \"return len\": nearly all of the prompt is cached"
sed 's/return $/return len/' "$here/queue.py" >"$HEARTH_RUNTIME_DIR/queue.py"
(cd "$HEARTH_RUNTIME_DIR" && ask complete queue.py --at "$line:19")

first=$(grep -n 'def push' "$here/queue.py" | cut -d: -f1)
say "Explanation of lines $first-$((first + 4))"
ask explain "$here/queue.py" --lines "$first-$((first + 4))"

line=$(grep -n 'self.items\[0$' "$here/queue.py" | cut -d: -f1)
say "Fix of line $line: $(sed -n "${line}p" "$here/queue.py" | sed 's/^ *//')"
ask fix "$here/queue.py" --lines "$line" --message "'[' was never closed"

say "In your editor"
cat <<TEXT
    The command of the language server is: $(realpath "$hearth") lsp
    Neovim    add $(realpath "$here/../../editors/neovim") to runtimepath, then: lua require("hearth").setup({})
    VS Code, Helix, Emacs, Vim, Kate, Sublime: docs/editors.md
TEXT

say "Stopping"
"$hearth" stop | sed 's/^/    /'
