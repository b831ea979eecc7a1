#include "training/trainer/team.h"

#include <thread>
#include <vector>

namespace hearth::trainer {

void run_team(std::size_t threads, const std::function<void(std::size_t member)>& work) {
    std::vector<std::thread> others;
    for (std::size_t member = 1; member < threads; ++member) {
        others.emplace_back(work, member);
    }
    work(0);
    for (std::thread& other : others) {
        other.join();
    }
}

}  // namespace hearth::trainer
