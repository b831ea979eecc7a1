// Program: a command line made of commands, one small file each. It turns every outcome into an
// exit code: 0 done, 1 failed, 2 used wrongly; errors go to stderr and say what to do.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/base/result.h"

namespace hearth::cli {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitMisused = 2;

class Program {
  public:
    /// An exit code, or an error: invalid_argument is "used wrongly", every other code is "failed".
    using Run = std::function<Result<int>()>;

    Program(std::string name, std::string description);

    /// Adds a command; its options are added to the result. `run` is called when the command was
    /// chosen.
    CLI::App* add(const std::string& name, const std::string& description, Run run);
    /// A command of two words, `hearth models info`; the first word's own description comes from
    /// its first use.
    CLI::App* add(const std::string& group,
                  const std::string& group_description,
                  const std::string& name,
                  const std::string& description,
                  Run run);

    int run(int argc, char** argv);

    /// The folder that the running program lies in, for what is installed beside it.
    [[nodiscard]] static std::string folder();

  private:
    CLI::App* add_to(CLI::App& parent,
                     const std::string& name,
                     const std::string& description,
                     Run run);

    CLI::App app_;
    std::map<std::string, CLI::App*> groups_;  ///< first words of commands of two
    Run chosen_;
};

}  // namespace hearth::cli
