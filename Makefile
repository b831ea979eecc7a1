# hearth: `make demo` shows it at work, `make test` proves it. Both install what is missing from Debian 12 first.
# Run as root, or with sudo at hand. `make help` lists the rest.

BUILD     := build/release
JOBS      ?= $(shell nproc)
SUDO      := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT       := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=500
BUILD_PACKAGES := g++ cmake ninja-build ccache git libboost1.81-dev nlohmann-json3-dev libcli11-dev
TEST_PACKAGES  := catch2 libsimde-dev libpcre2-dev python3 binutils neovim
CORPUS_PACKAGES := python3 dpkg-dev xz-utils bzip2
CHECK_PACKAGES := clang-14 clang-tidy-14 clang-format-14 libclang-rt-14-dev
SOURCES   = $(shell git ls-files '*.h' '*.cpp' '*.c' '*.cu' '*.cuh')

# $(call install,PACKAGES): installs those that are missing; asks nothing of the network when none is.
define install
	@missing=; for package in $(1); do \
	  dpkg-query -W -f='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  $(APT) -qq update && $(APT) -qq -y --no-install-recommends install $$missing >/dev/null; fi
endef

.PHONY: help demo test build check check-tsan check-asan check-tidy check-threads check-fuzz check-minimal bench evaluate train learn format clean \
        training-programs corpus shards cases calibrate check-gpu-training gpu-bundle packages test-packages check-packages

help:
	@echo "make demo     build, start the daemon on the default model, ask for a completion, an explanation, a fix"
	@echo "make test     build and run every test (release), and the unit tests under AddressSanitizer"
	@echo "make check    the slow rest: ThreadSanitizer, scenarios under AddressSanitizer, clang-tidy, thread safety, fuzzing,"
	@echo "              and a build without the daemon, which needs no Boost"
	@echo "make check-fuzz  only that: each target of tests/fuzz for FUZZ_SECONDS=60"
	@echo "make bench    speed and memory, printed as tables"
	@echo "make evaluate what models/default.gguf is worth: bits per byte, lines, explanations, fixes (MODEL= SHARDS= CASES= WINDOWS=)"
	@echo "make shards   what evaluation and training read: the corpus (2 GB of downloads), cut by the model's tokenizer (MODEL= CORPUS= SHARDS=)"
	@echo "make train    train the default model further on this machine's processor, into build/train (MINUTES=90 THREADS= CORPUS=)"
	@echo "make learn    teach the default model your own code (PROJECTS=\"FOLDER ...\" EPOCHS=2 BLEND_SHARE=0.25), into build/learnt; nothing leaves the machine"
	@echo "make gpu-bundle  build/gpu-bundle: what a machine with a GPU needs to test and measure the CUDA backend (run.sh)"
	@echo "make format   clang-format over every source"
	@echo "make clean    remove build/"

packages:
	$(call install,$(BUILD_PACKAGES))
test-packages: packages
	$(call install,$(TEST_PACKAGES))
check-packages: test-packages
	$(call install,$(CHECK_PACKAGES))

build: packages
	@cmake --preset release $(if $(wildcard $(BUILD)/CMakeCache.txt),,-DHEARTH_TESTS=OFF -DHEARTH_TRAINING=OFF) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target hearth hearthd hearth_plugins hearth_backends

demo: build
	@docs/demo/demo.sh $(BUILD)

test: test-packages
	@cmake --preset release -DHEARTH_TESTS=ON -DHEARTH_TRAINING=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)
	@cmake --preset asan >/dev/null
	@cmake --build build/asan -j $(JOBS) --target hearth_unit_tests
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ctest --test-dir build/asan --output-on-failure -j $(JOBS) -L unit -LE no_sanitizer
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)
	@test -e $(BUILD)/lib/hearth/backends/libhearth_cuda.so || echo "CUDA backend: not built, nvcc was not found"

check: check-tsan check-asan check-tidy check-threads check-fuzz check-minimal

