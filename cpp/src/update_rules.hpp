// The rules of update.hpp for one parameter, for host and device.
#pragma once

#include "harmonium/host_device.hpp"
#include "harmonium/update.hpp"

namespace harmonium {

// Whether a rule keeps a u, and an s.
constexpr bool keeps_u(UpdateRule rule) {
    return rule == UpdateRule::momentum || rule == UpdateRule::nesterov || rule == UpdateRule::adam;
}
constexpr bool keeps_s(UpdateRule rule) {
    return rule == UpdateRule::adagrad || rule == UpdateRule::rmsprop || rule == UpdateRule::adam;
}

// What a step needs of its options, as they are computed with.
template <class T>
struct UpdateNumbers {
    T rate, momentum, epsilon, beta_1, new_1, beta_2, new_2, length, inverse;

    HARMONIUM_HOST_DEVICE inline UpdateNumbers(const Update& o)
        : rate(static_cast<T>(o.rate)), momentum(static_cast<T>(o.momentum)), epsilon(static_cast<T>(o.epsilon)),
          beta_1(static_cast<T>(o.beta_1)), new_1(static_cast<T>(1 - o.beta_1)), beta_2(static_cast<T>(o.beta_2)),
          new_2(static_cast<T>(1 - o.beta_2)), length(static_cast<T>(o.rate * o.first_correction)),
          inverse(static_cast<T>(o.second_correction)) {}
};

template <class T>
HARMONIUM_HOST_DEVICE inline T update_root(T x) {
    if constexpr (sizeof(T) == 4) return __builtin_sqrtf(x);
    else return __builtin_sqrt(x);
}

// u, s: what the rule keeps; a rule without one does not touch it.
template <UpdateRule rule, class T>
HARMONIUM_HOST_DEVICE inline void update_one(const UpdateNumbers<T>& o, T g, T* u, T* s, T* theta) {
    if constexpr (rule == UpdateRule::sgd) {
        *theta -= o.rate * g;
    } else if constexpr (rule == UpdateRule::momentum) {
        *u = o.momentum * *u - o.rate * g;
        *theta += *u;
    } else if constexpr (rule == UpdateRule::nesterov) {
        *u = o.momentum * *u - o.rate * g;
        *theta += o.momentum * *u - o.rate * g;
    } else if constexpr (rule == UpdateRule::adagrad) {
        *s += g * g;
        *theta -= o.rate * g / (update_root(*s) + o.epsilon);
    } else if constexpr (rule == UpdateRule::rmsprop) {
        *s = o.beta_2 * *s + o.new_2 * g * g;
        *theta -= o.rate * g / (update_root(*s) + o.epsilon);
    } else {
        *u = o.beta_1 * *u + o.new_1 * g;
        *s = o.beta_2 * *s + o.new_2 * g * g;
        *theta -= o.length * *u / (update_root(*s) * o.inverse + o.epsilon);
    }
}

}  // namespace harmonium
