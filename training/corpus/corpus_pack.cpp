#include "training/corpus/corpus_pack.h"

#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string_view>

namespace hearth::training {
namespace {

Failure broken(std::size_t record, const std::string& what) {
    return fail(ErrorCode::corrupt,
                "cannot read record " + std::to_string(record) + " of the corpus: " + what +
                    "; build the corpus again",
                "corpus");
}

}  // namespace

Result<std::vector<CorpusFile>> parse_corpus_pack(std::string_view bytes) {
    std::vector<CorpusFile> files;
    while (!bytes.empty()) {
        const std::size_t head_end = bytes.find('\n');
        if (head_end == std::string_view::npos) {
            return broken(files.size(), "the head line does not end");
        }
        std::string_view head = bytes.substr(0, head_end);
        bytes.remove_prefix(head_end + 1);
        std::array<std::string_view, 5> fields{};
        for (std::size_t i = 0; i < fields.size(); ++i) {
            const std::size_t tab = head.find('\t');
            if ((tab == std::string_view::npos) != (i + 1 == fields.size())) {
                return broken(files.size(), "the head line does not have five fields");
            }
            fields[i] = head.substr(0, tab);
            head.remove_prefix(tab == std::string_view::npos ? head.size() : tab + 1);
        }
        std::size_t size = 0;
        const char* const end = fields[4].data() + fields[4].size();
        const auto [parsed_end, error] = std::from_chars(fields[4].data(), end, size);
        if (error != std::errc{} || parsed_end != end || size >= bytes.size()) {
            return broken(
                files.size(),
                "it says it has " + std::string(fields[4]) + " bytes, but the file ends before");
        }
        if (bytes[size] != '\n' || (fields[0] != "train" && fields[0] != "heldout")) {
            return broken(files.size(), "split or length is wrong");
        }
        files.push_back({.language = std::string(fields[1]),
                         .package = std::string(fields[2]),
                         .path = std::string(fields[3]),
                         .text = std::string(bytes.substr(0, size)),
                         .is_heldout = fields[0] == "heldout"});
        bytes.remove_prefix(size + 1);
    }
    return files;
}

Result<std::vector<CorpusFile>> load_corpus_pack(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) {
        return fail(ErrorCode::not_found,
                    "cannot open " + path + "; build it with training/corpus/build_corpus.py",
                    "corpus");
    }
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    return parse_corpus_pack(bytes);
}

}  // namespace hearth::training
