// The wide tile's shared memory: how rows are cut into phases, and that it does not matter for a
// single bit.
#include "kernels/cuda/project.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/wide_layout.h"
#include "tests/kernels/cuda/device_check.h"

namespace hearth::cuda::test {
namespace {

/// An emulated device with other shared memory, while this lives.
class SharedMemory {
  public:
    explicit SharedMemory(int bytes) : before_(simt::device.shared_bytes) {
        simt::device.shared_bytes = bytes;
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() { simt::device.shared_bytes = before_; }

  private:
    int before_;
};

TEST_CASE("rows too long for shared memory are multiplied in phases, with the same bits",
          "[cuda][project]") {
    std::mt19937 random(seed_of(45));
    constexpr std::int64_t kColumns = 4480;  // 140 chunks: strands of four and of five
    constexpr std::int64_t kRows = 41;
    constexpr int kTokens = 37;
    const TestWeight weight(compute::Dtype::q5_0, {kRows, kColumns}, random);
    const DeviceArray<float> x(random_values(kTokens * kColumns, random));
    const TestQ8 rounded(kTokens, kColumns);
    require(quantise({x.data(), kColumns}, rounded.rows, kTokens, kStream));
    const auto run = [&](int tokens) {
        const DeviceArray<float> out(static_cast<std::size_t>(tokens * kRows));
        ProjectArgs args;
        args.parts[0] = {.weight = weight.matrix(), .rows = kRows, .out = {out.data(), kRows}};
        args.part_count = 1;
        args.x = rounded.rows;
        require(project_q8(args, tokens, kStream));
        return out.read();
    };
    std::vector<float> all;
    const auto one = run(1);
    std::vector<int> shifts;
    for (const int kib : {512, 256, 160, 100, 24}) {
        INFO(kib << " KiB of shared memory");
        const SharedMemory shared(kib * 1024);
        const auto layout = find_wide_layout(kColumns, static_cast<std::size_t>(kib) * 1024, 128);
        shifts.push_back(layout ? layout->phase_shift : -1);
        const auto found = run(kTokens);
        if (all.empty()) {
            check_near(found, products(rounded.values(), weight.values(), kColumns), 2e-5);
            all = found;
        }
        CHECK(is_same(found, all));
        CHECK(is_same(one, {found.begin(), found.begin() + kRows}));
    }
    CHECK(shifts == std::vector<int>{0, 1, 2, 3, -1});  // -1: tiles of eight tokens serve
}

TEST_CASE("two blocks of the wide tile share a multiprocessor of an H100", "[cuda][project]") {
    constexpr std::size_t kBytesOfBlock = 227 * 1024;
    constexpr std::size_t kMore = 256;
    for (const int columns : {32, 1408, 2048, 2816, 7168, 10944}) {
        INFO(columns << " columns");
        const auto layout = find_wide_layout(columns, kBytesOfBlock, kMore);
        REQUIRE(layout);
        CHECK(2 * (layout->bytes + kMore + 1024) <= std::size_t{228} * 1024);
        CHECK((layout->phase_shift == 0) == (columns <= 2048));
    }
}

}  // namespace
}  // namespace hearth::cuda::test
