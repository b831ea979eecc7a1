#include "core/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "core/tokenizer/bpe.h"
#include "core/tokenizer/byte_text.h"
#include "core/tokenizer/pre_tokenizer.h"
#include "core/tokenizer/roles.h"
#include "core/tokenizer/vocabulary.h"

namespace hearth::tokenizer {
namespace {

/// Tokens that are found in text as a whole, before it is cut into pieces.
class WordFinder {
  public:
    struct Word {
        std::string_view text;
        TokenId id;
    };

    WordFinder() = default;
    /// The texts are borrowed and not empty.
    explicit WordFinder(std::vector<Word> words) : words_(std::move(words)) {
        std::sort(words_.begin(), words_.end(), [](const Word& a, const Word& b) {
            return a.text < b.text;
        });
        for (const Word& word : words_) {
            starts_[static_cast<std::uint8_t>(word.text[0])] = true;
        }
    }

    [[nodiscard]] bool is_empty() const { return words_.empty(); }

    /// The longest word that `text` starts with, or null.
    [[nodiscard]] const Word* find(std::string_view text) const {
        if (!starts_[static_cast<std::uint8_t>(text[0])]) return nullptr;
        const Word* found = nullptr;
        auto low = words_.begin();
        auto high = words_.end();
        // [low, high) are the words that share the first `depth` bytes of `text`; the one that is
        // no longer than that sorts first.
        for (std::size_t depth = 0; low != high; ++depth) {
            if (low->text.size() == depth) found = &*low++;
            if (depth == text.size()) break;
            const char next = text[depth];
            low = std::partition_point(low, high, [&](const Word& word) {
                return std::char_traits<char>::lt(word.text[depth], next);
            });
            high = std::partition_point(
                low, high, [&](const Word& word) { return word.text[depth] == next; });
        }
        return found;
    }

  private:
    std::vector<Word> words_;  ///< ascending
    std::array<bool, 256> starts_{};
};

/// A name like "<|im_end|>" or "[INST]": a user-defined token of this form steers the model and is
/// only taken from trusted text; others are plain words of the vocabulary, found in any text.
bool is_marker(std::string_view name) {
    return name.size() >= 3 && ((name.front() == '<' && name.back() == '>') ||
                                (name.front() == '[' && name.back() == ']'));
}

class GgufTokenizer final : public Tokenizer {
  public:
    GgufTokenizer(Vocabulary vocabulary, Bpe bpe, Roles roles, std::string pre_tokenizer)
        : vocabulary_(std::move(vocabulary)),
          bpe_(std::move(bpe)),
          roles_(std::move(roles)),
          pre_tokenizer_name_(std::move(pre_tokenizer)),
          pre_tokenizer_(parse_pre_tokenizer(pre_tokenizer_name_)) {
        mark_special();
        collect_words();
    }

    Result<std::vector<TokenId>> encode(std::string_view text,
                                        EncodeOptions options) const override {
        if (!pre_tokenizer_) {
            return fail(ErrorCode::unsupported,
                        "cannot encode text: the model names the pre-tokenizer '" +
                            pre_tokenizer_name_ +
                            "', and hearth knows gpt-2, qwen2 and deepseek-coder; use a model "
                            "with one of these",
                        "tokenizer");
        }
        std::vector<TokenId> tokens;
        tokens.reserve(text.size() / 3 + 1);
        const WordFinder& words = options.parses_special ? all_words_ : plain_words_;
        std::vector<std::string_view> pieces;
        std::size_t start = 0;
        for (std::size_t at = 0; at < text.size() && !words.is_empty();) {
            const WordFinder::Word* const word = words.find(text.substr(at));
            if (word == nullptr) {
                ++at;
                continue;
            }
            encode_words(text.substr(start, at - start), pieces, tokens);
            tokens.push_back(word->id);
            start = at += word->text.size();
        }
        encode_words(text.substr(start), pieces, tokens);
        return tokens;
    }

