// Changes the emulated device for one test.
#pragma once

#include "tests/kernels/cuda/emulated/cuda_runtime.h"

namespace hearth::cuda {

class OtherDevice {
  public:
    OtherDevice() : before_(simt::device) {}
    ~OtherDevice() {
        const auto used = simt::device.used_bytes;
        simt::device = before_;
        simt::device.used_bytes = used;
    }

  private:
    simt::EmulatedDevice before_;
};

}  // namespace hearth::cuda
