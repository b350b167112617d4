// A draw whose step may stand in the device's memory: a captured graph then draws anew whenever it runs.
#pragma once

#include "harmonium/philox.hpp"

namespace harmonium::cuda {

struct StepDraw {
    Draw draw;
    const std::uint64_t* steps = nullptr;  // one number on the device; null: draw as it is
    std::uint64_t times = 1, plus = 0;     // the step is times *steps + plus

    StepDraw() = default;
    StepDraw(const Draw& draw_) : draw(draw_) {}
    StepDraw(std::uint64_t seed, Stream stream, const std::uint64_t* steps_, std::uint64_t times_ = 1, std::uint64_t plus_ = 0)
        : draw(seed, stream, 0), steps(steps_), times(times_), plus(plus_) {}
    HARMONIUM_HOST_DEVICE Draw now() const {
        return steps ? Draw(draw.seed, static_cast<Stream>(draw.stream), *steps * times + plus) : draw;
    }
};

}  // namespace harmonium::cuda
