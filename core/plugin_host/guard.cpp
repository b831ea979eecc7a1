#include "core/plugin_host/guard.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "core/base/assert.h"
#include "core/plugin_host/utf8.h"

namespace hearth::plugin_host {
namespace {

std::string in_ms(Duration duration) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()) +
           " ms";
}

bool is_status(hearth_status status) {
    return status >= HEARTH_OK && status <= HEARTH_FAILED;
}

CallStatus from_status(hearth_status status) {
    switch (status) {
        case HEARTH_OK:
            return CallStatus::ok;
        case HEARTH_CANCELLED:
            return CallStatus::cancelled;
        case HEARTH_UNSUPPORTED:
            return CallStatus::unsupported;
        default:
            return CallStatus::failed;
    }
}

}  // namespace

Ledger::Ledger(Log& log, const Clock& clock, std::int32_t failures_max)
    : failures_max_(failures_max),
      log_(&log),
      clock_(&clock) {}

void Ledger::close() {
    const LockGuard lock(mutex_);
    log_ = nullptr;
    clock_ = nullptr;
}

void Ledger::write(LogLevel level, std::string_view room, std::string_view text) {
    const LockGuard lock(mutex_);
    if (log_ != nullptr) log_->write(level, room, text);
}

void Ledger::tell(std::string sentence) {
    const LockGuard lock(mutex_);
    tell_locked(std::move(sentence));
}

void Ledger::tell_locked(std::string sentence) {
    if (log_ != nullptr) log_->warning("plugins", sentence);
    messages_.push_back(std::move(sentence));
}

std::vector<std::string> Ledger::take_messages() {
    const LockGuard lock(mutex_);
    count_overdue();
    return std::exchange(messages_, {});
}

bool Ledger::is_active(const Plugin& plugin) {
    const LockGuard lock(mutex_);
    count_overdue();
    return plugin.info.state == PluginState::active;
}

PluginInfo Ledger::info(const Plugin& plugin) {
    const LockGuard lock(mutex_);
    count_overdue();
    return plugin.info;
}

bool Ledger::is_inside(const Plugin& plugin) {
    const LockGuard lock(mutex_);
    return std::ranges::any_of(calls_,
                               [&](const Call* call) { return call->plugin_.get() == &plugin; });
}

void Ledger::leave_out(Plugin& plugin, std::string_view why) {
    const LockGuard lock(mutex_);
    leave_out_locked(plugin, why);
}

void Ledger::leave_out_locked(Plugin& plugin, std::string_view why) {
    if (plugin.info.state == PluginState::left_out) return;
    plugin.info.state = PluginState::left_out;
    plugin.info.reason = "plugin " + plugin.info.id + " of " + plugin.info.path +
                         " is left out: " + std::string(why);
    tell_locked(plugin.info.reason);
}

bool Ledger::begin(Call& call) {
    const LockGuard lock(mutex_);
    if (clock_ == nullptr) return false;
    count_overdue();
    call.started_ = clock_->now();
    calls_.push_back(&call);
    return true;
}

bool Ledger::end(Call& call, const std::string& failure, bool is_success) {
    const LockGuard lock(mutex_);
    count_overdue();
    std::erase(calls_, &call);
    Plugin& plugin = *call.plugin_;
    if (call.is_overdue_) {
        --plugin.stuck_count;  // it came back after all; its failure has been counted
        return false;
    }
    if (!failure.empty()) count_failure(plugin, failure);
    if (is_success) plugin.failures_in_a_row = 0;
    return true;
}

bool Ledger::is_overdue(const Call& call) {
    const LockGuard lock(mutex_);
    count_overdue();
    return call.is_overdue_ || clock_ == nullptr;
}

void Ledger::enter_host(Call& call) {
    const LockGuard lock(mutex_);
    if (clock_ != nullptr) call.in_host_since_ = clock_->now();
}

void Ledger::leave_host(Call& call) {
    const LockGuard lock(mutex_);
    if (clock_ == nullptr || !call.in_host_since_) return;
    call.host_time_ += clock_->now() - *call.in_host_since_;
    call.in_host_since_.reset();
}

Call* Ledger::find_call(const void* host_data) {
    const LockGuard lock(mutex_);
    const auto found = std::ranges::find(calls_, host_data);
    return found == calls_.end() ? nullptr : *found;
}

void Ledger::count_overdue() {
    if (clock_ == nullptr) return;
    const TimePoint now = clock_->now();
    for (Call* const call : calls_) {
        const Duration own_time =
            call->in_host_since_.value_or(now) - call->started_ - call->host_time_;
        if (call->is_overdue_ || own_time <= call->kind_.budget) continue;
        call->is_overdue_ = true;
        Plugin& plugin = *call->plugin_;
        ++plugin.stuck_count;
        count_failure(plugin,
                      "did not return within " + in_ms(call->kind_.budget) + " from " +
                          std::string(call->kind_.verb));
        if (plugin.stuck_count >= failures_max_) {
            leave_out_locked(plugin,
                             std::to_string(plugin.stuck_count) +
                                 " of its calls never returned; restart hearth to try it again");
        }
    }
}

