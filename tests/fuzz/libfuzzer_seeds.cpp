// Puts a target's seeds into the corpus folder before libFuzzer reads it: the first argument that
// is a folder.
#include <filesystem>
#include <fstream>

#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    for (int i = 1; i < *argc; ++i) {
        const std::filesystem::path folder((*argv)[i]);
        if (!std::filesystem::is_directory(folder)) continue;
        const std::vector<std::string> seeds = hearth::fuzz::seeds();
        for (std::size_t k = 0; k < seeds.size(); ++k) {
            HEARTH_ASSERT(seeds[k].size() <= hearth::fuzz::kInputBytesMax);
            std::ofstream(folder / ("seed-" + std::to_string(k)), std::ios::binary) << seeds[k];
        }
        break;
    }
    return 0;
}
