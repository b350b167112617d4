// -log p(x | z) of a row x given its natural parameters z, the output layer's inputs, and its derivatives by z.
#pragma once

#include "harmonium/context.hpp"
#include "harmonium/normal.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// bernoulli: log p = x z - log(1 + e^z), x in [0, 1]. gaussian: variance 1. laplace: scale 1. categorical: one-hot x of the
// group's columns, softmax(z). poisson: rate e^z.
enum class Likelihood { bernoulli, gaussian, laplace, categorical, poisson };

struct OutputGroup {
    Likelihood likelihood = Likelihood::bernoulli;
    std::int64_t first = 0;
    std::int64_t count = 0;
};

// The loss of one value, without what does not depend on z, and its derivative: the mean of x given z, less x.
template <Likelihood likelihood, class T>
HARMONIUM_HOST_DEVICE inline T loss_of(T x, T z, T& derivative) {
    if constexpr (likelihood == Likelihood::bernoulli) {
        const T e = exp(z < T(0) ? z : -z), on = T(1) / (T(1) + e);
        derivative = (z < T(0) ? e * on : on) - x;
        return (z > T(0) ? z : T(0)) - x * z + log1p_unit(e);
    } else if constexpr (likelihood == Likelihood::laplace) {
        const T d = z - x;
        derivative = d > T(0) ? T(1) : d < T(0) ? T(-1) : T(0);
        return d > T(0) ? d : -d;
    } else if constexpr (likelihood == Likelihood::poisson) {
        const T rate = exp(z);
        derivative = rate - x;
        return rate - x * z;
    } else {
        derivative = z - x;
        return T(0.5) * derivative * derivative;
    }
}
// The rest of it, for one value.
template <Likelihood likelihood>
HARMONIUM_HOST_DEVICE inline double loss_constant(double x) {
    if constexpr (likelihood == Likelihood::gaussian) return half_log_two_pi;
    else if constexpr (likelihood == Likelihood::laplace) return 0.69314718055994530942;
    else if constexpr (likelihood == Likelihood::poisson) return x <= 0.0 || x == 1.0 ? 0.0 : log_factorial(x);
    else return 0.0;
}

// loss[i] = -log p(x_i | z_i); where derivatives are wanted, z becomes scale times the derivative of that by z.
//   x: n x m, dense or sparse rows; z: n x m; groups lie one behind the other and fill the m columns; loss: n values.
//   Errors: of the loss 16 eps of the sum of its terms' sizes, of a derivative 8 ulp of the mean (softmax: and m eps).
//   Allocates scratch in the context once. Throws std::invalid_argument.
template <class T>
void likelihood_loss(Context& context, const OutputGroup* groups, std::int64_t n_groups, const States<T>& x, bool derivatives,
                     T scale, Matrix<T> z, double* loss);

// z becomes the mean of x given z: sigmoid(z), z, z, softmax(z), e^z.
template <class T>
void likelihood_mean(Context& context, const OutputGroup* groups, std::int64_t n_groups, Matrix<T> z);

}  // namespace harmonium
