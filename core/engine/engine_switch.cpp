#include "core/engine/engine_switch.h"

#include <utility>
#include <variant>
#include <vector>

namespace hearth::engine {
namespace {

// A ticket carries the number of its stage in front of the engine's own.
constexpr int kStageShift = 56;
constexpr std::uint64_t kIdMask = (std::uint64_t{1} << kStageShift) - 1;

bool is_idle(const Engine& engine) {
    const EngineStatus status = engine.status();
    return status.running == 0 && status.waiting == 0;
}

}  // namespace

EngineSwitch::~EngineSwitch() {
    const LockGuard lock(mutex_);
    while (!stages_.empty()) {
        stages_.pop_back();
    }
}

void EngineSwitch::move_to(std::shared_ptr<Engine> next) {
    const EngineLimits limits = next->limits();
    const LockGuard lock(mutex_);
    stages_.push_back({std::move(next), limits});
}

void EngineSwitch::release_idle() {
    std::vector<std::shared_ptr<Engine>> ended;  // destroyed without the lock
    const LockGuard lock(mutex_);
    for (std::size_t i = 0; i + 1 < stages_.size(); ++i) {
        std::shared_ptr<Engine>& engine = stages_[i].engine;
        if (engine != nullptr && is_idle(*engine)) ended.push_back(std::exchange(engine, nullptr));
    }
}

void EngineSwitch::watch(Request& request) const {
    if (!on_lost_ || !request.sink) return;
    request.sink = [this, sink = std::move(request.sink)](const Event& event) {
        const auto* failed = std::get_if<FailedEvent>(&event);
        if (failed == nullptr || failed->error.code != ErrorCode::device_lost) return sink(event);
        on_lost_(failed->error);
        Error error = failed->error;
        error.text += "; ask again: another device takes over";
        return sink(FailedEvent{std::move(error)});
    };
}

Result<Ticket> EngineSwitch::submit(Request request) {
    watch(request);
    // Under the lock, so that no engine is let go between its choice and its request.
    const LockGuard lock(mutex_);
    HEARTH_TRY(Ticket ticket, stages_.back().engine->submit(std::move(request)));
    ticket.id |= std::uint64_t{stages_.size() - 1} << kStageShift;
    return ticket;
}

void EngineSwitch::cancel(Ticket ticket) {
    const LockGuard lock(mutex_);
    const std::uint64_t stage = ticket.id >> kStageShift;
    if (stage >= stages_.size() || stages_[stage].engine == nullptr) return;
    stages_[stage].engine->cancel({ticket.id & kIdMask});
}

EngineStatus EngineSwitch::status() const {
    const LockGuard lock(mutex_);
    EngineStatus status = stages_.back().engine->status();
    for (std::size_t i = 0; i + 1 < stages_.size(); ++i) {
        if (stages_[i].engine == nullptr) continue;
        const EngineStatus other = stages_[i].engine->status();
        status.running += other.running;
        status.waiting += other.waiting;
    }
    return status;
}

const EngineLimits& EngineSwitch::limits() const {
    const LockGuard lock(mutex_);
    return stages_.back().limits;
}

}  // namespace hearth::engine
