// The door of core/tokenizer: text <-> tokens by byte-level BPE, as a GGUF file's metadata defines
// it. Public headers: tokenizer.h, stream_decoder.h, pre_tokenizer.h, byte_text.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/formats/gguf.h"

namespace hearth::tokenizer {

using TokenId = std::int32_t;

/// Where an infill prompt has fim_middle.
enum class InfillMark {
    cursor,  ///< behind the prefix: as most models have learnt it
    line,    ///< before the cursor's line: tokens near the cursor stay those of whole words
    none,    ///< nowhere: the model goes on behind the prefix
};

/// The special tokens that hearth asks for by role. Empty where the vocabulary has none.
struct SpecialTokens {
    std::optional<TokenId> begin_of_text;
    std::optional<TokenId> end_of_text;
    std::optional<TokenId> end_of_turn;
    std::optional<TokenId> fim_prefix, fim_suffix, fim_middle, fim_pad;
    std::optional<TokenId> repo_name, file_sep;
    InfillMark infill_mark = InfillMark::cursor;
    bool adds_begin_of_text = false;  ///< the model expects begin_of_text at position 0
};

struct EncodeOptions {
    /// True: the text of a special token in `text` becomes that token (trusted text: prompts of the
    /// user's own making). False: it is encoded as ordinary text (everything that comes from a
    /// document or a plugin). Words that a vocabulary adds without being markers ("<...>", "[...]")
    /// are found in any text, as the models were trained.
    bool parses_special = false;
};

/// Thread: any; immutable after load.
class Tokenizer {
  public:
    /// Reads vocabulary, merges and roles. Roles come from metadata, else from the well-known names
    /// of the field (Qwen, StarCoder, CodeLlama, DeepSeek).
    ///
    /// Errors: corrupt (no or broken vocabulary), unsupported (not a BPE vocabulary). An unknown
    /// pre-tokenizer is no error here: encode() reports it, so that commands which never encode
    /// work on such a file.
    static Result<std::shared_ptr<const Tokenizer>> from_gguf(const formats::GgufFile& file);

    virtual ~Tokenizer() = default;
    Tokenizer(const Tokenizer&) = delete;
    Tokenizer& operator=(const Tokenizer&) = delete;

    /// `text` is UTF-8; broken sequences are encoded byte by byte and come back the same, except
    /// that a byte for which the vocabulary has no token becomes U+FFFD. Adds nothing at the ends.
    ///
    /// Errors: unsupported (pre-tokenizer unknown, named).
    [[nodiscard]] virtual Result<std::vector<TokenId>> encode(std::string_view text,
                                                              EncodeOptions options = {}) const = 0;

    /// The bytes of one token; for a special token its name, for an id outside the vocabulary
    /// nothing.
    [[nodiscard]] virtual std::string_view token_bytes(TokenId id) const = 0;
    /// All bytes in a row, special tokens included.
    [[nodiscard]] std::string decode(std::span<const TokenId> tokens) const;

    [[nodiscard]] virtual std::int32_t vocab_size() const = 0;
    /// The id of the token whose text is exactly `text`, special or not.
    [[nodiscard]] virtual std::optional<TokenId> find(std::string_view text) const = 0;
    /// Special tokens never appear in text that is shown.
    [[nodiscard]] virtual bool is_special(TokenId id) const = 0;
    /// Tokens that end an answer: end of text, end of turn, and the file separators of
    /// repository-trained models.
    [[nodiscard]] virtual std::span<const TokenId> end_tokens() const = 0;
    [[nodiscard]] virtual const SpecialTokens& special() const = 0;
    /// "qwen2", as the file names it.
    [[nodiscard]] virtual std::string_view pre_tokenizer() const = 0;

  protected:
    Tokenizer() = default;
};

}  // namespace hearth::tokenizer
