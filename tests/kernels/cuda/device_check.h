// What tests of the CUDA kernels share. They call the launch functions on memory of the device: of
// the emulated one in CI, of a real one in hearth-gpu-tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "core/compute/dequantize.h"
#include "core/compute/tensor.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/step.h"
#include "kernels/cuda/weights.h"
#include "kernels/reference/quantize.h"
#include "tests/kernels/cuda/test_seed.h"

namespace hearth::cuda::test {

using hearth::test::seed_of;

inline void require(const Result<void>& result) {
    if (!result) throw std::runtime_error(result.error().text);
}
template <typename T>
T require(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text);
    return std::move(result).value();
}

/// Some values in device memory. What is not uploaded is poison.
template <typename T>
class DeviceArray {
  public:
    explicit DeviceArray(std::size_t count) : DeviceArray(std::vector<T>(count, poison())) {}
    explicit DeviceArray(const std::vector<T>& values)
        : count_(values.size()),
          memory_(require(DeviceBuffer::make(bytes(), "a test"))) {
        require_copy(cudaMemcpy(memory_.data(), values.data(), size(), cudaMemcpyHostToDevice));
    }

    [[nodiscard]] T* data() const { return reinterpret_cast<T*>(memory_.data()); }
    [[nodiscard]] std::vector<T> read() const {
        std::vector<T> values(count_);
        require_copy(cudaMemcpy(values.data(), data(), size(), cudaMemcpyDeviceToHost));
        return values;
    }
    static T poison() {
        T value;
        std::memset(static_cast<void*>(&value), 0xFF, sizeof(value));
        return value;
    }

  private:
    [[nodiscard]] std::size_t size() const { return count_ * sizeof(T); }
    [[nodiscard]] std::int64_t bytes() const { return static_cast<std::int64_t>(size()); }
    static void require_copy(cudaError_t error) {
        if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
    }

    std::size_t count_;
    DeviceBuffer memory_;
};

/// Kernels run in the default stream, which a copy waits for.
inline constexpr cudaStream_t kStream = nullptr;

inline const std::vector<compute::Dtype> kQuantised = {compute::Dtype::q8_0,
                                                       compute::Dtype::q4_0,
                                                       compute::Dtype::q5_0,
                                                       compute::Dtype::q5_1,
                                                       compute::Dtype::q4_k,
                                                       compute::Dtype::q5_k,
                                                       compute::Dtype::q6_k,
                                                       compute::Dtype::mxfp4};
inline const std::vector<compute::Dtype> kFloats = {
    compute::Dtype::f32, compute::Dtype::f16, compute::Dtype::bf16};

inline std::vector<float> random_values(std::size_t count,
                                        std::mt19937& random,
                                        float scale = 1.0F) {
    std::normal_distribution<float> normal(0.0F, scale);
    std::vector<float> values(count);
    for (float& value : values) {
        value = normal(random);
    }
    return values;
}

/// A random weight: its bytes as a file has them, the same on the device, and what they mean.
class TestWeight {
  public:
    TestWeight(compute::Dtype dtype, const compute::Shape& shape, std::mt19937& random) {
        const auto count = static_cast<std::size_t>(shape.elements());
        const std::int64_t columns = shape.dim(-1);
        bytes_.resize(static_cast<std::size_t>(compute::row_bytes(dtype, columns) *
                                               (shape.elements() / columns)));
        reference::quantize(dtype, random_values(count, random), bytes_);
        values_.resize(count);
        compute::dequantize(dtype, bytes_, values_);
        tensor_ = {.name = "weight", .dtype = dtype, .shape = shape, .bytes = bytes_};
        device_ = require(CudaWeights::make({&tensor_, 1}));
    }

    [[nodiscard]] const Matrix& matrix() const { return device_->matrix(0); }
    [[nodiscard]] const compute::Tensor& tensor() const { return tensor_; }
    [[nodiscard]] std::span<const float> values() const { return values_; }

  private:
    std::vector<std::byte> bytes_;
    std::vector<float> values_;
    compute::Tensor tensor_;
    std::unique_ptr<CudaWeights> device_;
};

