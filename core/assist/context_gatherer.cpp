#include "core/assist/context_gatherer.h"

#include <algorithm>
#include <utility>

#include "core/assist/text_lines.h"
#include "core/base/bounded_queue.h"

namespace hearth::assist {
namespace {

constexpr std::uint32_t kPiecesMax = 64;  // from one provider

}  // namespace

/// One question to all providers; shared with their jobs.
struct ContextGatherer::Inquiry {
    explicit Inquiry(std::size_t provider_count) : answers(provider_count) {}

    std::vector<std::shared_ptr<QueryContext>> contexts;  ///< by provider, of those that were asked
    BoundedQueue<std::size_t> answers;                    ///< indexes into contexts
};

ContextGatherer::ContextGatherer(plugin_host::PluginHost& plugins,
                                 std::unique_ptr<plugin_host::JobPool> pool,
                                 const ContextLimits& limits)
    : limits_(limits),
      plugins_(&plugins),
      pool_(std::move(pool)) {}

std::shared_ptr<ContextGatherer::Inquiry> ContextGatherer::ask(const QueryContext& query,
                                                               std::uint64_t cursor_byte) {
    const LockGuard lock(mutex_);
    if (pool_ == nullptr) return nullptr;
    const std::size_t provider_count = plugins_->provider_count();
    if (provider_count == 0) return nullptr;
    auto inquiry = std::make_shared<Inquiry>(provider_count);
    for (std::size_t provider = 0; provider < provider_count; ++provider) {
        auto context =
            std::make_shared<QueryContext>(QueryContextOptions{.document = query.document(),
                                                               .others = query.others(),
                                                               .cancel = query.cancel_token(),
                                                               .items_max = kPiecesMax,
                                                               .bytes_max = limits_.bytes_max});
        const std::size_t index = inquiry->contexts.size();
        auto run = [plugins = plugins_,
                    bytes = limits_.bytes_max,
                    provider,
                    context,
                    inquiry,
                    index,
                    cursor_byte] {
            if (!context->is_cancelled()) {
                plugins->gather(provider, context, context->view(cursor_byte), bytes);
            }
            // Room for every provider is there; nobody may be reading any more.
            [[maybe_unused]] const bool is_read = inquiry->answers.try_push(index);
        };
        if (pool_->try_submit(
                {.run = run, .on_abandoned = {}, .budget = limits_.budget + limits_.grace})) {
            inquiry->contexts.push_back(std::move(context));
        }
    }
    return inquiry;
}

std::vector<ContextPiece> ContextGatherer::gather(const QueryContext& query,
                                                  std::uint64_t cursor_byte) {
    const std::shared_ptr<Inquiry> inquiry = ask(query, cursor_byte);
    if (inquiry == nullptr) return {};
    const TimePoint until = std::chrono::steady_clock::now() + limits_.budget;
    std::vector<bool> has_answered(inquiry->contexts.size(), false);
    for (std::size_t count = 0; count < inquiry->contexts.size(); ++count) {
        const std::optional<std::size_t> index = inquiry->answers.pop_until(until);
        if (!index) break;
        has_answered[*index] = true;
    }
    std::vector<ContextPiece> pieces;
    std::uint64_t room = limits_.bytes_max;
    for (std::size_t index = 0; index < inquiry->contexts.size(); ++index) {
        QueryContext& context = *inquiry->contexts[index];
        context.end();
        if (!has_answered[index]) continue;
        for (const std::string& item : context.take_items()) {
            std::string_view text = item;
            std::string path = query.path_of(trim(take_line(text)));
            if (is_blank(text) || item.size() > room || path == query.document()->path) continue;
            room -= item.size();
            pieces.push_back({std::move(path), std::string(text)});
        }
    }
    return pieces;
}

void ContextGatherer::shut() {
    std::unique_ptr<plugin_host::JobPool> pool;
    {
        const LockGuard lock(mutex_);
        pool = std::move(pool_);
        plugins_ = nullptr;
    }
}

}  // namespace hearth::assist
