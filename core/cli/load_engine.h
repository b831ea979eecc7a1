// From a model and the backends that are there to an engine: on which device, with how long a
// context, and which experts stay with the host. All of it is chosen by what the device has free,
// before anything is loaded; a device that is too small makes way for the next.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/compute/backend_registry.h"
#include "core/engine/engine.h"
#include "core/model/model.h"
#include "core/model/placement.h"

namespace hearth::cli {

struct LoadSettings {
    std::string backend;  ///< empty: the best present that has room
    std::int32_t threads = 0;
    engine::EngineLimits limits;
    /// Whether limits.context_tokens_max was asked for; else a device with memory of its own gets
    /// as long a context as it has room for.
    bool is_context_asked = false;
};

/// An engine and what it stands on.
struct LoadedEngine {
    std::unique_ptr<compute::Backend> backend;
    std::unique_ptr<engine::Engine> engine;
    std::string placement;              ///< one line: what lies where
    std::vector<std::string> warnings;  ///< what was tried before, or what will be slow
};

/// Where `model` goes in `request.free_bytes`, 0: what `backend` has free; `request.costs` are
/// filled in for the type of cache that they name. A backend that does not know what is free has
/// room for everything.
///
/// Errors: out_of_memory, saying how much is missing and what to do.
Result<model::Placement> fit(const model::Model& model,
                             const compute::Backend& backend,
                             model::PlacementRequest request);

/// Loads on the backend that is named, else on the best candidate that has room. The last of them
/// may be the host with too little memory: files are mapped, so that is slow and said. A backend
/// that has no cache of the type that is asked for gets one in F16, which is said too.
///
/// Errors: those of BackendRegistry::make, fit and Engine::make, and out_of_memory where the
/// machine's own memory or threads end; of the last backend where several failed, and what the
/// others said before it. Throws nothing but what is thrown while texts are made.
Result<LoadedEngine> load_engine(const std::shared_ptr<const model::Model>& model,
                                 const compute::BackendRegistry& registry,
                                 const LoadSettings& settings,
                                 const Clock& clock);

/// A sentence where the block for multi-token prediction that `model` has, or that was looked for
/// at `prediction_path`, is of no use; else empty.
std::string prediction_warning(const model::Model& model, const std::string& prediction_path);

}  // namespace hearth::cli
