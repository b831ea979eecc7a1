// One flag between who asked and who works. Raised once, never lowered, asked for often.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

namespace hearth {

/// Asks whether the work is still wanted. A default token is never cancelled. Copies share the
/// flag.
class CancelToken {
  public:
    CancelToken() = default;

    [[nodiscard]] bool is_cancelled() const {
        return flag_ != nullptr && flag_->load(std::memory_order_relaxed);
    }

  private:
    friend class CancelSource;
    explicit CancelToken(std::shared_ptr<const std::atomic<bool>> flag) : flag_(std::move(flag)) {}

    std::shared_ptr<const std::atomic<bool>> flag_;
};

/// Raises the flag. Copies share it.
class CancelSource {
  public:
    CancelSource() : flag_(std::make_shared<std::atomic<bool>>(false)) {}

    void cancel() { flag_->store(true, std::memory_order_relaxed); }
    [[nodiscard]] CancelToken token() const { return CancelToken(flag_); }

  private:
    std::shared_ptr<std::atomic<bool>> flag_;
};

}  // namespace hearth
