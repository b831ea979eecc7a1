// Accelerator libraries for the registry's test; the definitions on the command line say
// which kind.
#include "core/base/version.h"
#include "core/compute/backend_registry.h"

namespace hearth::compute {
namespace {

class FakeBackend final : public Backend {
  public:
    [[nodiscard]] std::string_view name() const override { return "fake"; }
    [[nodiscard]] std::string description() const override { return "a fake device"; }
    Result<std::unique_ptr<DeviceWeights>> upload(std::span<const Tensor> /*weights*/) override {
        return fail(ErrorCode::unsupported, "a fake");
    }
    Result<std::unique_ptr<Program>> compile(const Plan& /*plan*/,
                                             DeviceWeights& /*weights*/) override {
        return fail(ErrorCode::unsupported, "a fake");
    }
    Result<std::unique_ptr<KvStore>> make_kv_store(const KvLayout& /*layout*/,
                                                   std::int32_t /*block_count*/) override {
        return fail(ErrorCode::unsupported, "a fake");
    }
};

bool find_fake(std::string& text) {
    text = FAKE_ACCELERATOR_PRESENT ? "a fake device in its box" : "no fake device is plugged in";
    return FAKE_ACCELERATOR_PRESENT;
}

Backend* make_fake(const BackendOptions& /*options*/, std::string& /*reason*/) {
    return new FakeBackend;
}

}  // namespace
}  // namespace hearth::compute

#ifdef FAKE_ACCELERATOR_BUILD
#define FAKE_BUILD_ID FAKE_ACCELERATOR_BUILD
#else
#define FAKE_BUILD_ID hearth::build_id().data()
#endif

extern "C" const hearth::compute::AcceleratorEntry FAKE_ACCELERATOR_SYMBOL;
const hearth::compute::AcceleratorEntry FAKE_ACCELERATOR_SYMBOL = {
    FAKE_BUILD_ID, "fake", 50, &hearth::compute::find_fake, &hearth::compute::make_fake};
