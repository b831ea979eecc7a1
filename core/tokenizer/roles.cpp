#include "core/tokenizer/roles.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::tokenizer {
namespace {

using Names = std::initializer_list<std::string_view>;

class RoleFinder {
  public:
    RoleFinder(const formats::GgufFile& file, const Vocabulary& vocabulary)
        : file_(file),
          vocabulary_(vocabulary) {}

    /// The first key (without its common start) that gives a token, else the first name that is
    /// one.
    [[nodiscard]] std::optional<TokenId> find(Names keys, Names names) const {
        for (const std::string_view key : keys) {
            const auto id = file_.find_integer("tokenizer.ggml." + std::string(key));
            if (id && vocabulary_.holds(*id)) return static_cast<TokenId>(*id);
        }
        for (const std::string_view name : names) {
            if (const auto id = named(name)) return id;
        }
        return std::nullopt;
    }

    /// A normal token is no role, though it spell one ("</s>" is HTML): unless no token has a kind.
    [[nodiscard]] std::optional<TokenId> named(std::string_view name) const {
        const auto id = vocabulary_.find(name);
        if (!id || !vocabulary_.has_kinds) return id;
        const TokenKind kind = vocabulary_.kinds[static_cast<std::size_t>(*id)];
        return kind == TokenKind::normal ? std::nullopt : id;
    }

  private:
    const formats::GgufFile& file_;
    const Vocabulary& vocabulary_;
};

/// In the order of the lines: Qwen, StarCoder, SantaCoder, CodeLlama, DeepSeek, and others. The
/// "hole" of DeepSeek stands where the suffix begins, its "end" where the middle is to be written.
SpecialTokens find_special(const RoleFinder& finder) {
    SpecialTokens special;
    special.begin_of_text =
        finder.find({"bos_token_id"}, {"<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "<s>"});
    special.end_of_text = finder.find(
        {"eos_token_id"}, {"<|endoftext|>", "<｜end▁of▁sentence｜>", "<|end_of_text|>", "</s>"});
    special.end_of_turn = finder.find(
        {"eot_token_id"}, {"<|im_end|>", "<|eot_id|>", "<|EOT|>", "<|end|>", "<end_of_turn>"});
    special.fim_prefix = finder.find(
        {"fim_pre_token_id", "prefix_token_id"},
        {"<|fim_prefix|>", "<fim_prefix>", "<fim-prefix>", "<PRE>", "▁<PRE>", "<｜fim▁begin｜>"});
    special.fim_suffix = finder.find(
        {"fim_suf_token_id", "suffix_token_id"},
        {"<|fim_suffix|>", "<fim_suffix>", "<fim-suffix>", "<SUF>", "▁<SUF>", "<｜fim▁hole｜>"});
    special.fim_middle = finder.find(
        {"fim_mid_token_id", "middle_token_id"},
        {"<|fim_middle|>", "<fim_middle>", "<fim-middle>", "<MID>", "▁<MID>", "<｜fim▁end｜>"});
    special.fim_pad = finder.find({"fim_pad_token_id"}, {"<|fim_pad|>", "<fim_pad>", "<fim-pad>"});
    special.repo_name =
        finder.find({"fim_rep_token_id"}, {"<|repo_name|>", "<repo_name>", "<reponame>"});
    special.file_sep = finder.find({"fim_sep_token_id"}, {"<|file_sep|>", "<file_sep>"});
    return special;
}

}  // namespace

Roles find_roles(const formats::GgufFile& file, const Vocabulary& vocabulary) {
    const RoleFinder finder(file, vocabulary);
    Roles roles;
    roles.special = find_special(finder);
    const SpecialTokens& special = roles.special;
    roles.special.adds_begin_of_text =
        special.begin_of_text.has_value() && file.find_bool("tokenizer.ggml.add_bos_token") == true;
    if (const std::string* mark = file.find_string("hearth.infill_mark")) {
        if (*mark == "line") roles.special.infill_mark = InfillMark::line;
        if (*mark == "none") roles.special.infill_mark = InfillMark::none;
    }
    const auto add = [&roles](std::optional<TokenId> id) {
        auto& tokens = roles.end_tokens;
        if (id && std::find(tokens.begin(), tokens.end(), *id) == tokens.end())
            tokens.push_back(*id);
    };
    add(special.end_of_text);
    add(special.end_of_turn);
    add(finder.find({"eom_token_id"}, {"<|eom_id|>"}));
    if (special.infill_mark != InfillMark::cursor) add(special.fim_middle);
    add(special.fim_pad);
    add(special.repo_name);
    add(special.file_sep);
    for (const std::string_view name : {"<|endoftext|>",
                                        "<|im_end|>",
                                        "<|end_of_text|>",
                                        "<|eot_id|>",
                                        "<|EOT|>",
                                        "<|end|>",
                                        "<end_of_turn>",
                                        "<EOT>",
                                        "▁<EOT>",
                                        "<｜end▁of▁sentence｜>",
                                        "</s>"}) {
        add(finder.named(name));
    }
    return roles;
}

}  // namespace hearth::tokenizer
