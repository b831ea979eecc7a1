// The options of `hearth serve`, which are those of hearthd: one list for both programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace hearth::cli {

struct ServeOptions {
    std::string model;
    std::string backend;
    std::int32_t threads = 0;
    std::string kv_cache;
    std::string prediction_block;
    std::int32_t idle_exit_minutes = 0;  ///< end after so long without a client; 0: never
};

/// A daemon that a client started ends so long after its last client.
inline constexpr std::int32_t kIdleExitMinutes = 15;

void add_serve_options(CLI::App& app, ServeOptions& options);

/// The same options as words, for a program that is started with them.
std::vector<std::string> to_arguments(const ServeOptions& options);

}  // namespace hearth::cli
