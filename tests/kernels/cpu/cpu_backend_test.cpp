#include "kernels/cpu/cpu_backend.h"

#include <stdlib.h>

#include <limits>

#include <catch2/catch.hpp>

#include "kernels/cpu/isa.h"

namespace hearth::cpu {
namespace {

TEST_CASE("the backend says what it runs on", "[cpu][backend]") {
    const std::string isa(to_string(choose_isa(getenv("HEARTH_CPU_ISA")).value()));
    const auto two = make_cpu_backend({.thread_count = 2});
    REQUIRE(two);
    CHECK((*two)->name() == "cpu");
    CHECK((*two)->description() == "2 threads, " + isa);
    const auto one = make_cpu_backend({.thread_count = 1});
    REQUIRE(one);
    CHECK((*one)->description() == "1 thread, " + isa);
    CHECK(make_cpu_backend({}));
}

TEST_CASE("the rate of reading memory is measured for any size", "[cpu][backend]") {
    for (const std::int32_t threads : {1, 3}) {
        const auto backend = make_cpu_backend({.thread_count = threads});
        REQUIRE(backend);
        for (const std::int64_t bytes : {0, 100, 3'000'000}) {
            CHECK((*backend)->measure_read_rate(bytes) > 1e6);
        }
        const auto memory = (*backend)->memory();
        REQUIRE(memory);
        CHECK(memory->is_host);
        CHECK(memory->free_bytes > 0);
        CHECK(memory->free_bytes <= memory->total_bytes);
    }
}

TEST_CASE("thread counts and caches that cannot be are refused", "[cpu][backend]") {
    for (const std::int32_t threads : {-1, 100'000}) {
        const auto backend = make_cpu_backend({.thread_count = threads});
        REQUIRE_FALSE(backend);
        CHECK(backend.error().code == ErrorCode::invalid_argument);
    }
    const auto backend = make_cpu_backend({.thread_count = 1});
    REQUIRE(backend);
    const auto empty = (*backend)->make_kv_store({.layer_count = 1, .key_dim = 8}, 0);
    REQUIRE_FALSE(empty);
    CHECK(empty.error().code == ErrorCode::invalid_argument);
    const auto huge = (*backend)->make_kv_store({.layer_count = 1 << 20, .key_dim = 1 << 30},
                                                std::numeric_limits<std::int32_t>::max());
    REQUIRE_FALSE(huge);
    CHECK(huge.error().code == ErrorCode::out_of_memory);
}

}  // namespace
}  // namespace hearth::cpu
