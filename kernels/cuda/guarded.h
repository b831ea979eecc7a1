// Where exceptions end: no memory of the machine is an error of the call that wanted it.
#pragma once

#include <exception>
#include <new>
#include <string>

#include "core/base/result.h"

namespace hearth::cuda {

/// What `body` gives, a Result. What it throws becomes an error before it leaves this library,
/// which may have a C++ runtime of its own: outside nobody could catch it. `what` completes "no
/// memory of the machine for ...".
///
/// Errors: also out_of_memory, internal.
template <typename Body>
auto guarded(const char* what, Body body) -> decltype(body()) {
    try {
        return body();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::out_of_memory,
                    std::string("no memory of the machine for ") + what +
                        "; close other programs, or take a smaller model or context",
                    "cuda");
    } catch (const std::exception& error) {
        return fail(ErrorCode::internal, std::string(what) + " failed: " + error.what(), "cuda");
    }
}

}  // namespace hearth::cuda