# The rooms with threads, and the whole daemon.
check-tsan: check-packages
	@cmake --preset tsan >/dev/null
	@cmake --build build/tsan -j $(JOBS)
	@ctest --test-dir build/tsan --output-on-failure -j $(JOBS) -LE no_sanitizer \
	  -R 'base|engine|plugin_host|assist|lsp|kernels_cpu|scenario'

check-asan: check-packages
	@cmake --preset asan >/dev/null
	@cmake --build build/asan -j $(JOBS)
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ctest --test-dir build/asan --output-on-failure -j $(JOBS) -L scenario

check-tidy: check-packages
	@cmake --preset release -DHEARTH_TESTS=ON -DHEARTH_TRAINING=ON >/dev/null
	@mkdir -p build/tidy  # the same commands without what only g++ knows
	@sed -E 's/ -fno-tree-reassoc| -Wno-maybe-uninitialized//g' $(BUILD)/compile_commands.json >build/tidy/compile_commands.json
	@# Not kernels/cuda: it is compiled against two runtimes, and clang 14 cannot read the emulated one.
	@git ls-files 'core/*.cpp' 'lsp/*.cpp' 'kernels/*.cpp' 'plugins/*.cpp' 'training/*.cpp' ':!kernels/cuda' \
	  | xargs -P $(JOBS) -n 1 clang-tidy-14 --quiet -p build/tidy

# Finds a lock that is not held. Only declarations are read, so no library is needed.
check-threads: check-packages
	@# With AVX2 for the registers that vec_avx2.h names.
	@git ls-files 'core/*.cpp' 'lsp/*.cpp' 'kernels/cpu/*.cpp' | xargs -P $(JOBS) -n 1 clang++-14 -std=c++20 -I. \
	  -Iplugins/abi -mavx2 -fsyntax-only -Wthread-safety -Werror=thread-safety

# Whatever reads bytes from outside, under libFuzzer. What was learnt stays in build/fuzz/corpus for the next time.
FUZZ_SECONDS ?= 60
check-fuzz: check-packages
	@cmake --preset fuzz >/dev/null
	@cmake --build build/fuzz -j $(JOBS) --target hearth_fuzz_targets
	@tests/fuzz/run.sh build/fuzz $(FUZZ_SECONDS)

# What a machine without Boost builds: the engine, its commands and its tests.
check-minimal: check-packages
	@cmake --preset release -B build/minimal -DHEARTH_DAEMON=OFF -DHEARTH_TESTS=ON -DHEARTH_TRAINING=ON >/dev/null
	@cmake --build build/minimal -j $(JOBS)
	@! ninja -C build/minimal -t deps | grep /boost/

bench: test-packages
	@cmake --preset release -DHEARTH_TESTS=ON -DHEARTH_TRAINING=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS)
	@tests/bench/run.sh $(BUILD)

# Needs `make shards`. A quick look: CASES=30 WINDOWS=10; all: CASES=300.
# FULL=FILE.gguf is the same model in full precision. Interrupted, it goes on where it was.
MODEL   ?= models/default.gguf
CORPUS  ?= build/corpus
SHARDS  ?= $(CORPUS)/shards
CASES   ?= 50
WINDOWS ?= 50
RESULTS ?= models
PAIRS   ?= $(SHARDS)/train-explain.jsonl
KEPT    ?= build/evaluation
evaluate: test-packages
	@cmake --preset release $(if $(wildcard $(BUILD)/CMakeCache.txt),-DHEARTH_TRAINING=ON,-DHEARTH_TESTS=OFF) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target hearth-evaluate hearth_plugins
	@python3 -B training/evaluation/evaluate.py --program $(BUILD)/bin/hearth-evaluate --model $(MODEL) \
	  --shards $(SHARDS) --pairs $(PAIRS) --corpus $(CORPUS)/corpus.pack --cases $(CASES) --windows $(WINDOWS) --results $(RESULTS) \
	  --plugins $(BUILD)/lib/hearth/plugins --kept $(KEPT) $(if $(FULL),--full $(FULL))

