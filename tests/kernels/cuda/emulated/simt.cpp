#include "tests/kernels/cuda/emulated/simt.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/kernels/cuda/test_seed.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace hearth::simt {
namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
constexpr int kPoison = 0xFF;  ///< as a float: not a number

/// A place of execution with a stack of its own; the scheduler's has none.
struct Context {
#if defined(__x86_64__)
    void* stack_pointer = nullptr;
#else
    ucontext_t machine{};
#endif
    const void* stack_bottom = nullptr;
    std::size_t stack_bytes = 0;
    void* fake_stack = nullptr;
};

#if defined(__x86_64__)
// Saves what a call keeps, changes the stack, and returns there.
asm(R"(
.text
.type hearth_simt_switch,@function
hearth_simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
extern "C" void hearth_simt_switch(void** save, void* load);

void machine_switch(Context& from, Context& to) {
    hearth_simt_switch(&from.stack_pointer, to.stack_pointer);
}

void machine_start(Context& context, std::byte* stack, void (*entry)()) {
    constexpr int kSavedRegisters = 6;
    auto* top = reinterpret_cast<void**>(stack + kStackBytes);
    *--top = nullptr;  // where `entry` would return to: it never does
    *--top = reinterpret_cast<void*>(entry);
    for (int i = 0; i < kSavedRegisters; ++i) {
        *--top = nullptr;
    }
    context.stack_pointer = top;
}
#else
void machine_switch(Context& from, Context& to) {
    swapcontext(&from.machine, &to.machine);
}

void machine_start(Context& context, std::byte* stack, void (*entry)()) {
    getcontext(&context.machine);
    context.machine.uc_stack.ss_sp = stack;
    context.machine.uc_stack.ss_size = kStackBytes;
    context.machine.uc_link = nullptr;
    makecontext(&context.machine, entry, 0);
}
#endif

/// Both halves of a switch as AddressSanitizer wants to hear of them.
void after_switch([[maybe_unused]] Context& me, [[maybe_unused]] Context* learns) {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    std::size_t bytes = 0;
    __sanitizer_finish_switch_fiber(me.fake_stack, &bottom, &bytes);
    if (learns != nullptr) {
        learns->stack_bottom = bottom;
        learns->stack_bytes = bytes;
    }
#endif
}

void switch_to(Context& from, Context& to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_bottom, to.stack_bytes);
#endif
    machine_switch(from, to);
    after_switch(from, nullptr);
}

enum class State { ready, at_block_barrier, at_warp, done };

struct FreeBytes {
    void operator()(std::byte* memory) const { std::free(memory); }
};
using Bytes = std::unique_ptr<std::byte, FreeBytes>;

/// A copy under way, or the end of a group of them.
struct Copy {
    void* to = nullptr;
    const void* from = nullptr;
};

struct Fiber {
    Context context;
    Bytes stack;
    dim3 index;
    State state = State::ready;
    std::source_location place;
    std::vector<Copy> copies;
};

struct Warp {
    std::uint32_t arrived = 0;
    unsigned parity = 0;
    alignas(16) std::byte slots[2][kWarpLanes * kLaneBytes];
};

class Machine {
  public:
    void run(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body);
    void sync_block(std::source_location place);
    const std::byte* exchange(const void* value, std::size_t bytes, std::source_location place);
    std::byte* shared_memory() { return shared_.get(); }
    std::vector<Copy>& copies() { return fibers_[current_].copies; }
    void seed(std::uint64_t value) { random_.seed(value); }

  private:
    static void enter();
    void run_block(std::size_t threads, dim3 block);
    void start(Fiber& fiber);
    void yield(State state, std::source_location place);
    void settle(std::size_t index);
    void release_block();
    [[noreturn]] void report_deadlock() const;

    std::mt19937_64 random_{hearth::test::seed_of(1)};
    std::vector<Fiber> fibers_;
    std::vector<Warp> warps_;
    std::vector<std::size_t> ready_;
    std::size_t waiting_ = 0, done_ = 0, threads_ = 0, current_ = 0;
    Bytes shared_;
    Context scheduler_;
    const std::function<void()>* body_ = nullptr;
    std::string failure_;
};

Machine& machine() {
    static Machine instance;
    return instance;
}

std::string text_of(const std::source_location& place) {
    const std::string file = place.file_name();
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line());
}

void Machine::enter() {
    Machine& self = machine();
    after_switch(self.fibers_[self.current_].context, &self.scheduler_);
    try {
        (*self.body_)();
        if (!self.copies().empty()) self.failure_ = "a thread ends with copies under way";
    } catch (const std::exception& error) {
        self.failure_ = error.what();
    }
    self.yield(State::done, {});
    std::abort();  // a finished fiber is never resumed
}

void Machine::start(Fiber& fiber) {
    if (fiber.stack == nullptr) {
        fiber.stack.reset(static_cast<std::byte*>(std::aligned_alloc(64, kStackBytes)));
        if (fiber.stack == nullptr) throw std::bad_alloc();
    }
#if defined(__SANITIZE_ADDRESS__)
    // What an abandoned run left behind.
    __asan_unpoison_memory_region(fiber.stack.get(), kStackBytes);
#endif
    fiber.context.stack_bottom = fiber.stack.get();
    fiber.context.stack_bytes = kStackBytes;
    fiber.state = State::ready;
    fiber.copies.clear();
    machine_start(fiber.context, fiber.stack.get(), &Machine::enter);
}

