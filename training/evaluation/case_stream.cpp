#include "training/evaluation/case_stream.h"

#include <sstream>

namespace hearth::evaluation {

namespace {
constexpr std::size_t kPartBytesMax = 1U << 20;
constexpr std::size_t kPartsMax = 256;
}  // namespace

Result<std::optional<CaseParts>> read_case(std::istream& stream, std::size_t parts_min) {
    std::string header;
    if (!std::getline(stream, header)) return std::optional<CaseParts>();
    std::istringstream numbers(header);
    CaseParts parts;
    std::size_t bytes = 0;
    while (stream && parts.size() < kPartsMax && numbers >> bytes && bytes <= kPartBytesMax) {
        stream.read(parts.emplace_back(bytes, '\0').data(), static_cast<std::streamsize>(bytes));
    }
    if (stream && numbers.eof() && parts.size() >= parts_min)
        return std::optional(std::move(parts));
    return fail(ErrorCode::corrupt,
                "the case '" + header + "' on the input is cut, too large, or has fewer than " +
                    std::to_string(parts_min) + " parts",
                "evaluation");
}

void write_answer(std::ostream& stream,
                  std::string words,
                  const std::vector<std::string_view>& texts) {
    for (const std::string_view text : texts) {
        words += ' ' + std::to_string(text.size());
    }
    stream << words << '\n';
    for (const std::string_view text : texts) {
        stream << text;
    }
    stream << std::flush;
}

}  // namespace hearth::evaluation