# The constants of the product, chosen on the cases that `make evaluate` leaves alone; printed, to be written by hand. An hour or two.
calibrate: test-packages
	@cmake --preset release $(if $(wildcard $(BUILD)/CMakeCache.txt),-DHEARTH_TRAINING=ON,-DHEARTH_TESTS=OFF) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target hearth-evaluate hearth_plugins
	@python3 -B training/evaluation/calibrate.py --program $(BUILD)/bin/hearth-evaluate --model $(MODEL) \
	  --lines $(SHARDS)/eval-line.jsonl --corpus $(CORPUS)/corpus.pack --plugins $(BUILD)/lib/hearth/plugins --kept $(KEPT)

training-programs: packages
	@cmake --preset release $(if $(wildcard $(BUILD)/CMakeCache.txt),-DHEARTH_TRAINING=ON,-DHEARTH_TESTS=OFF) >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target hearth-train hearth-make-samples

# What was fetched is kept: interrupted, it goes on. Packages of npm need npm, which is not installed for them.
corpus:
	$(call install,$(CORPUS_PACKAGES))
	@python3 -B training/corpus/build_corpus.py $(CORPUS)

# A tokenizer that is not the model's would make noise of every shard.
shards: training-programs
	@[ -f $(CORPUS)/corpus.pack ] || $(MAKE) --no-print-directory corpus
	@mkdir -p $(SHARDS)
	@$(BUILD)/bin/hearth-train tokenizer --model $(MODEL) --out $(SHARDS)/tokenizer.txt
	@$(BUILD)/bin/hearth-make-samples $(CORPUS)/corpus.pack $(SHARDS)/tokenizer.txt $(SHARDS) $(SAMPLES)

# The evaluation cases alone, beside shards that are there.
cases: SAMPLES := --only cases
cases: shards

# One link of a chain: an interrupted run goes on; else one begins where the last one's constant rate ended, else from MODEL,
# which is only read: the result lies beside the checkpoints.
TRAINED ?= build/train
MINUTES ?= 90
THREADS ?= $(JOBS)
train: training-programs
	@$(BUILD)/bin/hearth-train run --data $(SHARDS) --out $(TRAINED) --threads $(THREADS) --step-tokens 4096 \
	  $(if $(wildcard $(TRAINED)/unfinished),--resume $(TRAINED),--minutes $(MINUTES) \
	  $(if $(wildcard $(TRAINED)/stable.bin),--chain $(TRAINED),--from $(MODEL))) \
	  || { code=$$?; [ $$code != 3 ] || echo "make train goes on from there" >&2; exit $$code; }
	@$(BUILD)/bin/hearth-train export --checkpoint $(TRAINED) --like $(MODEL) --out $(TRAINED)/model.gguf
	@echo "$(TRAINED)/model.gguf is the result. What it is worth: make evaluate MODEL=$(TRAINED)/model.gguf RESULTS=$(TRAINED)"
	@echo "To ship it: cp $(TRAINED)/model.gguf $(MODEL), then make evaluate"

