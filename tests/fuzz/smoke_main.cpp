// Drives a fuzz target without libFuzzer, so that it builds and is tried everywhere: the seeds,
// every seed cut short at a few places, and seeded random mutations of them. With files as
// arguments it runs those instead: that is how a finding is looked at with a debugger.
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/fuzz/fuzz.h"

namespace {

using hearth::fuzz::kInputBytesMax;

constexpr std::size_t kMutations = 3000;  // of all seeds together

/// Changes text the way that finds mistakes: single bits, odd numbers, missing and repeated parts,
/// parts of another seed.
class Mutator {
  public:
    std::string mutate(std::string text, const std::string& other) {
        for (std::size_t i = 1 + below(4); i > 0; --i) {
            change(text, other);
        }
        text.resize(std::min(text.size(), kInputBytesMax));
        return text;
    }

  private:
    std::size_t below(std::size_t end) { return end == 0 ? 0 : random_() % end; }

    std::string_view piece_of(const std::string& text) {
        const std::size_t begin = below(text.size());
        return std::string_view(text).substr(begin, below(32));
    }

    void change(std::string& text, const std::string& other) {
        constexpr std::array<std::uint64_t, 8> kOdd = {
            0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF};
        const std::size_t at = below(text.size());
        switch (below(7)) {
            case 0:
                if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
                break;
            case 1:
                if (!text.empty()) text[at] = static_cast<char>(below(256));
                break;
            case 2:
                text.erase(at, below(16));
                break;
            case 3:
                text.insert(at, std::string(piece_of(text)));
                break;
            case 4:
                text.insert(at, std::string(piece_of(other)));
                break;
            case 5: {
                const std::uint64_t number = kOdd[below(kOdd.size())];
                for (std::size_t i = 0; i < 8 && at + i < text.size(); ++i) {
                    text[at + i] = static_cast<char>(number >> (8 * i));
                }
                break;
            }
            default:
                text.resize(at);
                break;
        }
    }

    std::mt19937_64 random_{1};
};

void run(const std::string& text) {
    // A copy of its own size, so that AddressSanitizer sees a read behind its end.
    const std::vector<std::uint8_t> bytes(text.begin(), text.end());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
        std::ifstream file(argv[i], std::ios::binary);
        if (!file) {
            std::fprintf(stderr, "cannot open %s\n", argv[i]);
            return 1;
        }
        run({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
    }
    if (argc > 1) return 0;

    const std::vector<std::string> seeds = hearth::fuzz::seeds();
    HEARTH_ASSERT(!seeds.empty());
    Mutator mutator;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
        HEARTH_ASSERT(seeds[i].size() <= kInputBytesMax);
        run(seeds[i]);
        for (std::size_t part = 0; part < 8; ++part) {
            run(seeds[i].substr(0, seeds[i].size() * part / 8));
        }
        for (std::size_t k = 0; k < kMutations / seeds.size(); ++k) {
            const std::string& other = seeds[(i + k) % seeds.size()];
            run(mutator.mutate(seeds[i], other));
        }
    }
    return 0;
}
