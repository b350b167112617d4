// One step down a gradient g: theta changes in place, with what the rule keeps of the steps before.
#pragma once

#include <cstdint>

#include "harmonium/context.hpp"

namespace harmonium {

// sgd:      theta -= rate g
// momentum: u = momentum u - rate g, theta += u (Polyak 1964). nesterov: the same u, theta += momentum u - rate g
//           (Sutskever, Martens, Dahl, Hinton 2013, eq. 3-4, at the point that is looked ahead to)
// adagrad:  s += g^2, theta -= rate g / (sqrt(s) + epsilon) (Duchi, Hazan, Singer 2011)
// rmsprop:  s = decay s + (1 - decay) g^2, theta likewise (Tieleman, Hinton 2012); decay is beta_2
// adam:     u = beta_1 u + (1 - beta_1) g, s as rmsprop's,
//           theta -= rate u / (1 - beta_1^t) / (sqrt(s / (1 - beta_2^t)) + epsilon) (Kingma, Ba 2015, algorithm 1)
enum class UpdateRule { sgd, momentum, nesterov, adagrad, rmsprop, adam };

struct Update {
    UpdateRule rule = UpdateRule::adam;
    double rate = 0.001;
    double momentum = 0.9;
    double beta_1 = 0.9;
    double beta_2 = 0.999;
    double epsilon = 1e-8;
    std::uint64_t step = 1;  // t, from 1
    // 1 / (1 - beta_1^t) and 1 / sqrt(1 - beta_2^t), filled in by prepared().
    double first_correction = 1;
    double second_correction = 1;
};

// The same, ready for a step: what depends on t alone is worked out. Throws std::invalid_argument.
Update prepared(Update options);

// How many numbers a rule keeps for each parameter: u, then s; 0, 1 or 2.
inline int kept_by(UpdateRule rule) { return rule == UpdateRule::sgd ? 0 : rule == UpdateRule::adam ? 2 : 1; }

// theta, gradient: n values; kept: kept_by(rule) times n values, all u before all s. Elementwise, in one pass.
template <class T>
void update(Context& context, const Update& options, std::int64_t n, const T* gradient, T* kept, T* theta);

// gradient += decay theta, unless it is null; returns the sum of squares of theta.
template <class T>
double add_decay(Context& context, T decay, std::int64_t n, const T* theta, T* gradient);

}  // namespace harmonium
