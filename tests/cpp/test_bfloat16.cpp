// float32 as sums of bfloat16 numbers.
#include <algorithm>
#include <cmath>

#include "check.hpp"
#include "harmonium/bfloat16.hpp"

namespace harmonium_test {
using namespace harmonium;

// Numbers of every size as sums of bfloat16 parts, within the bounds of the header; the bounds of fewer parts are reached.
void test_bfloat16() {
    double worst[4] = {};
    for (std::uint32_t i = 0; i < 20000; ++i) {
        const double size = std::ldexp(1.0 + uniform<double>(Draw(3, Stream::user, 0), i, 0), static_cast<int>(i % 234) - 108);
        const auto x = static_cast<float>(i % 2 ? size : -size);
        for (int count = 1; count <= 3; ++count) {
            Bfloat16 part[3];
            split(x, count, part);
            double sum = 0;
            for (int p = 0; p < count; ++p) sum += static_cast<double>(to_float(part[p]));
            worst[count] = std::max(worst[count], std::abs(sum - static_cast<double>(x)) / std::abs(static_cast<double>(x)));
        }
    }
    CHECK(worst[1] <= 0x1p-8 && worst[1] > 0x1p-9);
    CHECK(worst[2] <= 0x1p-17 && worst[2] > 0x1p-18);
    CHECK(worst[3] == 0);
    for (const float x : {1e-35f, 3e-39f, 1e-44f, -0.0f, 0.0f}) {
        Bfloat16 part[3];
        split(x, 3, part);
        CHECK_NEAR(to_float(part[0]) + to_float(part[1]) + to_float(part[2]), x, 0x1p-134);
    }
    CHECK(to_float(to_bfloat16(1.00390625f)) == 1.0f && to_float(to_bfloat16(1.01171875f)) == 1.015625f);  // ties to even
    CHECK(std::isinf(to_float(to_bfloat16(INFINITY))) && std::isnan(to_float(to_bfloat16(NAN))));
}

}  // namespace harmonium_test
