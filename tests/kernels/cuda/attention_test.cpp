// Attention over the cache: near the reference across splits, and the same bits whichever way the
// splits are walked.
#include "kernels/cuda/attention.h"

#include "kernels/cuda/rows.h"
#include "tests/kernels/cuda/attention_check.h"

namespace hearth::cuda::test {
namespace {

/// Positions on both sides of the borders of blocks and splits.
const std::vector<std::int32_t> kPositions = {0, 15, 62, 63, 64, 130, 257};

/// Some splits' room, and what a token's row needs of it.
constexpr int kSplits = 5;

/// One token's row alone, its splits side by side.
std::vector<float> attend_alone(AttentionArgs args, StepTables step, std::int64_t token) {
    const std::int64_t columns = std::int64_t{args.heads} * args.value_dim;
    const DeviceArray<float> out(static_cast<std::size_t>(columns));
    args.query.data += token * args.query.stride;
    if (args.rest.data != nullptr) args.rest.data += token * args.rest.stride;
    args.out = {out.data(), columns};
    args.rounded = {};
    step.positions += token;
    step.table_begin += token;
    require(attend(args, step, 1, kSplits, kStream));
    return out.read();
}

/// Both ways of walking the splits, with much and little shared memory, and each token alone;
/// checks that all agree, and gives the result.
std::vector<float> attend_all_ways(AttentionArgs args, const StepTables& step, int tokens) {
    const auto columns = static_cast<std::size_t>(args.heads * args.value_dim);
    const auto count = static_cast<std::size_t>(tokens) * columns;
    const DeviceArray<float> values(count * kSplits);
    const DeviceArray<float2> sums(static_cast<std::size_t>(tokens * args.heads * kSplits));
    args.partial_values = values.data();
    args.partial_sums = sums.data();
    const TestQ8 rounded(static_cast<std::size_t>(tokens), (columns + 31) / 32 * 32);
    if (args.value_dim % kChunkWeights == 0) args.rounded = rounded.rows;
    std::vector<float> result;
    // Tiles of 32 rows, of 16, and 16 with the splits side by side; two splits in shared memory at
    // once, one, and pieces of one.
    for (const auto& [splits, multiprocessors] : {std::pair(0, 1), {0, 1'000'000}, {kSplits, 1}}) {
        for (const int shared_bytes : {0, 99 * 1024, 1}) {
            INFO(splits << " splits, " << multiprocessors << " multiprocessors, " << shared_bytes
                        << " bytes");
            const DeviceArray<float> out(count);
            args.out = {out.data(), static_cast<std::int64_t>(columns)};
            args.shared_bytes_max = shared_bytes;
            args.multiprocessors = multiprocessors;
            require(attend(args, step, tokens, splits, kStream));
            if (result.empty()) result = out.read();
            CHECK(is_same(out.read(), result));
        }
    }
    args.shared_bytes_max = args.multiprocessors = 0;
    for (int t = 0; t < tokens; ++t) {
        INFO("token " << t);
        const auto begin = result.begin() + static_cast<std::ptrdiff_t>(t * columns);
        CHECK(is_same(attend_alone(args, step, t),
                      {begin, begin + static_cast<std::ptrdiff_t>(columns)}));
    }
    if (args.value_dim % kChunkWeights == 0) check_near(rounded.values(), result, 0.05);
    return result;
}

/// Below what rounding queries or weights to halves would cost (1e-4), above what tensor cores lose
/// that truncate their sums. The emulated ones stay below 5e-6.
constexpr double kTolerance = 2e-5;

struct GqaCase {
    int heads, kv_heads, head_dim, value_dim;
    std::vector<std::int32_t> positions = kPositions;
    bool is_one_sequence = false;
    float query_size = 1.0F;
    Format cache = Format::f16;
};

void check_gqa(const GqaCase& of) {
    std::mt19937 random(seed_of(51));
    const auto [heads,
                kv_heads,
                head_dim,
                value_dim,
                positions,
                is_one_sequence,
                query_size,
                cache] = of;
    INFO(heads << " heads on " << kv_heads << ", " << head_dim << " and " << value_dim);
    const std::int64_t key_columns = std::int64_t{kv_heads} * head_dim;
    const std::int64_t value_columns = std::int64_t{kv_heads} * value_dim;
    Caches caches(key_columns, value_columns, random, cache);
    const TestStep step(positions, is_one_sequence, caches.device->data(), kBlocks);
    const auto tokens = static_cast<int>(positions.size());
    const auto rows = positions.size();
    auto q = random_values(rows * static_cast<std::size_t>(heads * head_dim), random, query_size);
    const auto k = random_halves(rows * static_cast<std::size_t>(key_columns), random);
    const auto v = random_halves(rows * static_cast<std::size_t>(value_columns), random);
    auto cached_k = as_cached(k, key_columns, cache);
    auto cached_v = as_cached(v, value_columns, cache);
    compute::AttentionGqa op{};
    op.layer = kLayer;
    op.heads = heads;
    op.kv_heads = kv_heads;
    op.head_dim = head_dim;
    op.value_dim = value_dim;
    op.scale = 0.25F / query_size;
    std::vector<float> expected(rows * static_cast<std::size_t>(heads * value_dim));
    reference::Scratch scratch;
    scratch.scores = caches.reference->scores();
    const std::int64_t n = tokens;
    reference::attention_gqa(op,
                             {.q = {q.data(), n, heads * head_dim, heads * head_dim},
                              .k = {cached_k.data(), n, key_columns, key_columns},
                              .v = {cached_v.data(), n, value_columns, value_columns}},
                             places_of(step),
                             *caches.reference,
                             {expected.data(), n, heads * value_dim, heads * value_dim},
                             scratch);
    const DeviceArray<float> device_q(q);
    const DeviceArray<float> device_k(k);
    const DeviceArray<float> device_v(v);
    require(store_cache({.key = {device_k.data(), kv_heads * head_dim},
                         .value = {device_v.data(), kv_heads * value_dim},
                         .cache = caches.layer()},
                        step.device(),
                        tokens,
                        kStream));
    AttentionArgs args;
    args.query = {device_q.data(), heads * head_dim};
    args.query_head_stride = args.query_dim = head_dim;
    args.cache = caches.layer();
    args.heads = heads;
    args.kv_heads = kv_heads;
    args.value_dim = value_dim;
    args.scale = op.scale;
    check_near(attend_all_ways(args, step.device(), tokens), expected, kTolerance);
}

TEST_CASE("grouped queries attend as the reference does", "[cuda][attention]") {
    check_gqa({4, 2, 16, 16});
    check_gqa({3, 3, 10, 7});
    check_gqa({9, 1, 64, 32});
    check_gqa({5, 1, 66, 130});
    check_gqa({8, 1, 128, 128});
    check_gqa({2, 1, 256, 192, {3, 140}});
    check_gqa({1, 1, 321, 200, {3, 140}});
    check_gqa({40, 1, 24, 8, {3, 70}});
}

TEST_CASE("neighbouring tokens of a sequence share a tile", "[cuda][attention]") {
    std::vector<std::int32_t> positions;
    for (std::int32_t position = 53; position < 73; ++position) {
        positions.push_back(position);
    }
    check_gqa({8, 2, 32, 16, positions, true});
    check_gqa({5, 1, 16, 16, positions, true});
    check_gqa({2, 2, 16, 16, positions, true});
}

TEST_CASE("queries may be larger and smaller than a half can be", "[cuda][attention]") {
    check_gqa({4, 2, 16, 16, kPositions, false, 1e9F});
    check_gqa({4, 2, 16, 16, kPositions, false, 1e-9F});
}

/// The reference makes its latent queries by k_up; here the weights are ones on a diagonal, so that
/// the queries are the same.
struct LatentCase {
    int heads, latent_dim, rope_dim;
    std::vector<std::int32_t> positions = {61, 62, 63, 64, 65};
    bool is_one_sequence = true;
    Format cache = Format::f16;
};

void check_latent(const LatentCase& of) {
    std::mt19937 random(seed_of(52));
    const auto [heads, latent_dim, rope_dim, positions, is_one_sequence, cache] = of;
    INFO(heads << " heads, latent " << latent_dim << ", rope " << rope_dim);
    const int key_dim = latent_dim + rope_dim;
    Caches caches(key_dim, 0, random, cache);
    const TestStep step(positions, is_one_sequence, caches.device->data(), kBlocks);
    const auto tokens = static_cast<int>(positions.size());
    auto q = random_values(static_cast<std::size_t>(tokens * heads * key_dim), random, 0.3F);
    const auto latent = random_halves(static_cast<std::size_t>(tokens * key_dim), random);
    auto cached_latent = as_cached(latent, key_dim, cache);
    std::vector<float> unit(static_cast<std::size_t>(heads * latent_dim * latent_dim));
    for (int h = 0; h < heads; ++h) {
        for (int i = 0; i < latent_dim; ++i) {
            unit[static_cast<std::size_t>((h * latent_dim + i) * latent_dim + i)] = 1.0F;
        }
    }
    const compute::Tensor ones{.name = "unit",
                               .dtype = compute::Dtype::f32,
                               .shape = {heads, latent_dim, latent_dim},
                               .bytes = std::as_bytes(std::span(unit))};
    compute::AttentionMla op{};
    op.layer = kLayer;
    op.heads = heads;
    op.nope_dim = op.latent_dim = op.value_dim = latent_dim;
    op.rope_dim = rope_dim;
    op.scale = 0.2F;
    std::vector<float> expected(static_cast<std::size_t>(tokens * heads * latent_dim));
    std::vector<float> row(static_cast<std::size_t>(latent_dim));
    std::vector<float> mixed(expected.size());
    reference::attention_mla(
        op,
        {.q = {q.data(), tokens, heads * key_dim, heads * key_dim},
         .latent = {cached_latent.data(), tokens, key_dim, key_dim},
         .k_up = ones,
         .v_up = ones},
        places_of(step),
        *caches.reference,
        {expected.data(), tokens, heads * latent_dim, heads * latent_dim},
        {.row = row, .hidden = {}, .latent = mixed, .scores = caches.reference->scores()});
    const DeviceArray<float> device_q(q);
    const DeviceArray<float> device_latent(latent);
    require(
        store_cache({.key = {device_latent.data(), key_dim}, .value = {}, .cache = caches.layer()},
                    step.device(),
                    tokens,
                    kStream));
    AttentionArgs args;
    args.query = {device_q.data(), heads * key_dim};
    args.query_head_stride = key_dim;
    args.query_dim = latent_dim;
    args.rest = {device_q.data() + latent_dim, heads * key_dim};
    args.rest_head_stride = key_dim;
    args.rest_dim = rope_dim;
    args.cache = caches.layer();
    args.heads = heads;
    args.kv_heads = 1;
    args.value_dim = latent_dim;
    args.values_are_keys = true;
    args.scale = op.scale;
    check_near(attend_all_ways(args, step.device(), tokens), expected, kTolerance);
}

TEST_CASE("latent queries attend as the reference does", "[cuda][attention]") {
    check_latent({4, 32, 8});
    check_latent({6, 150, 10});
    check_latent({1, 512, 64});
    check_latent({17, 512, 64});
}

TEST_CASE("wide latent rows attend at every length of a split", "[cuda][attention]") {
    check_latent({16, 512, 64, {0, 9, 15, 16, 31, 32, 47, 130}, false});
    check_latent({5, 302, 19, {40, 70}, false});
    check_latent({3, 248, 16, {17, 18, 19, 20, 21, 22, 23}});
}

TEST_CASE("a cache in Q8_0 attends as the reference with the same rows", "[cuda][attention]") {
    constexpr Format kQ8 = Format::q8_0;
    check_gqa({4, 2, 16, 16, kPositions, false, 1.0F, kQ8});
    check_gqa({3, 3, 48, 80, kPositions, false, 1.0F, kQ8});
    check_gqa({9, 1, 64, 32, kPositions, false, 1.0F, kQ8});
    check_gqa({8, 1, 128, 128, {53, 54, 55, 56, 57, 58}, true, 1.0F, kQ8});
    check_gqa({2, 1, 256, 192, {3, 140}, false, 1.0F, kQ8});
    check_gqa({1, 1, 336, 208, {3, 140}, false, 1.0F, kQ8});
    check_latent({4, 32, 8, {61, 62, 63, 64, 65}, true, kQ8});
    check_latent({6, 150, 10, {61, 62, 63, 64, 65}, true, kQ8});
    check_latent({16, 512, 64, {0, 15, 16, 31, 130}, false, kQ8});
    check_latent({5, 302, 19, {40, 70}, false, kQ8});
}

/// One token at each of some positions of one long sequence, whose blocks are the cache's in random
/// order and more than once.
struct LongStep {
    LongStep(int splits,
             const std::vector<std::int32_t>& places,
             std::uint16_t* cache,
             std::mt19937& random)
        : tokens(static_cast<int>(places.size())),
          positions(places),
          begins(std::vector<std::int32_t>(places.size())),
          tables([&] {
              std::vector<std::int32_t> table(static_cast<std::size_t>(splits * kBlocksOfSplit));
              for (std::int32_t& block : table) {
                  block = static_cast<std::int32_t>(random() % kBlocks);
              }
              return DeviceArray<std::int32_t>(table);
          }()),
          header(std::vector<StepHeader>{{cache, kBlocks, 0}}) {
        step.header = header.data();
        step.positions = positions.data();
        step.table_begin = begins.data();
        step.block_tables = tables.data();
    }
    int tokens;
    DeviceArray<std::int32_t> positions, begins, tables;
    DeviceArray<StepHeader> header;
    StepTables step;
};

/// On both sides of the borders of what a warp and a block merge at once.
void check_merge(int splits, const std::vector<std::int32_t>& places) {
    std::mt19937 random(seed_of(54));
    INFO(splits << " splits");
    constexpr int kHeads = 2;
    constexpr int kDim = 32;
    Caches caches(kDim, 0, random);
    const LongStep on(splits, places, caches.device->data(), random);
    const auto rows = places.size() * kHeads;
    const DeviceArray<float> query(random_values(rows * kDim, random));
    const DeviceArray<float> values(rows * kDim * static_cast<std::size_t>(splits));
    const DeviceArray<float2> sums(rows * static_cast<std::size_t>(splits));
    AttentionArgs args;
    args.query = {query.data(), kHeads * kDim};
    args.query_head_stride = args.query_dim = args.value_dim = kDim;
    args.values_are_keys = true;
    args.cache = caches.layer();
    args.heads = kHeads;
    args.kv_heads = 1;
    args.scale = 2.0F;
    args.partial_values = values.data();
    args.partial_sums = sums.data();
    const TestWeight v_up(compute::Dtype::f16, {kHeads, kDim, kDim}, random);
    const auto attended = [&](int split_count, std::int64_t split_rows) {
        const DeviceArray<float> out(rows * kDim);
        args.out = {out.data(), kHeads * kDim};
        args.split_rows = split_rows;
        const TestQ8 rounded(places.size(), kHeads * kDim);
        args.rounded = rounded.rows;
        require(attend(args, on.step, on.tokens, split_count, kStream));
        auto found = out.read();
        const auto as_bytes = rounded.values();
        found.insert(found.end(), as_bytes.begin(), as_bytes.end());
        return found;
    };
    const auto multiplied = [&](int split_count, std::int64_t split_rows) {
        const DeviceArray<float> mixed(rows * kDim);
        const DeviceArray<float> out(rows * kDim);
        args.out = {mixed.data(), kHeads * kDim};
        args.split_rows = split_rows;
        args.rounded = {};
        const TestQ8 rounded(places.size(), kHeads * kDim);
        const LatentValues latent{v_up.matrix(), kDim, {out.data(), kHeads * kDim}, rounded.rows};
        require(attend_latent(args, latent, on.step, on.tokens, split_count, kStream));
        auto found = out.read();
        const auto as_bytes = rounded.values();
        found.insert(found.end(), as_bytes.begin(), as_bytes.end());
        return found;
    };
    const std::vector<float> walked = attended(0, 0);
    const std::vector<float> latent = multiplied(0, 0);
    CHECK(std::ranges::all_of(walked, [](float value) { return std::isfinite(value); }));
    for (const std::int64_t at_once : {0, 2}) {
        INFO("room for " << at_once << " tokens");
        CHECK(is_same(attended(splits, at_once * splits), walked));
        CHECK(is_same(multiplied(splits, at_once * splits), latent));
    }
}

TEST_CASE("more splits than a block has threads merge as one block walks them",
          "[cuda][attention]") {
    check_merge(70, {70 * kSplitTokens - 1, 2047, 2048, 70});
    check_merge(300, {300 * kSplitTokens - 1, 128 * kSplitTokens, -1});
}

TEST_CASE("a row that fills a bucket sees nothing and stores nothing", "[cuda][attention]") {
    std::mt19937 random(seed_of(53));
    Caches caches(8, 8, random);
    const auto before = caches.device->read();
    const DeviceArray<float> rows(random_values(3 * 8, random));
    const DeviceArray<std::int32_t> positions(std::vector<std::int32_t>{-1, -1, -1});
    const DeviceArray<std::int32_t> zeros(std::vector<std::int32_t>(8));
    const DeviceArray<StepHeader> header(
        std::vector<StepHeader>{{caches.device->data(), kBlocks, 0}});
    StepTables step;
    step.header = header.data();
    step.positions = positions.data();
    step.table_begin = step.block_tables = zeros.data();
    require(
        store_cache({.key = {rows.data(), 8}, .value = {rows.data(), 8}, .cache = caches.layer()},
                    step,
                    3,
                    kStream));
    CHECK(caches.device->read() == before);
    AttentionArgs args;
    args.query = {rows.data(), 8};
    args.query_head_stride = args.query_dim = 8;
    args.cache = caches.layer();
    args.heads = args.kv_heads = 1;
    args.value_dim = 8;
    args.scale = 1.0F;
    CHECK(attend_all_ways(args, step, 3) == std::vector<float>(3 * 8));
}

}  // namespace
}  // namespace hearth::cuda::test
