// What bench prints: a table for people, JSON for programs.
#include <iomanip>
#include <ostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "core/cli/bench.h"

namespace hearth::cli {
namespace {

std::string fixed(double value, int digits) {
    std::ostringstream text;
    text << std::fixed << std::setprecision(digits) << value;
    return text.str();
}

std::string megabytes(double bytes) {
    return fixed(bytes / 1e6, 1) + " MB";
}

nlohmann::ordered_json to_json(const Rate& rate) {
    return {{"median", rate.median}, {"min", rate.min}, {"max", rate.max}};
}

/// One line of the table.
struct Row {
    std::string what;
    const Rate& rate;
    std::string bytes = "";  ///< per token
    std::string share = "";
    std::string first_token = "";
};

void print_row(std::ostream& out, const Row& row) {
    out << "| " << row.what << " | " << fixed(row.rate.median, 1) << " | " << fixed(row.rate.min, 1)
        << " to " << fixed(row.rate.max, 1) << " | " << row.bytes << " | " << row.share << " | "
        << row.first_token << " |\n";
}

void print_head(std::ostream& out, const BenchReport& report) {
    out << "model    " << report.model << " (" << report.architecture << ", " << report.weight_bytes
        << " bytes)\n"
        << "backend  " << report.backend << ": " << report.device << "\n"
        << "load     " << fixed(report.made_s, 3) << " s until the weights were at hand, "
        << fixed(report.load_s, 3) << " s until the first step\n"
        << "memory   weights " << megabytes(static_cast<double>(report.weight_bytes)) << ", cache "
        << megabytes(static_cast<double>(report.cache_bytes)) << " (kv_cache "
        << compute::traits(report.settings.cache_type).name << ')';
    if (report.device_bytes > 0) {
        out << ", on the device " << megabytes(static_cast<double>(report.device_bytes))
            << " in all";
    }
    out << "\nweights  " << report.bytes_per_token << " bytes read per token";
    if (report.read_bytes_per_s > 0.0) {
        out << "; the device reads " << fixed(report.read_bytes_per_s / 1e9, 1) << " GB/s";
    }
    if (report.result.kernels_per_token > 0) {
        out << "; " << report.result.kernels_per_token << " kernels per token";
    }
    if (report.host_expert_bytes > 0) {
        out << "\nexperts  " << megabytes(static_cast<double>(report.host_expert_bytes))
            << " in the host's memory; " << report.expert_uses.on_device << " of "
            << report.expert_uses.in_all << " uses found on the device";
    }
    out << "\n\n";
}

void print_keystroke(std::ostream& out, const BenchReport& report) {
    const Rate& ms = report.result.keystroke_ms;
    out << "\n| " << report.settings.run_count << " keystrokes | ms | spread |\n"
        << "| --- | --- | --- |\n"
        << "| " << kKeystrokeTokens << " tokens behind " << report.settings.keystroke_depth << ", "
        << kKeystrokeAnswerTokens << " tokens of answer | " << fixed(ms.median, 1) << " | "
        << fixed(ms.min, 1) << " to " << fixed(ms.max, 1) << " |\n";
}

void print_drafts(std::ostream& out, const DraftBench& drafts) {
    const auto row = [&out](const std::string& what, const Rate& rate, const std::string& rest) {
        out << "| " << what << " | " << fixed(rate.median, 1) << " | " << fixed(rate.min, 1)
            << " to " << fixed(rate.max, 1) << " | " << rest << " |\n";
    };
    out << "\n| " << drafts.answers << " answers of " << drafts.answer_tokens << " tokens behind "
        << drafts.prompt_tokens << " | tokens/s | spread | guessed by the block, right | ratio |\n"
        << "| --- | --- | --- | --- | --- |\n";
    row("without the model's own block", drafts.without, "| 1");
    row("with it",
        drafts.with,
        std::to_string(drafts.drafted) + ", " + fixed(100.0 * drafts.share_right(), 1) + " % | " +
            fixed(drafts.ratio(), 3));
}

}  // namespace

void print_table(std::ostream& out, const BenchReport& report) {
    print_head(out, report);
    const BenchSettings& settings = report.settings;
    out << "| " << settings.run_count
        << " runs | tokens/s | spread | read per token | of the device's rate | first token |\n"
        << "| --- | --- | --- | --- | --- | --- |\n";
    if (settings.prompt_tokens > 0) {
        print_row(out,
                  {.what = "prefill, " + std::to_string(settings.prompt_tokens) +
                           " tokens at depth " + std::to_string(settings.depths.front()),
                   .rate = report.result.prefill,
                   .first_token = fixed(report.first_token_ms(), 1) + " ms"});
    }
    for (std::size_t i = 0; i < report.result.decode.size(); ++i) {
        const std::int32_t depth = settings.depths[i];
        const Rate& rate = report.result.decode[i];
        const double share = report.share_at(depth, rate);
        print_row(out,
                  {.what = "decode, " + std::to_string(settings.decode_tokens) +
                           " tokens at depth " + std::to_string(depth),
                   .rate = rate,
                   .bytes = megabytes(report.bytes_at(depth)),
                   .share = share > 0.0 ? fixed(100.0 * share, 1) + " %" : ""});
        if (report.result.waited.empty()) continue;
        print_row(out, {.what = "the same, each step waited for", .rate = report.result.waited[i]});
    }
    for (std::size_t i = 0; i < report.result.throughput.size(); ++i) {
        const std::int32_t count = settings.sequence_counts[i];
        print_row(out,
                  {.what = std::to_string(count) + (count == 1 ? " sequence" : " sequences") +
                           " at depth " + std::to_string(settings.sequence_depth),
                   .rate = report.result.throughput[i]});
    }
    if (settings.keystroke_depth > 0) print_keystroke(out, report);
    if (report.drafts) print_drafts(out, *report.drafts);
}

std::string to_json(const BenchReport& report) {
    const BenchSettings& settings = report.settings;
    nlohmann::ordered_json json = {{"model", report.model},
                                   {"architecture", report.architecture},
                                   {"backend", report.backend},
                                   {"device", report.device},
                                   {"weight_bytes", report.weight_bytes},
                                   {"cache_bytes", report.cache_bytes},
                                   {"cache_type", compute::traits(report.settings.cache_type).name},
                                   {"device_bytes", report.device_bytes},
                                   {"made_s", report.made_s},
                                   {"load_s", report.load_s},
                                   {"bytes_per_token", report.bytes_per_token},
                                   {"cache_bytes_per_token", report.cache_bytes_per_token},
                                   {"read_bytes_per_s", report.read_bytes_per_s},
                                   {"kernels_per_token", report.result.kernels_per_token},
                                   {"host_expert_bytes", report.host_expert_bytes},
                                   {"expert_uses", report.expert_uses.in_all},
                                   {"expert_uses_on_device", report.expert_uses.on_device},
                                   {"runs", settings.run_count}};
    if (settings.prompt_tokens > 0) {
        json["prefill"] = {{"tokens", settings.prompt_tokens},
                           {"depth", settings.depths.front()},
                           {"tokens_per_s", to_json(report.result.prefill)},
                           {"first_token_ms", report.first_token_ms()}};
    }
    for (std::size_t i = 0; i < report.result.decode.size(); ++i) {
        const std::int32_t depth = settings.depths[i];
        json["decode"].push_back({{"tokens", settings.decode_tokens},
                                  {"depth", depth},
                                  {"tokens_per_s", to_json(report.result.decode[i])},
                                  {"bytes_per_token", report.bytes_at(depth)},
                                  {"share", report.share_at(depth, report.result.decode[i])}});
        if (report.result.waited.empty()) continue;
        json["decode"].back()["waited_tokens_per_s"] = to_json(report.result.waited[i]);
    }
    for (std::size_t i = 0; i < report.result.throughput.size(); ++i) {
        json["throughput"].push_back({{"sequences", settings.sequence_counts[i]},
                                      {"depth", settings.sequence_depth},
                                      {"tokens_per_s", to_json(report.result.throughput[i])}});
    }
    if (settings.keystroke_depth > 0) {
        json["keystroke"] = {{"depth", settings.keystroke_depth},
                             {"prompt_tokens", kKeystrokeTokens},
                             {"answer_tokens", kKeystrokeAnswerTokens},
                             {"ms", to_json(report.result.keystroke_ms)}};
    }
    if (report.drafts) {
        json["drafts"] = {{"answers", report.drafts->answers},
                          {"answer_tokens", report.drafts->answer_tokens},
                          {"prompt_tokens", report.drafts->prompt_tokens},
                          {"guessed", report.drafts->drafted},
                          {"right", report.drafts->right},
                          {"tokens_per_s", to_json(report.drafts->with)},
                          {"tokens_per_s_without", to_json(report.drafts->without)}};
    }
    return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace hearth::cli
