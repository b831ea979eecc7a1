// Device and pinned memory with an owner, and the stream that all work of a backend runs in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <cuda_runtime.h>

#include "core/base/result.h"

namespace hearth::cuda {

/// Memory of the device.
class DeviceBuffer {
  public:
    /// `purpose` completes "no device memory for ...".   Errors: out_of_memory, with what is free.
    static Result<DeviceBuffer> make(std::int64_t bytes, const std::string& purpose);

    [[nodiscard]] std::byte* data() const { return memory_.get(); }

  private:
    struct Free {
        void operator()(std::byte* memory) const { cudaFree(memory); }
    };
    std::unique_ptr<std::byte, Free> memory_;
};

/// Memory of the host that the device copies from and to without a stop between.
class PinnedBuffer {
  public:
    /// Errors: out_of_memory.
    static Result<PinnedBuffer> make(std::int64_t bytes, const std::string& purpose);

    [[nodiscard]] std::byte* data() const { return memory_.get(); }

  private:
    struct Free {
        void operator()(std::byte* memory) const { cudaFreeHost(memory); }
    };
    std::unique_ptr<std::byte, Free> memory_;
};

class Stream {
  public:
    static Result<std::shared_ptr<Stream>> make();
    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream() {
        if (stream_ != nullptr) cudaStreamDestroy(stream_);
    }

    [[nodiscard]] cudaStream_t get() const { return stream_; }
    /// Makes the stream's device that of the calling thread: each thread starts with device 0.
    [[nodiscard]] Result<void> enter() const;

  private:
    cudaStream_t stream_ = nullptr;
    int device_ = 0;
};

/// A place in a stream that the host can wait for.
class Event {
  public:
    static Result<Event> make();

    [[nodiscard]] cudaEvent_t get() const { return event_.get(); }

  private:
    struct Destroy {
        void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
    };
    std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, Destroy> event_;
};

/// Deals out parts of one allocation. Without a base it only counts, so that the same code first
/// measures and then places.
class Workspace {
  public:
    Workspace() = default;
    explicit Workspace(std::byte* base) : base_(base) {}

    template <typename T>
    T* take(std::int64_t count) {
        constexpr std::int64_t kAlignment = 256;
        const std::int64_t offset = bytes_;
        const std::int64_t bytes = count * static_cast<std::int64_t>(sizeof(T));
        bytes_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
        return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + offset);
    }
    [[nodiscard]] std::int64_t bytes() const { return bytes_; }

  private:
    std::byte* base_ = nullptr;
    std::int64_t bytes_ = 0;
};

}  // namespace hearth::cuda
