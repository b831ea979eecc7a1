#include "training/samples/block_packer.h"

#include "core/base/assert.h"

namespace hearth::training {
namespace {

constexpr std::size_t kWaitingMax = 256;
constexpr std::size_t kFillerTokensMin = 24;  // less does not hold a path line and some code

}  // namespace

void BlockPacker::add(Tokens sample) {
    HEARTH_ASSERT(!sample.empty() && sample.size() <= window_);
    if (sample.size() == window_) {
        blocks_.insert(blocks_.end(), sample.begin(), sample.end());
        return;
    }
    const std::size_t size = sample.size();
    waiting_.emplace(size, std::move(sample));
    while (waiting_.size() > kWaitingMax) {
        make_block();
    }
}

void BlockPacker::flush() {
    while (!waiting_.empty()) {
        make_block();
    }
}

Tokens BlockPacker::take() {
    Tokens blocks;
    blocks.swap(blocks_);
    return blocks;
}

void BlockPacker::make_block() {
    const std::size_t end = blocks_.size() + window_;
    while (blocks_.size() < end) {
        auto longest = waiting_.upper_bound(end - blocks_.size());
        if (longest == waiting_.begin()) break;  // none fits
        --longest;
        blocks_.insert(blocks_.end(), longest->second.begin(), longest->second.end());
        waiting_.erase(longest);
    }
    while (end - blocks_.size() >= kFillerTokensMin) {
        const Tokens text = filler_(end - blocks_.size());
        HEARTH_ASSERT(!text.empty() && text.size() <= end - blocks_.size());
        blocks_.insert(blocks_.end(), text.begin(), text.end());
    }
    padding_count_ += end - blocks_.size();
    blocks_.resize(end, padding_);
}

}  // namespace hearth::training
