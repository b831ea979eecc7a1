#include "training/evaluation/case_stream.h"

#include <sstream>

namespace hearth::evaluation {

namespace {
constexpr std::size_t kPartBytesMax = 1U << 20;
}  // namespace

Result<std::optional<CaseParts>> read_case(std::istream& stream, PartCount count) {
    std::string header;
    if (!std::getline(stream, header)) return std::optional<CaseParts>();
    std::istringstream numbers(header);
    CaseParts parts;
    std::size_t bytes = 0;
    while (stream && parts.size() <= count.max && numbers >> bytes && bytes <= kPartBytesMax) {
        stream.read(parts.emplace_back(bytes, '\0').data(), static_cast<std::streamsize>(bytes));
    }
    const bool is_whole = stream && numbers.eof();
    if (is_whole && parts.size() >= count.min && parts.size() <= count.max) {
        return std::optional(std::move(parts));
    }
    return fail(ErrorCode::corrupt,
                "the case '" + header + "' on the input is cut, too large, or has not " +
                    std::to_string(count.min) + " to " + std::to_string(count.max) + " parts",
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
