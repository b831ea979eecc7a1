// The thread tags of the house. A thread names itself once; tagged functions check it at their head
// in every build.
#pragma once

#include "core/base/assert.h"

namespace hearth {

enum class Thread {
    unnamed,  ///< a thread that took no name: tests, programs without a daemon
    main,     ///< start, stop, plugin init and destroy
    io,       ///< sockets, framing, JSON, connection state
    job,      ///< context, prompt, tokenizer, plugin calls
    engine,   ///< scheduler, cache, forward pass, sampling
    worker,   ///< a backend's own
};

/// Names the calling thread, also for the debugger.
void name_thread(Thread thread);

/// The calling thread's name.
[[nodiscard]] Thread current_thread();

/// Checks that the caller runs on `thread`. An unnamed thread passes, so that parts can be used and
/// tested alone.
inline void assert_on(Thread thread) {
    const Thread current = current_thread();
    HEARTH_ASSERT(current == thread || current == Thread::unnamed);
}

}  // namespace hearth