/// Rounded activations on the device.
struct TestQ8 {
    TestQ8(std::size_t row_count, std::size_t columns)
        : quants(row_count * columns),
          scales(row_count * columns / kChunkWeights),
          rows{quants.data(), scales.data(), static_cast<std::int32_t>(columns)} {}

    /// What the rounded values stand for.
    [[nodiscard]] std::vector<float> values() const {
        const auto bytes = quants.read();
        const auto steps = scales.read();
        std::vector<float> out(bytes.size());
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = steps[i / kChunkWeights].d * static_cast<float>(bytes[i]);
        }
        return out;
    }

    DeviceArray<std::int8_t> quants;
    DeviceArray<Q8Scale> scales;
    Q8Rows rows;
};

/// The tables of a step over sequences whose blocks are scattered.
class TestStep {
  public:
    /// One token per position; sequence i of token i where `is_shared` is false, else one for all.
    TestStep(std::vector<std::int32_t> positions, bool is_shared, std::uint16_t* cache, int blocks)
        : positions_(positions) {
        std::vector<std::int32_t> begins;
        std::vector<std::int32_t> blocks_of;
        for (std::size_t t = 0; t < positions.size(); ++t) {
            if (t == 0 || !is_shared) {
                begins.push_back(static_cast<std::int32_t>(blocks_of.size()));
                const std::int32_t longest =
                    is_shared ? *std::max_element(positions.begin(), positions.end())
                              : positions[t];
                tables.emplace_back();
                for (std::int32_t i = 0; i <= longest / compute::kBlockTokens; ++i) {
                    const auto block = static_cast<std::int32_t>(blocks - 1 - next_block_++);
                    if (block < 0) throw std::runtime_error("too few blocks");
                    tables.back().push_back(block);
                    blocks_of.push_back(block);
                }
            } else {
                begins.push_back(begins.back());
            }
            sequence_of.push_back(static_cast<std::int32_t>(tables.size()) - 1);
        }
        for (const auto& table : tables) {
            sequences.push_back({table});
        }
        header_ = DeviceArray<StepHeader>(std::vector<StepHeader>{{cache, blocks, 0}});
        device_positions_ = DeviceArray<std::int32_t>(positions);
        begins_ = DeviceArray<std::int32_t>(begins);
        tables_ = DeviceArray<std::int32_t>(blocks_of);
    }

    [[nodiscard]] StepTables device() const {
        return {.header = header_.data(),
                .tokens = nullptr,
                .positions = device_positions_.data(),
                .table_begin = begins_.data(),
                .logit_rows = nullptr,
                .block_tables = tables_.data()};
    }
    [[nodiscard]] std::span<const std::int32_t> positions() const { return positions_; }

    std::vector<std::vector<std::int32_t>> tables;
    std::vector<std::int32_t> sequence_of;
    std::vector<compute::SequenceView> sequences;

  private:
    int next_block_ = 0;
    std::vector<std::int32_t> positions_;
    DeviceArray<StepHeader> header_{1};
    DeviceArray<std::int32_t> device_positions_{1}, begins_{1}, tables_{1};
};

/// |found - expected| at most `tolerance` times the size of the expected values.
inline void check_near(std::span<const float> found,
                       std::span<const float> expected,
                       double tolerance) {
    REQUIRE(found.size() == expected.size());
    double squares = 0.0;
    for (const float value : expected) {
        squares += static_cast<double>(value) * value;
    }
    const double size = std::sqrt(squares / static_cast<double>(expected.size())) + 1e-30;
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double off = std::abs(static_cast<double>(found[i]) - expected[i]);
        CAPTURE(i, found[i], expected[i], size);
        REQUIRE(off <= tolerance * size);
    }
}

inline bool is_same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Rows of weights times rows of x, in double.
inline std::vector<float> products(std::span<const float> x,
                                   std::span<const float> weights,
                                   std::size_t columns) {
    const std::size_t tokens = x.size() / columns;
    const std::size_t rows = weights.size() / columns;
    std::vector<float> out(tokens * rows);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t r = 0; r < rows; ++r) {
            double sum = 0.0;
            for (std::size_t k = 0; k < columns; ++k) {
                sum += static_cast<double>(x[t * columns + k]) * weights[r * columns + k];
            }
            out[t * rows + r] = static_cast<float>(sum);
        }
    }
    return out;
}

}  // namespace hearth::cuda::test