void Machine::run(dim3 grid,
                  dim3 block,
                  std::size_t shared_bytes,
                  const std::function<void()>& body) {
    threads_ = std::size_t{block.x} * block.y * block.z;
    if (threads_ == 0 || threads_ > 1024 || threads_ % kWarpLanes != 0) {
        throw std::runtime_error("a block of " + std::to_string(threads_) + " threads");
    }
    body_ = &body;
    if (fibers_.size() < threads_) fibers_.resize(threads_);
    warps_.resize(threads_ / kWarpLanes);
    ::gridDim = grid;
    ::blockDim = block;
    std::vector<unsigned> order(std::size_t{grid.x} * grid.y * grid.z);
    std::iota(order.begin(), order.end(), 0U);
    std::shuffle(order.begin(), order.end(), random_);
    for (const unsigned number : order) {
        ::blockIdx = dim3(number % grid.x, number / grid.x % grid.y, number / grid.x / grid.y);
        shared_.reset(static_cast<std::byte*>(std::malloc(shared_bytes)));
        std::memset(shared_.get(), kPoison, shared_bytes);
        run_block(threads_, block);
    }
}

void Machine::run_block(std::size_t threads, dim3 block) {
    waiting_ = done_ = 0;
    failure_.clear();
    ready_.clear();
    for (Warp& warp : warps_) {
        warp.arrived = 0;
    }
    for (std::size_t i = 0; i < threads; ++i) {
        const auto number = static_cast<unsigned>(i);
        fibers_[i].index =
            dim3(number % block.x, number / block.x % block.y, number / block.x / block.y);
        start(fibers_[i]);
        ready_.push_back(i);
    }
    while (done_ < threads) {
        if (ready_.empty()) report_deadlock();
        std::swap(ready_[random_() % ready_.size()], ready_.back());
        current_ = ready_.back();
        ready_.pop_back();
        ::threadIdx = fibers_[current_].index;
        switch_to(scheduler_, fibers_[current_].context);
        if (!failure_.empty()) throw std::runtime_error(failure_);
        settle(current_);
    }
}

/// What follows from a thread's stop.
void Machine::settle(std::size_t index) {
    const Fiber& fiber = fibers_[index];
    if (fiber.state == State::at_warp) {
        const std::size_t number = index / kWarpLanes;
        Warp& warp = warps_[number];
        warp.arrived |= 1U << (index % kWarpLanes);
        if (warp.arrived != ~0U) return;
        warp.arrived = 0;
        warp.parity ^= 1U;
        for (std::size_t lane = 0; lane < kWarpLanes; ++lane) {
            ready_.push_back(number * kWarpLanes + lane);
        }
        return;
    }
    (fiber.state == State::done ? done_ : waiting_) += 1;
    if (waiting_ > 0 && waiting_ + done_ == threads_) release_block();
}

void Machine::release_block() {
    const Fiber* first = nullptr;
    for (std::size_t i = 0; i < threads_; ++i) {
        if (fibers_[i].state != State::at_block_barrier) continue;
        if (first == nullptr) first = &fibers_[i];
        if (fibers_[i].place.line() != first->place.line()) {
            throw std::runtime_error("threads of a block wait at two barriers: " +
                                     text_of(first->place) + " and " + text_of(fibers_[i].place));
        }
        ready_.push_back(i);
    }
    waiting_ = 0;
}

void Machine::report_deadlock() const {
    std::string text = "threads of a block wait for others that do not come:";
    for (std::size_t i = 0; i < threads_; ++i) {
        if (fibers_[i].state == State::done) continue;
        text += " thread " + std::to_string(i) + " at " + text_of(fibers_[i].place);
        break;
    }
    throw std::runtime_error(text + ", " + std::to_string(done_) + " have ended");
}

void Machine::yield(State state, std::source_location place) {
    Fiber& fiber = fibers_[current_];
    fiber.state = state;
    fiber.place = place;
    switch_to(fiber.context, scheduler_);
}

void Machine::sync_block(std::source_location place) {
    yield(State::at_block_barrier, place);
}

const std::byte* Machine::exchange(const void* value,
                                   std::size_t bytes,
                                   std::source_location place) {
    const std::size_t lane = current_ % kWarpLanes;
    Warp& warp = warps_[current_ / kWarpLanes];
    std::byte* slots = warp.slots[warp.parity];
    std::memcpy(slots + lane * kLaneBytes, value, bytes);
    yield(State::at_warp, place);
    return slots;
}

}  // namespace

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes, const std::function<void()>& body) {
    machine().run(grid, block, shared_bytes, body);
}
void seed(std::uint64_t value) {
    machine().seed(value);
}
std::byte* shared_memory() {
    return machine().shared_memory();
}
void sync_block(std::source_location place) {
    machine().sync_block(place);
}
const std::byte* exchange(const void* value, std::size_t bytes, std::source_location place) {
    return machine().exchange(value, bytes, place);
}

void copy_16(void* to, const void* from) {
    check_aligned(to);
    check_aligned(from);
    machine().copies().push_back({to, from});
}
void end_copies() {
    machine().copies().push_back({});
}
void wait_copies(std::size_t groups) {
    std::vector<Copy>& copies = machine().copies();
    auto end = copies.end();
    for (std::size_t ends = 0; end != copies.begin(); --end) {
        const bool is_end = (end - 1)->to == nullptr;
        if (is_end && ends++ == groups) break;
    }
    for (auto copy = copies.begin(); copy != end; ++copy) {
        if (copy->from != nullptr) {
            std::memcpy(copy->to, copy->from, 16);
        } else if (copy->to != nullptr) {
            std::memset(copy->to, 0, 16);
        }
    }
    copies.erase(copies.begin(), end);
}

}  // namespace hearth::simt
