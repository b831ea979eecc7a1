#include "training/evaluation/case_stream.h"

#include <sstream>

namespace hearth::evaluation {

namespace {
constexpr std::size_t kPartBytesMax = 1U << 20;
}  // namespace

Result<std::optional<CaseParts>> read_case(std::istream& stream, std::size_t count) {
    std::string header;
    if (!std::getline(stream, header)) return std::optional<CaseParts>();
    std::istringstream numbers(header);
    CaseParts parts(count);
    for (std::string& part : parts) {
        std::size_t bytes = 0;
        if (numbers >> bytes && bytes <= kPartBytesMax) {
            part.resize(bytes);
            stream.read(part.data(), static_cast<std::streamsize>(bytes));
        }
        if (numbers && bytes <= kPartBytesMax && stream) continue;
        return fail(ErrorCode::corrupt,
                    "the case '" + header + "' on the input is cut or too large",
                    "evaluation");
    }
    if (std::string more; numbers >> more) {
        return fail(ErrorCode::corrupt,
                    "the case '" + header + "' on the input has more than " +
                        std::to_string(count) + " parts",
                    "evaluation");
    }
    return std::optional(std::move(parts));
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