# Teaches MODEL the code of projects of your own: PROJECTS="FOLDER ...". An interrupted run goes on. Some of the files are held out:
# by them is measured what it gave.
LEARNT ?= build/learnt
EPOCHS ?= 2
BLEND_SHARE ?= 0.25
learn: training-programs
	@[ -n "$(PROJECTS)" ] || { echo 'make learn wants PROJECTS="FOLDER ..."' >&2; exit 2; }
	@mkdir -p $(LEARNT)/shards
	@[ -f $(LEARNT)/unfinished ] || { python3 -B training/corpus/pack_projects.py $(LEARNT)/corpus.pack $(PROJECTS) && \
	  $(BUILD)/bin/hearth-train tokenizer --model $(MODEL) --out $(LEARNT)/tokenizer.txt && rm -f $(LEARNT)/shards/* && \
	  $(BUILD)/bin/hearth-make-samples $(LEARNT)/corpus.pack $(LEARNT)/tokenizer.txt $(LEARNT)/shards >/dev/null; }
	@$(BUILD)/bin/hearth-train run --data $(LEARNT)/shards --out $(LEARNT) --threads $(THREADS) --weights experts --step-tokens 4096 --rate 0.004 \
	  $(if $(wildcard $(LEARNT)/unfinished),--resume $(LEARNT),--epochs $(EPOCHS) --from $(MODEL)) \
	  || { code=$$?; [ $$code != 3 ] || echo "make learn goes on from there" >&2; exit $$code; }
	@$(BUILD)/bin/hearth-train export --checkpoint $(LEARNT) --like $(MODEL) --blend $(MODEL) --blend-share $(BLEND_SHARE) --out $(LEARNT)/model.gguf
	@rm -f $(LEARNT)/checkpoint.bin $(LEARNT)/stable.bin
	@[ -n "$$(find $(LEARNT)/shards -name 'heldout-*.bin' -size +0)" ] || { echo "too little is held out to say what it gave"; exit 0; }; \
	  for model in $(MODEL) $(LEARNT)/model.gguf; do echo "$$model, files held out:"; \
	  $(BUILD)/bin/hearth-train evaluate --model $$model --data $(LEARNT)/shards --tokenizer $(LEARNT)/tokenizer.txt || exit; done
	@echo "To use it: hearth stop, and \"model\": \"$(abspath $(LEARNT)/model.gguf)\" in hearth's settings (docs/configuration.md)"

format:
	@clang-format -i $(SOURCES)

# The PyTorch trainer against the engine, on the processor. Its only need, torch, is a large package of its own.
check-gpu-training:
	$(call install,python3-torch)
	@cmake --preset release -DHEARTH_TESTS=ON -DHEARTH_TRAINING=ON >/dev/null
	@cmake --build $(BUILD) -j $(JOBS) --target hearth hearth-train hearth-make-samples
	@ctest --test-dir $(BUILD) --output-on-failure -R training_gpu_trainer_test

# Programs that need nothing but a driver, for one architecture unless more are named (75;80;86;89;90a;120).
GPU_ARCHITECTURES ?= 90a
GPU_BUNDLE := build/gpu-bundle
GPU_BUNDLE_MAX_KB := 40960
gpu-bundle: test-packages
	@cmake --preset release -B build/gpu -DHEARTH_DAEMON=OFF -DHEARTH_TESTS=ON -DHEARTH_TRAINING=OFF -DHEARTH_CUDA=on \
	  -DHEARTH_CUDA_ARCHITECTURES="$(GPU_ARCHITECTURES)" -DCMAKE_EXE_LINKER_FLAGS="-static-libstdc++ -static-libgcc" \
	  -DCMAKE_MODULE_LINKER_FLAGS="-static-libstdc++ -static-libgcc" >/dev/null
	@cmake --build build/gpu -j $(JOBS) --target hearth-engine hearth-gpu-tests hearth_cuda
	@rm -rf $(GPU_BUNDLE) && mkdir -p $(GPU_BUNDLE)/bin $(GPU_BUNDLE)/lib/hearth/backends $(GPU_BUNDLE)/models
	@strip -o $(GPU_BUNDLE)/bin/hearth-engine build/gpu/bin/hearth-engine
	@strip -o $(GPU_BUNDLE)/bin/hearth-gpu-tests build/gpu/bin/hearth-gpu-tests
	@strip -o $(GPU_BUNDLE)/lib/hearth/backends/libhearth_cuda.so build/gpu/lib/hearth/backends/libhearth_cuda.so
	@cp tests/gpu/run.sh $(GPU_BUNDLE)/ && cp models/default.gguf $(GPU_BUNDLE)/models/
	@kb=$$(du -sck $(GPU_BUNDLE)/bin $(GPU_BUNDLE)/lib | tail -n 1 | cut -f1); \
	  echo "$(GPU_BUNDLE): programs and backend $$kb KiB, beside the model"; [ $$kb -le $(GPU_BUNDLE_MAX_KB) ]

clean:
	rm -rf build
