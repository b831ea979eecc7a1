#include "training/tokenizer/tokenizer_file.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <istream>
#include <ostream>

namespace hearth::training {
namespace {

constexpr std::size_t kIdsMax = 65536;
constexpr std::size_t kSpecialCount = 64;
constexpr std::string_view kMagic = "hearth-tokenizer 1";

std::array<std::string, 256> make_byte_letters() {
    std::array<std::string, 256> letters;
    unsigned next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        const bool is_visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        const unsigned code = is_visible ? byte : next++;
        if (code < 0x80) {
            letters[byte] = {static_cast<char>(code)};
        } else {
            letters[byte] = {static_cast<char>(0xC0U | (code >> 6U)),
                             static_cast<char>(0x80U | (code & 0x3FU))};
        }
    }
    return letters;
}

const std::array<std::string, 256>& byte_letters() {
    static const std::array<std::string, 256> letters = make_byte_letters();
    return letters;
}

Failure broken(std::size_t line, const std::string& what) {
    return fail(ErrorCode::corrupt,
                "cannot read line " + std::to_string(line) + " of the tokenizer file: " + what,
                "tokenizer file");
}

/// Reads "NAME COUNT" and returns the count.
std::optional<std::size_t> parse_count(const std::string& line, std::string_view name) {
    if (line.size() <= name.size() + 1 || line.compare(0, name.size(), name) != 0) {
        return std::nullopt;
    }
    const std::string digits = line.substr(name.size() + 1);
    if (digits.size() > 6 || digits.find_first_not_of("0123456789") != std::string::npos) {
        return std::nullopt;
    }
    return std::stoul(digits);
}

}  // namespace

std::string to_byte_letters(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        text += byte_letters()[static_cast<unsigned char>(byte)];
    }
    return text;
}

std::vector<std::string> hearth_special_names() {
    std::vector<std::string> names = {"<|endoftext|>",
                                      "<|fim_prefix|>",
                                      "<|fim_middle|>",
                                      "<|fim_suffix|>",
                                      "<|fim_pad|>",
                                      "<|repo_name|>",
                                      "<|file_sep|>",
                                      "<|explain|>",
                                      "<|fix|>",
                                      "<|bug|>"};
    for (std::size_t slot = 0; names.size() < kSpecialCount; ++slot) {
        names.push_back("<|reserved_" + std::to_string(slot) + "|>");
    }
    return names;
}

Result<TokenizerFile> TokenizerFile::make(std::string pre_tokenizer,
                                          const std::vector<Merge>& merges,
                                          std::vector<std::string> special_names) {
    TokenizerFile file;
    file.pre_tokenizer_ = std::move(pre_tokenizer);
    file.specials_ = std::move(special_names);
    file.merges_ = merges;
    std::unordered_map<std::string, TokenId> id_of;
    for (unsigned byte = 0; byte < 256; ++byte) {
        file.ordinary_.push_back({static_cast<char>(byte)});
        id_of.emplace(file.ordinary_.back(), static_cast<TokenId>(byte));
    }
    const auto refuse_size = [] {
        return fail(ErrorCode::invalid_argument, "more than 65536 tokens", "tokenizer file");
    };
    if (file.vocab_size() > kIdsMax) return refuse_size();
    for (const auto& [left, right] : merges) {
        if (left >= file.ordinary_.size() || right >= file.ordinary_.size()) {
            return fail(ErrorCode::invalid_argument,
                        "merge " + std::to_string(file.merged_ids_.size()) +
                            " joins a token that does not exist yet",
                        "tokenizer file");
        }
        std::string joined = file.ordinary_[left] + file.ordinary_[right];
        const auto [entry, is_new] =
            id_of.try_emplace(joined, static_cast<TokenId>(file.ordinary_.size()));
        file.merged_ids_.push_back(entry->second);
        if (is_new) {
            file.ordinary_.push_back(std::move(joined));
        }
        if (file.vocab_size() > kIdsMax) return refuse_size();
    }
    return file;
}