    std::string_view token_bytes(TokenId id) const override {
        return vocabulary_.holds(id) ? vocabulary_.bytes[static_cast<std::size_t>(id)]
                                     : std::string_view();
    }
    std::int32_t vocab_size() const override {
        return static_cast<std::int32_t>(vocabulary_.bytes.size());
    }
    std::optional<TokenId> find(std::string_view text) const override {
        return vocabulary_.find(text);
    }
    bool is_special(TokenId id) const override {
        return vocabulary_.holds(id) && is_special_[static_cast<std::size_t>(id)];
    }
    std::span<const TokenId> end_tokens() const override { return roles_.end_tokens; }
    const SpecialTokens& special() const override { return roles_.special; }
    std::string_view pre_tokenizer() const override { return pre_tokenizer_name_; }

  private:
    void encode_words(std::string_view text,
                      std::vector<std::string_view>& pieces,
                      std::vector<TokenId>& tokens) const {
        split(text, *pre_tokenizer_, pieces);
        for (const std::string_view piece : pieces) {
            bpe_.encode(piece, tokens);
        }
    }

    void mark_special() {
        is_special_.resize(vocabulary_.bytes.size());
        for (std::size_t id = 0; id < is_special_.size(); ++id) {
            const TokenKind kind = vocabulary_.kinds[id];
            is_special_[id] = kind == TokenKind::control || kind == TokenKind::unknown ||
                              kind == TokenKind::unused;
        }
        const SpecialTokens& special = roles_.special;
        for (const std::optional<TokenId> id : {special.begin_of_text,
                                                special.end_of_text,
                                                special.end_of_turn,
                                                special.fim_prefix,
                                                special.fim_suffix,
                                                special.fim_middle,
                                                special.fim_pad,
                                                special.repo_name,
                                                special.file_sep}) {
            if (id) is_special_[static_cast<std::size_t>(*id)] = true;
        }
        for (const TokenId id : roles_.end_tokens) {
            is_special_[static_cast<std::size_t>(id)] = true;
        }
    }

    void collect_words() {
        std::vector<WordFinder::Word> plain;
        std::vector<WordFinder::Word> all;
        for (const auto& [text, id] : vocabulary_.ids) {
            const TokenKind kind = vocabulary_.kinds[static_cast<std::size_t>(id)];
            const bool is_user_defined = kind == TokenKind::user_defined;
            if (text.empty() || kind == TokenKind::unused) continue;
            if (!is_user_defined && !is_special(id)) continue;
            all.push_back({text, id});
            if (is_user_defined && !is_special(id) && !is_marker(text)) plain.push_back({text, id});
        }
        plain_words_ = WordFinder(std::move(plain));
        all_words_ = WordFinder(std::move(all));
    }

