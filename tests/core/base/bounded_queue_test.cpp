#include "core/base/bounded_queue.h"

#include <thread>

#include <catch2/catch.hpp>

namespace hearth {
namespace {

TEST_CASE("a full queue refuses and keeps its order", "[base][bounded_queue]") {
    BoundedQueue<int> queue(2);
    CHECK(queue.try_push(1));
    CHECK(queue.try_push(2));
    CHECK_FALSE(queue.try_push(3));
    CHECK(queue.pop() == 1);
    CHECK(queue.pop() == 2);
    CHECK(queue.try_pop() == std::nullopt);
}

TEST_CASE("a closed queue is drained, then ends its readers", "[base][bounded_queue]") {
    BoundedQueue<int> queue(4);
    CHECK(queue.try_push(1));
    queue.close();
    CHECK_FALSE(queue.try_push(2));
    CHECK(queue.pop() == 1);
    CHECK(queue.pop() == std::nullopt);
}

TEST_CASE("a waiting reader wakes when an item comes", "[base][bounded_queue]") {
    BoundedQueue<int> queue(1);
    int seen = 0;
    std::thread reader([&] { seen = queue.pop().value_or(0); });
    CHECK(queue.try_push(5));
    reader.join();
    CHECK(seen == 5);
}

TEST_CASE("a reader with a deadline in the past gets nothing", "[base][bounded_queue]") {
    BoundedQueue<int> queue(1);
    CHECK(queue.pop_until(TimePoint::min()) == std::nullopt);
}

}  // namespace
}  // namespace hearth