const std::string& TokenizerFile::token_bytes(TokenId id) const {
    return is_special(id) ? specials_.at(id - ordinary_.size()) : ordinary_[id];
}

std::optional<TokenId> TokenizerFile::find_special(std::string_view name) const {
    const auto found = std::ranges::find(specials_, name);
    if (found == specials_.end()) return std::nullopt;
    return static_cast<TokenId>(ordinary_.size() +
                                static_cast<std::size_t>(found - specials_.begin()));
}

std::vector<std::string> TokenizerFile::gguf_tokens() const {
    std::vector<std::string> tokens;
    for (const std::string& bytes : ordinary_) {
        tokens.push_back(to_byte_letters(bytes));
    }
    tokens.insert(tokens.end(), specials_.begin(), specials_.end());
    return tokens;
}

std::vector<std::string> TokenizerFile::gguf_merges() const {
    std::vector<std::string> lines;
    for (const auto& [left, right] : merges_) {
        lines.push_back(to_byte_letters(ordinary_[left]) + " " + to_byte_letters(ordinary_[right]));
    }
    return lines;
}

void TokenizerFile::write(std::ostream& stream) const {
    stream << kMagic << "\npre " << pre_tokenizer_ << "\nmerges " << merges_.size() << '\n';
    for (const std::string& line : gguf_merges()) {
        stream << line << '\n';
    }
    stream << "specials " << specials_.size() << '\n';
    for (const std::string& name : specials_) {
        stream << name << '\n';
    }
}

Result<TokenizerFile> TokenizerFile::parse(std::istream& stream) {
    std::size_t number = 0;
    std::string line;
    const auto next = [&] {
        ++number;
        return static_cast<bool>(std::getline(stream, line));
    };
    if (!next() || line != kMagic) {
        return broken(number, "expected '" + std::string(kMagic) + "'");
    }
    if (!next() || line.compare(0, 4, "pre ") != 0) return broken(number, "expected 'pre NAME'");
    std::string pre_tokenizer = line.substr(4);

    std::optional<std::size_t> count;
    if (next()) count = parse_count(line, "merges");
    if (!count) return broken(number, "expected 'merges COUNT'");
    std::unordered_map<std::string, TokenId> id_of;
    for (unsigned byte = 0; byte < 256; ++byte) {
        id_of.emplace(byte_letters()[byte], static_cast<TokenId>(byte));
    }
    std::vector<Merge> merges;
    for (std::size_t i = 0; i < *count; ++i) {
        const bool is_there = next();
        const std::size_t space = is_there ? line.find(' ') : std::string::npos;
        if (space == std::string::npos) return broken(number, "expected 'LEFT RIGHT'");
        const auto left = id_of.find(line.substr(0, space));
        const auto right = id_of.find(line.substr(space + 1));
        if (left == id_of.end() || right == id_of.end()) {
            return broken(number, "the merge joins a token that does not exist yet");
        }
        merges.emplace_back(left->second, right->second);
        id_of.try_emplace(left->first + right->first, static_cast<TokenId>(id_of.size()));
    }
    count.reset();
    if (next()) count = parse_count(line, "specials");
    if (!count) return broken(number, "expected 'specials COUNT'");
    std::vector<std::string> specials;
    for (std::size_t i = 0; i < *count; ++i) {
        if (!next() || line.empty()) return broken(number, "expected a special token");
        specials.push_back(line);
    }
    return make(std::move(pre_tokenizer), merges, std::move(specials));
}

Result<TokenizerFile> TokenizerFile::load(const std::string& path) {
    std::ifstream stream(path, std::ios::binary);
    if (!stream) {
        return fail(ErrorCode::not_found,
                    "cannot open " + path + "; make it with hearth-train-tokenizer",
                    "tokenizer file");
    }
    return parse(stream);
}

}  // namespace hearth::training
