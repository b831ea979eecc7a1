#include "core/cli/program.h"

#include <filesystem>
#include <iostream>
#include <utility>

#include "core/base/version.h"

namespace hearth::cli {

Program::Program(std::string name, std::string description)
    : app_(std::move(description), std::move(name)) {
    app_.require_subcommand(1);
    app_.set_version_flag("--version", std::string(build_id()));
}

CLI::App* Program::add(const std::string& name, const std::string& description, Run run) {
    return add_to(app_, name, description, std::move(run));
}

CLI::App* Program::add(const std::string& group,
                       const std::string& group_description,
                       const std::string& name,
                       const std::string& description,
                       Run run) {
    CLI::App*& parent = groups_[group];
    if (parent == nullptr) {
        parent = app_.add_subcommand(group, group_description);
        parent->require_subcommand(1);
    }
    return add_to(*parent, name, description, std::move(run));
}

CLI::App* Program::add_to(CLI::App& parent,
                          const std::string& name,
                          const std::string& description,
                          Run run) {
    CLI::App* command = parent.add_subcommand(name, description);
    command->callback([this, run = std::move(run)] { chosen_ = run; });
    return command;
}

int Program::run(int argc, char** argv) {
    try {
        app_.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app_.exit(error) == 0 ? kExitDone : kExitMisused;
    }
    const Result<int> outcome = chosen_();
    if (outcome) return *outcome;
    const Error& error = outcome.error();
    std::cerr << app_.get_name() << ": " << error.text << "\n";
    return error.code == ErrorCode::invalid_argument ? kExitMisused : kExitFailed;
}

std::string Program::folder() {
    std::error_code error;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
    return error ? std::string(".") : self.parent_path().string();
}

}  // namespace hearth::cli
