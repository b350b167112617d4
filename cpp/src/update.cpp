#include "harmonium/update.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda/update.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "update_kernels.hpp"
#include "update_rules.hpp"

namespace harmonium {

namespace {
constexpr std::int64_t piece = 16384;
}  // namespace

Update prepared(Update options) {
    require(options.step >= 1, "update: step ", options.step, ", they are counted from 1");
    const auto t = static_cast<double>(options.step);
    options.first_correction = 1 / (1 - std::pow(options.beta_1, t));
    options.second_correction = 1 / std::sqrt(1 - std::pow(options.beta_2, t));
    return options;
}

template <class T>
void update(Context& context, const Update& options, std::int64_t n, const T* gradient, T* kept, T* theta) {
    const Update ready = prepared(options);
    require(kept || kept_by(options.rule) == 0, "update: the rule keeps ", kept_by(options.rule), " x ", n, " values, none are given");
    T* u = keeps_u(options.rule) ? kept : nullptr;
    T* s = !keeps_s(options.rule) ? nullptr : u ? kept + n : kept;
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::update(context, ready, n, gradient, u, s, theta);
    }
    context.parallel_for((n + piece - 1) / piece, [&](std::int64_t task, int) {
        const std::int64_t at = task * piece;
        update_kernels<T>().update(ready, std::min(piece, n - at), gradient + at, u ? u + at : nullptr, s ? s + at : nullptr,
                                   theta + at);
    });
}
template <class T>
double add_decay(Context& context, T decay, std::int64_t n, const T* theta, T* gradient) {
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::add_decay(context, decay, n, theta, gradient);
    }
    const std::int64_t pieces = (n + piece - 1) / piece;
    std::vector<double> sums(pieces);  // added in order afterwards
    context.parallel_for(pieces, [&](std::int64_t task, int) {
        const std::int64_t at = task * piece;
        sums[task] = update_kernels<T>().decay(decay, std::min(piece, n - at), theta + at, gradient ? gradient + at : nullptr);
    });
    double sum = 0;
    for (const double part : sums) sum += part;
    return sum;
}

#define HARMONIUM_INSTANTIATE(T)                                                                \
    template void update(Context&, const Update&, std::int64_t, const T*, T*, T*);              \
    template double add_decay(Context&, T, std::int64_t, const T*, T*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
