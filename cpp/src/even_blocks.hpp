// A length cut into equal blocks of at most `most`, each but the last a multiple of 16: threads then have equal shares,
// and what a block is depends on the length alone.
#pragma once

#include <algorithm>
#include <cstdint>

namespace harmonium {

struct EvenBlocks {
    std::int64_t length, count, width;

    EvenBlocks(std::int64_t length_, std::int64_t most) : length(length_) {
        const std::int64_t wanted = std::max<std::int64_t>(1, (length + most - 1) / most);
        width = std::max<std::int64_t>(16, ((length + wanted - 1) / wanted + 15) / 16 * 16);
        count = (length + width - 1) / width;
    }
    std::int64_t first(std::int64_t block) const { return block * width; }
    std::int64_t size(std::int64_t block) const { return std::min(width, length - block * width); }
};

}  // namespace harmonium
