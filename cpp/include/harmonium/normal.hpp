// The normal distribution, for units that take real values. In double; erfc is the C library's.
#pragma once

#include "harmonium/math.hpp"

namespace harmonium {

constexpr double half_log_two_pi = 0.91893853320467274178;

// The u that a quantile may take for a uniform number in [0, 1): the middle of its cell, never 0 or 1.
template <class T>
HARMONIUM_HOST_DEVICE inline double inside(T uniform) {
    return static_cast<double>(uniform) + (sizeof(T) == 4 ? 0x1p-25 : 0x1p-33);
}

// x with Phi(x) = u, 0 < u < 1. P. J. Acklam's rational approximation (2003), relative error below 1.2e-9.
HARMONIUM_HOST_DEVICE inline double normal_quantile(double u) {
    const double tail = u < 0.5 ? u : 1.0 - u;
    const double q = __builtin_sqrt(-2.0 * log(tail));
    const double outer_above =
        (((((-7.784894002430293e-03 * q - 3.223964580411365e-01) * q - 2.400758277161838e+00) * q - 2.549732539343734e+00) * q +
          4.374664141464968e+00) * q + 2.938163982698783e+00);
    const double outer_below =
        ((((7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e+00) * q + 3.754408661907416e+00) * q + 1.0);
    const double d = u - 0.5, r = d * d;
    const double inner_above =
        (((((-3.969683028665376e+01 * r + 2.209460984245205e+02) * r - 2.759285104469687e+02) * r + 1.383577518672690e+02) * r -
          3.066479806614716e+01) * r + 2.506628277459239e+00) * d;
    const double inner_below =
        (((((-5.447609879822406e+01 * r + 1.615858368580409e+02) * r - 1.556989798598866e+02) * r + 6.680131188771972e+01) * r -
          1.328068155288572e+01) * r + 1.0);
    const bool inner = tail >= 0.02425;
    return (inner ? inner_above : u < 0.5 ? outer_above : -outer_above) / (inner ? inner_below : outer_below);  // one division
}

// (1 - Phi(x)) / phi(x), Mills' ratio; beyond 5 by Laplace's continued fraction, 40 terms: 1e-15 relative.
HARMONIUM_HOST_DEVICE inline double mills_ratio(double x) {
    if (x < 5.0) return 1.2533141373155002512 * __builtin_erfc(x * 0.70710678118654752440) * exp(0.5 * x * x);
    double denominator = x;
    for (int k = 40; k >= 1; --k) denominator = x + k / denominator;
    return 1.0 / denominator;
}

// log Phi(x).
HARMONIUM_HOST_DEVICE inline double log_normal_cdf(double x) {
    if (x > -5.0) return log(0.5 * __builtin_erfc(-x * 0.70710678118654752440));
    return -0.5 * x * x - half_log_two_pi + log(mills_ratio(-x));
}

// The normal with mean a and variance 1, cut off below 0: p(h) ~ exp(a h - h^2 / 2), h >= 0. Its mean, the log of the
// integral of that exponential, and the h that a share u of it lies above.
HARMONIUM_HOST_DEVICE inline double rectified_mean(double a) {
    // For a far below 0, a + 1 / mills would cancel: 1 / mills(x) = x + 1 / (x + 2 / (x + ...)).
    if (a > -5.0) return a + 1.0 / mills_ratio(-a);
    double denominator = -a;
    for (int k = 40; k >= 2; --k) denominator = -a + k / denominator;
    return 1.0 / denominator;
}
HARMONIUM_HOST_DEVICE inline double rectified_log_normaliser(double a) {
    if (a > -5.0) return 0.5 * a * a + half_log_two_pi + log_normal_cdf(a);
    return log(mills_ratio(-a));  // without the squares that cancel
}
HARMONIUM_HOST_DEVICE inline double rectified_quantile(double a, double u) {
    double h;
    if (a > -4.0) {
        h = a - normal_quantile(u * (0.5 * __builtin_erfc(-a * 0.70710678118654752440)));
    } else {
        // Newton on log(1 - Phi(z)), which is concave: from the right it converges without overshooting.
        const double x = -a, target = log(u) + log(mills_ratio(x)) - 0.5 * x * x;
        double z = __builtin_sqrt(x * x - 2.0 * log(u));
        for (int k = 0; k < 4; ++k) {
            const double ratio = mills_ratio(z);
            z += (log(ratio) - 0.5 * z * z - target) * ratio;
        }
        h = z - x;
    }
    return h > 0.0 ? h : 0.0;
}

}  // namespace harmonium