void Ledger::count_failure(Plugin& plugin, const std::string& what) {
    if (log_ != nullptr) log_->warning("plugins", "plugin " + plugin.info.id + " " + what);
    if (++plugin.failures_in_a_row < failures_max_) return;
    leave_out_locked(plugin,
                     std::to_string(plugin.failures_in_a_row) +
                         " calls in a row went wrong, and in the last it " + what +
                         "; restart hearth to try it again");
}

Call::Call(std::shared_ptr<Plugin> plugin,
           std::shared_ptr<JobContext> context,
           const DocumentView& document,
           const CallKind& kind)
    : plugin_(std::move(plugin)),
      context_(std::move(context)),
      document_(to_document(document)),
      kind_(kind),
      job_{.host_data = this, .is_cancelled = is_cancelled, .emit = emit} {}

CallStatus Call::run(const std::function<hearth_status(const hearth_job*)>& work) {
    // The ledger lives on with the plugin; the host may be gone when a late call returns.
    Ledger& ledger = *plugin_->ledger;
    if (!ledger.begin(*this)) return CallStatus::cancelled;
    hearth_status status = HEARTH_FAILED;
    try {
        status = work(&job_);
        if (!is_status(status)) {
            complain("returned status " + std::to_string(status) + ", which means nothing, from " +
                     std::string(kind_.verb));
        }
    } catch (const std::exception& e) {
        complain("let an exception out of " + std::string(kind_.verb) + ": " + e.what());
    } catch (...) {
        complain("let an exception out of " + std::string(kind_.verb));
    }
    std::string failure = complaint_;
    if (failure.empty() && status == HEARTH_FAILED && !has_host_failed_) {
        failure = "reported a failure from " + std::string(kind_.verb) + " (the log may say why)";
    }
    const bool is_success = status == HEARTH_OK || status == HEARTH_UNSUPPORTED;
    if (!ledger.end(*this, failure, failure.empty() && is_success)) return CallStatus::failed;
    return failure.empty() ? from_status(status) : CallStatus::failed;
}

void Call::complain(std::string what) {
    if (complaint_.empty()) complaint_ = std::move(what);
}

bool Call::is_on_its_thread() const {
    return std::this_thread::get_id() == thread_;
}

bool Call::is_cancelled(const hearth_job* job) noexcept {
    const Call& call = *static_cast<const Call*>(job->host_data);
    return call.context_->is_cancelled() || call.plugin_->ledger->is_overdue(call);
}

bool Call::emit(const hearth_job* job, std::uint32_t item, hearth_text piece) noexcept {
    Call& call = *static_cast<Call*>(job->host_data);
    // Nothing of the call may be touched from another thread, not even to complain.
    if (!call.is_on_its_thread()) return false;
    return call.take(item, piece);
}

bool Call::take(std::uint32_t item, hearth_text piece) {
    if (!complaint_.empty() || is_full_ || is_cancelled(&job_)) return false;
    const std::string verb(kind_.verb);
    if (item >= kItemsMax) {
        complain("emitted item " + std::to_string(item) + " from " + verb + ", the last is " +
                 std::to_string(kItemsMax - 1));
        return false;
    }
    const std::string too_long =
        "emitted more than " + std::to_string(kind_.bytes_max) + " bytes from " + verb;
    if (piece.bytes > kAnswerBytesMax) {
        complain(too_long);
        return false;
    }
    const auto checked = from_text(piece, kAnswerBytesMax);
    if (!checked) {
        complain("emitted text that is not whole characters of UTF-8 from " + verb);
        return false;
    }
    std::string_view text = *checked;
    const std::uint64_t room = kind_.bytes_max - emitted_bytes_;
    if (text.size() > room) {
        is_full_ = true;
        if (!kind_.is_cut) {
            complain(too_long);
            return false;
        }
        const std::size_t line_end = text.substr(0, room).rfind('\n');
        text = text.substr(0, line_end == std::string_view::npos ? 0 : line_end + 1);
    }
    if (text.empty()) return !is_full_;
    emitted_bytes_ += text.size();
    return context_->emit(item, text) && !is_full_;
}

hearth_text to_text(std::string_view text) {
    return {.data = text.data(), .bytes = text.size()};
}

hearth_document to_document(const DocumentView& document) {
    HEARTH_ASSERT(document.cursor_byte <= document.text.size());
    return {.uri = to_text(document.uri),
            .language = to_text(document.language),
            .text = to_text(document.text),
            .cursor_byte = document.cursor_byte};
}

std::optional<std::string_view> from_text(hearth_text text, std::uint64_t bytes_max) {
    if (text.bytes > bytes_max) return std::nullopt;
    if (text.bytes == 0) return std::string_view();
    if (text.data == nullptr) return std::nullopt;
    const std::string_view view(text.data, text.bytes);
    if (!is_utf8(view)) return std::nullopt;
    return view;
}

}  // namespace hearth::plugin_host
