// Runs one function on several threads and waits for all of them.
#pragma once

#include <cstddef>
#include <functional>

namespace hearth::trainer {

/// Calls work(0) .. work(threads - 1), the first on the calling thread.
void run_team(std::size_t threads, const std::function<void(std::size_t member)>& work);

}  // namespace hearth::trainer
