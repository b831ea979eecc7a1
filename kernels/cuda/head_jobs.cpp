#include "kernels/cuda/head_jobs.h"

#include <algorithm>
#include <variant>

#include "core/compute/operands.h"
#include "kernels/cuda/heads.h"
#include "kernels/cuda/matrix.h"

namespace hearth::cuda {
namespace {

using compute::Slice;

class Jobs {
  public:
    bool add(const compute::RmsNorm& op) {
        if (!is_same(op.x, op.out)) return false;
        PlannedHeads* job = place(op.x, op.x.dim / op.group_dim, op.group_dim);
        if (job == nullptr || job->norm != nullptr || job->rope != nullptr) return false;
        job->norm = &op;
        return true;
    }
    bool add(const compute::Rope& op) {
        PlannedHeads* job = place(op.x, op.heads, op.head_dim);
        if (job == nullptr || job->rope != nullptr) return false;
        job->rope = &op;
        return true;
    }
    bool add(const compute::AttentionGqa& op) {
        PlannedHeads* key = place(op.k, op.kv_heads, op.head_dim);
        if (key == nullptr) return false;
        key->stores_key = true;
        PlannedHeads* value = place(op.v, op.kv_heads, op.value_dim);
        if (value == nullptr || value->stores_key) return false;
        value->stores_value = true;
        return true;
    }
    /// Every column of the stored row belongs to one job.
    bool add(const compute::AttentionMla& op) {
        std::int64_t covered = 0;
        for (PlannedHeads& job : jobs_) {
            if (!overlap(job.x, op.latent)) continue;
            const std::int64_t column = job.x.offset - op.latent.offset;
            if (column < 0 || column + job.x.dim > op.latent.dim) return false;
            job.stores_key = true;
            job.store_column = column;
            covered += job.x.dim;
        }
        return covered == op.latent.dim;
    }
    template <typename Other>
    bool add(const Other& /*op*/) {
        return false;
    }

    [[nodiscard]] std::vector<PlannedHeads> take() && { return std::move(jobs_); }

  private:
    /// The job of a slice, a new one where nothing touches it; null where that cannot be.
    PlannedHeads* place(const Slice& x, std::int64_t heads, std::int64_t head_dim) {
        for (PlannedHeads& job : jobs_) {
            if (!overlap(job.x, x)) continue;
            const bool fits = is_same(job.x, x) && job.heads == heads && job.head_dim == head_dim;
            return fits ? &job : nullptr;
        }
        const bool fits =
            jobs_.size() < kHeadJobsMax && head_dim <= kHeadDimMax && heads * head_dim == x.dim;
        return fits
                   ? &jobs_.emplace_back(PlannedHeads{.x = x, .heads = heads, .head_dim = head_dim})
                   : nullptr;
    }

    std::vector<PlannedHeads> jobs_;
};

/// Blocks of a row in Q8_0 belong to one head each, or another kernel stores the row.
bool can_store(const PlannedHeads& job, compute::Dtype cache) {
    const bool stores = job.stores_key || job.stores_value;
    return !stores || cache == compute::Dtype::f16 ||
           (job.head_dim % kChunkWeights == 0 && job.store_column % kChunkWeights == 0);
}

bool is_attention(const compute::Operation& operation) {
    return std::holds_alternative<compute::AttentionGqa>(operation) ||
           std::holds_alternative<compute::AttentionMla>(operation);
}

}  // namespace

std::optional<HeadsRun> find_heads_run(const compute::Plan& plan, std::size_t first) {
    Jobs jobs;
    for (std::size_t i = first; i < plan.operations.size(); ++i) {
        const compute::Operation& operation = plan.operations[i];
        const bool is_added = std::visit([&](const auto& op) { return jobs.add(op); }, operation);
        if (!is_added) return std::nullopt;
        if (!is_attention(operation)) continue;
        HeadsRun run{std::move(jobs).take(), i};
        const bool fits = std::ranges::all_of(
            run.jobs, [&](const PlannedHeads& job) { return can_store(job, plan.kv.dtype); });
        return fits ? std::optional(std::move(run)) : std::nullopt;
    }
    return std::nullopt;
}

}  // namespace hearth::cuda
