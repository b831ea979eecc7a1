#include "core/plugin_host/job_pool.h"

#include <atomic>
#include <future>
#include <vector>

#include <catch2/catch.hpp>

#include "core/base/thread.h"
#include "tests/support/fake_clock.h"

namespace hearth::plugin_host {
namespace {

using std::chrono::milliseconds;

/// A job that says when it has begun and ends when it is let go. Shared with the thread.
struct Gate {
    std::promise<void> begun;
    std::promise<void> opened;
    std::shared_future<void> open = opened.get_future().share();
};

JobPool::Job gated_job(const std::shared_ptr<Gate>& gate,
                       std::function<void()> on_abandoned = {},
                       Duration budget = milliseconds(100)) {
    return {.run =
                [gate] {
                    gate->begun.set_value();
                    gate->open.wait();
                },
            .on_abandoned = std::move(on_abandoned),
            .budget = budget};
}

TEST_CASE("jobs run on a job thread, first in first out", "[plugin_host][job_pool]") {
    const test::FakeClock clock;
    std::vector<int> order;
    std::atomic<bool> is_on_job_thread = false;
    {
        const auto pool = JobPool::make("test", {.thread_count = 1, .queue_max = 4}, clock);
        for (int i = 0; i < 3; ++i) {
            CHECK(pool->try_submit({.run = [&, i] {
                is_on_job_thread = current_thread() == Thread::job;
                order.push_back(i);
            }}));
        }
    }
    CHECK(order == std::vector<int>{0, 1, 2});
    CHECK(is_on_job_thread);
}

TEST_CASE("several threads serve at once", "[plugin_host][job_pool]") {
    const test::FakeClock clock;
    const auto pool = JobPool::make("test", {.thread_count = 2}, clock);
    const auto first = std::make_shared<Gate>();
    const auto second = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(first)));
    REQUIRE(pool->try_submit(gated_job(second)));
    first->begun.get_future().wait();
    second->begun.get_future().wait();
    first->opened.set_value();
    second->opened.set_value();
}

TEST_CASE("a full queue refuses", "[plugin_host][job_pool]") {
    const test::FakeClock clock;
    const auto pool = JobPool::make("test", {.thread_count = 1, .queue_max = 1}, clock);
    const auto gate = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(gate)));
    gate->begun.get_future().wait();
    CHECK(pool->try_submit({.run = [] {}}));
    CHECK_FALSE(pool->try_submit({.run = [] {}}));
    gate->opened.set_value();
}

TEST_CASE("a job within its budget is never abandoned", "[plugin_host][job_pool]") {
    test::FakeClock clock;
    std::atomic<int> told = 0;
    auto pool = JobPool::make("test", {.thread_count = 1}, clock);
    const auto gate = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(gate, [&] { ++told; })));
    gate->begun.get_future().wait();
    clock.advance(milliseconds(99));
    pool->check_budgets();
    gate->opened.set_value();
    pool.reset();
    CHECK(told == 0);
}

TEST_CASE("a job that oversteps is told once and its thread is replaced",
          "[plugin_host][job_pool]") {
    test::FakeClock clock;
    std::atomic<int> told = 0;
    auto pool = JobPool::make("test", {.thread_count = 1}, clock);
    const auto stuck = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(stuck, [&] { ++told; })));
    stuck->begun.get_future().wait();
    std::promise<void> waiting_ran;
    REQUIRE(pool->try_submit({.run = [&] { waiting_ran.set_value(); }}));

    clock.advance(milliseconds(100));
    pool->check_budgets();
    pool->check_budgets();
    waiting_ran.get_future().wait();
    // The destructor does not wait for the thread that was left behind.
    pool.reset();
    CHECK(told == 1);
    stuck->opened.set_value();
}

TEST_CASE("an abandoned job may end after the pool and takes what it kept alive with it",
          "[plugin_host][job_pool]") {
    test::FakeClock clock;
    auto pool = JobPool::make("test", {.thread_count = 1}, clock);
    auto gate = std::make_shared<Gate>();
    // Destroyed with the job's captures, that is, after `run` has returned.
    auto released = std::make_shared<std::promise<void>>();
    const std::shared_ptr<void> kept(nullptr, [released](void*) { released->set_value(); });
    {
        JobPool::Job job = gated_job(gate);
        REQUIRE(pool->try_submit(
            {.run = [run = std::move(job.run), kept] { run(); }, .budget = milliseconds(100)}));
    }
    gate->begun.get_future().wait();
    clock.advance(milliseconds(100));
    pool->check_budgets();
    pool.reset();
    CHECK(kept.use_count() == 2);
    gate->opened.set_value();
    const std::weak_ptr<void> watched = kept;
    const_cast<std::shared_ptr<void>&>(kept).reset();
    released->get_future().wait();
    CHECK(watched.expired());
}

TEST_CASE("the watch thread finds a late job by itself", "[plugin_host][job_pool]") {
    const SteadyClock clock;
    std::promise<void> told;
    const auto pool = JobPool::make("test", {.thread_count = 1}, clock);
    const auto stuck = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(
        stuck, [&] { told.set_value(); }, milliseconds(1))));
    told.get_future().wait();
    stuck->opened.set_value();
}

TEST_CASE("the watch thread turns to a job with an earlier deadline", "[plugin_host][job_pool]") {
    const SteadyClock clock;
    std::promise<void> told;
    const auto pool = JobPool::make("test", {.thread_count = 2}, clock);
    const auto patient = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(patient, {}, Duration::max())));
    patient->begun.get_future().wait();
    const auto stuck = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(gated_job(
        stuck, [&] { told.set_value(); }, milliseconds(1))));
    told.get_future().wait();
    stuck->opened.set_value();
    patient->opened.set_value();
}

TEST_CASE("a pool that has left too many threads behind refuses", "[plugin_host][job_pool]") {
    test::FakeClock clock;
    const auto pool = JobPool::make("test", {.thread_count = 1, .abandoned_max = 2}, clock);
    std::vector<std::shared_ptr<Gate>> gates;
    for (int i = 0; i < 2; ++i) {
        gates.push_back(std::make_shared<Gate>());
        REQUIRE(pool->try_submit(gated_job(gates.back())));
        gates.back()->begun.get_future().wait();
        clock.advance(milliseconds(100));
        pool->check_budgets();
    }
    CHECK_FALSE(pool->try_submit({.run = [] {}}));
    for (const auto& gate : gates) {
        gate->opened.set_value();
    }
}

TEST_CASE("a late job may be asked after by a new one from its own callback",
          "[plugin_host][job_pool]") {
    test::FakeClock clock;
    std::promise<void> ran;
    const auto pool = JobPool::make("test", {.thread_count = 1}, clock);
    const auto stuck = std::make_shared<Gate>();
    REQUIRE(pool->try_submit(
        gated_job(stuck, [&] { CHECK(pool->try_submit({.run = [&] { ran.set_value(); }})); })));
    stuck->begun.get_future().wait();
    clock.advance(milliseconds(100));
    pool->check_budgets();
    ran.get_future().wait();
    stuck->opened.set_value();
}

}  // namespace
}  // namespace hearth::plugin_host
