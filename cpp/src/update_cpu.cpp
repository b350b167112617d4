#include <type_traits>

#include "simd.hpp"
#include "update_kernels.hpp"
#include "update_rules.hpp"

namespace harmonium {
namespace {

// Calls body(rule as a constant).
template <class Body>
HARMONIUM_INLINE void with_rule(UpdateRule rule, const Body& body) {
    switch (rule) {
        case UpdateRule::sgd: body(std::integral_constant<UpdateRule, UpdateRule::sgd>()); break;
        case UpdateRule::momentum: body(std::integral_constant<UpdateRule, UpdateRule::momentum>()); break;
        case UpdateRule::nesterov: body(std::integral_constant<UpdateRule, UpdateRule::nesterov>()); break;
        case UpdateRule::adagrad: body(std::integral_constant<UpdateRule, UpdateRule::adagrad>()); break;
        case UpdateRule::rmsprop: body(std::integral_constant<UpdateRule, UpdateRule::rmsprop>()); break;
        case UpdateRule::adam: body(std::integral_constant<UpdateRule, UpdateRule::adam>()); break;
    }
}

template <UpdateRule rule, class T>
HARMONIUM_INLINE void update_row(const UpdateNumbers<T>& numbers, std::int64_t n, const T* __restrict g, T* __restrict u,
                                 T* __restrict s, T* __restrict theta) {
    for (std::int64_t i = 0; i < n; ++i) {
        update_one<rule>(numbers, g[i], keeps_u(rule) ? u + i : nullptr, keeps_s(rule) ? s + i : nullptr, theta + i);
    }
}

template <class T>
void update_values(const Update& o, std::int64_t n, const T* g, T* u, T* s, T* theta) {
    with_rule(o.rule, [&](auto rule) { update_row<decltype(rule)::value>(UpdateNumbers<T>(o), n, g, u, s, theta); });
}

template <class T>
void update_block(const Update& o, std::int64_t rows, std::int64_t n, const T* g, std::int64_t g_stride, T* u, T* s, T* theta,
                  std::int64_t stride) {
    constexpr std::int64_t ahead = 8, line = 64 / static_cast<std::int64_t>(sizeof(T));
    const UpdateNumbers<T> numbers(o);
    with_rule(o.rule, [&](auto rule) {
        for (std::int64_t i = 0; i < rows; ++i) {
            // Rows lie far apart: the processor does not foresee them.
            for (std::int64_t j = 0; i + ahead < rows && j < n; j += line) {
                const std::int64_t at = (i + ahead) * stride + j;
                __builtin_prefetch(theta + at, 1);
                if (u) __builtin_prefetch(u + at, 1);
                if (s) __builtin_prefetch(s + at, 1);
            }
            update_row<decltype(rule)::value>(numbers, n, g + i * g_stride, u ? u + i * stride : nullptr, s ? s + i * stride : nullptr,
                                              theta + i * stride);
        }
    });
}

template <class T>
double decay_values(T decay, std::int64_t n, const T* theta, T* gradient) {
    double sum = 0;
    for (std::int64_t first = 0; first < n; first += 1024) {
        const std::int64_t end = first + 1024 < n ? first + 1024 : n;
        T partial[16] = {};  // as many whatever the level
        std::int64_t i = first;
        for (; i + 16 <= end; i += 16) {
            for (int k = 0; k < 16; ++k) partial[k] += theta[i + k] * theta[i + k];
        }
        for (; i < end; ++i) partial[i % 16] += theta[i] * theta[i];
        for (const T value : partial) sum += static_cast<double>(value);
        for (i = first; gradient && i < end; ++i) gradient[i] += decay * theta[i];
    }
    return sum;
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
UpdateKernels<T> update_kernels() {
    return {update_values<T>, update_block<T>, decay_values<T>};
}
template UpdateKernels<float> update_kernels<float>();
template UpdateKernels<double> update_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
