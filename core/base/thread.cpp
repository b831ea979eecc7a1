#include "core/base/thread.h"

#include <pthread.h>

namespace hearth {
namespace {

thread_local Thread current = Thread::unnamed;

const char* thread_name(Thread thread) {
    switch (thread) {
        case Thread::unnamed:
            return "hearth";
        case Thread::main:
            return "hearth-main";
        case Thread::io:
            return "hearth-io";
        case Thread::job:
            return "hearth-job";
        case Thread::engine:
            return "hearth-engine";
        case Thread::worker:
            return "hearth-worker";
    }
    return "hearth";
}

}  // namespace

void name_thread(Thread thread) {
    current = thread;
    if (thread != Thread::main) pthread_setname_np(pthread_self(), thread_name(thread));
}

Thread current_thread() {
    return current;
}

}  // namespace hearth
