// The order in which a pass goes through its rows.
#pragma once

#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "harmonium/philox.hpp"

namespace harmonium {

// Fisher and Yates; the draw of place i is row i of (seed, epoch).
inline void shuffle_rows(std::uint64_t seed, std::uint64_t epoch, std::vector<std::int64_t>& order) {
    std::iota(order.begin(), order.end(), std::int64_t(0));
    const Draw draw(seed, Stream::shuffle, epoch);
    for (auto i = static_cast<std::int64_t>(order.size()) - 1; i > 0; --i) {
        const double u = uniform<double>(draw, static_cast<std::uint32_t>(i), 0);
        std::swap(order[i], order[static_cast<std::int64_t>(u * static_cast<double>(i + 1))]);
    }
}

}  // namespace harmonium