    // Fixed after construction.
    const Vocabulary vocabulary_;
    const Bpe bpe_;
    const Roles roles_;
    const std::string pre_tokenizer_name_;
    const std::optional<PreTokenizer> pre_tokenizer_;
    std::vector<bool> is_special_;  ///< by id
    WordFinder plain_words_;
    WordFinder all_words_;
};

Failure refuse(ErrorCode code, const formats::GgufFile& file, const std::string& found) {
    return fail(code, "cannot read the vocabulary of " + file.path() + ": " + found, "tokenizer");
}

Result<Vocabulary> load_vocabulary(const formats::GgufFile& file) {
    const formats::GgufArray* const texts = file.find_array("tokenizer.ggml.tokens");
    if (texts == nullptr || texts->strings.empty()) {
        return refuse(ErrorCode::corrupt, file, "it has no tokens; convert the model again");
    }
    const std::size_t count = texts->strings.size();
    Vocabulary vocabulary;
    vocabulary.kinds.assign(count, TokenKind::normal);
    if (const auto* const kinds = file.find_array("tokenizer.ggml.token_type")) {
        if (kinds->integers.size() != count) {
            return refuse(ErrorCode::corrupt,
                          file,
                          std::to_string(count) + " tokens but " +
                              std::to_string(kinds->integers.size()) +
                              " token types; convert the model again");
        }
        vocabulary.has_kinds = true;
        for (std::size_t id = 0; id < count; ++id) {
            const std::int64_t kind = kinds->integers[id];
            // 0 is "undefined" in old files; what else is not known is no ordinary text either.
            vocabulary.kinds[id] = kind == 0              ? TokenKind::normal
                                   : kind < 0 || kind > 6 ? TokenKind::unused
                                                          : static_cast<TokenKind>(kind);
        }
    }
    vocabulary.bytes.reserve(count);
    for (std::size_t id = 0; id < count; ++id) {
        const std::string& text = texts->strings[id];
        const bool is_byte_text = vocabulary.kinds[id] == TokenKind::normal;
        vocabulary.bytes.push_back(is_byte_text ? from_byte_text(text) : text);
    }
    vocabulary.ids.reserve(count);
    for (const bool is_normal : {false, true}) {
        for (std::size_t id = 0; id < count; ++id) {
            if ((vocabulary.kinds[id] == TokenKind::normal) != is_normal) continue;
            vocabulary.ids.try_emplace(vocabulary.bytes[id], static_cast<TokenId>(id));
        }
    }
    return vocabulary;
}

/// The merges name tokens by their byte text, so they are looked up among the file's own texts.
Result<Bpe> load_bpe(const formats::GgufFile& file, const Vocabulary& vocabulary) {
    const auto& texts = file.find_array("tokenizer.ggml.tokens")->strings;
    std::unordered_map<std::string_view, TokenId> normal_ids;
    normal_ids.reserve(texts.size());
    for (std::size_t id = 0; id < texts.size(); ++id) {
        if (vocabulary.kinds[id] != TokenKind::normal) continue;
        normal_ids.try_emplace(texts[id], static_cast<TokenId>(id));
    }
    const auto id_of = [&normal_ids](std::string_view text) {
        const auto found = normal_ids.find(text);
        return found == normal_ids.end() ? kNoToken : found->second;
    };
    std::array<TokenId, 256> byte_tokens{};
    for (std::size_t byte = 0; byte < byte_tokens.size(); ++byte) {
        byte_tokens[byte] = id_of(to_byte_text(std::string(1, static_cast<char>(byte))));
    }
    const formats::GgufArray* const merges = file.find_array("tokenizer.ggml.merges");
    if (merges == nullptr) {
        return refuse(ErrorCode::corrupt, file, "it has no merges; convert the model again");
    }
    std::vector<MergeRule> rules;
    rules.reserve(merges->strings.size());
    std::string joined;
    for (const std::string& merge : merges->strings) {
        const std::size_t space = merge.find(' ', 1);
        MergeRule rule{kNoToken, kNoToken, kNoToken};
        if (space != std::string::npos) {
            const std::string_view left = std::string_view(merge).substr(0, space);
            const std::string_view right = std::string_view(merge).substr(space + 1);
            joined.assign(left).append(right);
            rule = {id_of(left), id_of(right), id_of(joined)};
        }
        if (rule.left == kNoToken || rule.right == kNoToken || rule.merged == kNoToken) {
            return refuse(ErrorCode::corrupt,
                          file,
                          "merge " + std::to_string(rules.size()) +
                              " is not made of its tokens; convert the model again");
        }
        rules.push_back(rule);
    }
    return Bpe(byte_tokens, rules);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::from_gguf(const formats::GgufFile& file) {
    const std::string* const model = file.find_string("tokenizer.ggml.model");
    if (model == nullptr) {
        return refuse(ErrorCode::corrupt, file, "it has none; use the file of a language model");
    }
    if (*model != "gpt2") {
        return refuse(ErrorCode::unsupported,
                      file,
                      "it is of the kind '" + *model +
                          "', and hearth reads byte-level BPE ('gpt2'); use another model");
    }
    HEARTH_TRY(Vocabulary vocabulary, load_vocabulary(file));
    HEARTH_TRY(Bpe bpe, load_bpe(file, vocabulary));
    Roles roles = find_roles(file, vocabulary);
    const std::string* const pre = file.find_string("tokenizer.ggml.pre");
    return std::shared_ptr<const Tokenizer>(
        std::make_shared<GgufTokenizer>(std::move(vocabulary),
                                        std::move(bpe),
                                        std::move(roles),
                                        pre == nullptr ? std::string() : *pre));
}

std::string Tokenizer::decode(std::span<const TokenId> tokens) const {
    std::string text;
    for (const TokenId token : tokens) {
        text += token_bytes(token);
    }
    return text;
}

}  // namespace hearth::tokenizer
