#include "training/trainer/math_select.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/isa.h"

namespace hearth::trainer {
namespace {

struct Candidate {
    const Math<float>& math;
    bool is_present;
    float tolerance;  // relative to the largest value of the product
};

/// AVX-512 but for its products.
Math<float> with_products(const char* name, decltype(Math<float>::gemm) gemm) {
    Math<float> math = avx512_math();
    math.name = name;
    math.gemm = gemm;
    return math;
}

std::vector<Candidate> candidates() {
    __builtin_cpu_init();
    const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool has_avx512 =
        has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    const bool has_bfloat = has_avx512 && __builtin_cpu_supports("avx512bf16");
    static const Math<float> amx = with_products("amx", amx_gemm);
    static const Math<float> bfloat = with_products("avx512bf16", avx512_bfloat_gemm);
    // bfloat16 keeps 8 bits of each factor.
    return {{amx, has_bfloat && cpu::is_supported(cpu::Isa::amx), 1e-2F},
            {bfloat, has_bfloat, 1e-2F},
            {avx512_math(), has_avx512, 1e-5F},
            {avx2_math(), has_avx2, 1e-5F},
            {portable_math(), true, 1e-5F}};
}

enum class Form { plain, a_transposed, b_transposed };

Gemm<float> make_product(Form form,
                         std::size_t m,
                         std::size_t n,
                         std::size_t k,
                         const float* a,
                         const float* b,
                         float* c) {
    switch (form) {
        case Form::plain:
            return a_times_b(m, n, k, a, k, b, n, c, n, true);
        case Form::a_transposed:
            return a_transposed_times_b(m, n, k, a, m, b, n, c, n, true);
        case Form::b_transposed:
            break;
    }
    return a_times_b_transposed(m, n, k, a, k, b, k, c, n, true);
}

bool agrees(const Math<float>& math,
            float tolerance,
            Form form,
            std::size_t m,
            std::size_t n,
            std::size_t k) {
    std::mt19937 random(static_cast<std::uint32_t>(m * 131 + n * 17 + k));
    std::normal_distribution<float> normal;
    std::vector<float> a(m * k), b(k * n), expected(m * n, 0.5F);
    for (float& value : a) {
        value = normal(random);
    }
    for (float& value : b) {
        value = normal(random);
    }
    std::vector<float> found = expected;
    const auto workspace = std::make_unique<GemmWorkspace>();
    portable_math().gemm(make_product(form, m, n, k, a.data(), b.data(), expected.data()),
                         *workspace);
    math.gemm(make_product(form, m, n, k, a.data(), b.data(), found.data()), *workspace);
    float largest = 0;
    float error = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        largest = std::max(largest, std::abs(expected[i]));
        const float difference = std::abs(expected[i] - found[i]);
        // A comparison with NaN is false, so it is asked the way that NaN fails.
        if (!(difference <= 1e30F)) return false;
        error = std::max(error, difference);
    }
    return error <= tolerance * largest;
}

}  // namespace

bool agrees_with_portable(const Math<float>& math, float tolerance) {
    for (const Form form : {Form::plain, Form::a_transposed, Form::b_transposed}) {
        if (!agrees(math, tolerance, form, 13, 37, 71) ||
            !agrees(math, tolerance, form, 1, 16, 1) ||
            !agrees(math, tolerance, form, 101, 67, 333))
            return false;
    }
    return true;
}

Result<const Math<float>*> select_math(std::string_view name, Log& log) {
    bool is_known = false;
    for (const Candidate& candidate : candidates()) {
        if (!name.empty() && name != candidate.math.name) continue;
        is_known = true;
        if (!candidate.is_present) continue;
        if (agrees_with_portable(candidate.math, candidate.tolerance)) return &candidate.math;
        log.warning("trainer",
                    std::string("the ") + candidate.math.name +
                        " products differ from the portable ones on this machine; not used");
    }
    if (!is_known)
        return fail(ErrorCode::not_found,
                    "no instruction set is called '" + std::string(name) + "'",
                    "trainer");
    return fail(ErrorCode::unsupported,
                "this processor cannot run the " + std::string(name) + " products",
                "trainer");
}

}  // namespace hearth::trainer
