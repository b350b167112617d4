#include "likelihood_loss_kernels.hpp"
#include "simd.hpp"

namespace harmonium {
namespace {

// The sum of term(j) over j < n: sixteen partial sums whatever the level, so that all levels add in the same order.
template <class T, class Term>
HARMONIUM_INLINE double sum_over(std::int64_t n, const Term& term) {
    T partial[16] = {};
    std::int64_t j = 0;
    for (; j + 16 <= n; j += 16) {
        for (int k = 0; k < 16; ++k) partial[k] += term(j + k);
    }
    for (int k = 0; j + k < n; ++k) partial[k] += term(j + k);
    double sum = 0;
    for (int k = 0; k < 16; ++k) sum += static_cast<double>(partial[k]);
    return sum;
}

template <Likelihood likelihood, class T>
double loss_of_values(const T* x, std::int64_t n, bool derivatives, T scale, T* z) {
    double sum;
    if (derivatives) {
        sum = sum_over<T>(n, [&](std::int64_t j) {
            T derivative;
            const T loss = loss_of<likelihood>(x[j], z[j], derivative);
            z[j] = scale * derivative;
            return loss;
        });
    } else {
        sum = sum_over<T>(n, [&](std::int64_t j) {
            T derivative;
            return loss_of<likelihood>(x[j], z[j], derivative);
        });
    }
    if constexpr (likelihood == Likelihood::poisson) {
        for (std::int64_t j = 0; j < n; ++j) {
            if (x[j] != T(0)) sum += loss_constant<likelihood>(static_cast<double>(x[j]));
        }
    } else {
        sum += static_cast<double>(n) * loss_constant<likelihood>(0.0);
    }
    return sum;
}

template <class T>
T greatest(const T* z, std::int64_t n) {
    T most = z[0];
    for (std::int64_t j = 1; j < n; ++j) most = z[j] > most ? z[j] : most;
    return most;
}

// -sum x log softmax(z) = log(sum e^(z - most)) - sum x (z - most), for x that sum to 1.
template <class T>
double loss_of_choice(const T* x, std::int64_t n, bool derivatives, T scale, T* z) {
    const T most = greatest(z, n);
    double chosen = 0, total = 0;
    for (std::int64_t j = 0; j < n; ++j) {
        const T d = z[j] - most, e = exp(d);
        chosen += static_cast<double>(x[j] * d);
        total += static_cast<double>(e);
        z[j] = e;
    }
    const T inverse = T(1.0 / total);
    for (std::int64_t j = 0; derivatives && j < n; ++j) z[j] = scale * (z[j] * inverse - x[j]);
    return log(total) - chosen;
}

template <class T>
double loss_of_row(const OutputGroup* groups, std::int64_t n_groups, const T* x, bool derivatives, T scale, T* z) {
    double sum = 0;
    for (std::int64_t g = 0; g < n_groups; ++g) {
        const std::int64_t first = groups[g].first, n = groups[g].count;
        switch (groups[g].likelihood) {
            case Likelihood::bernoulli: sum += loss_of_values<Likelihood::bernoulli>(x + first, n, derivatives, scale, z + first); break;
            case Likelihood::gaussian: sum += loss_of_values<Likelihood::gaussian>(x + first, n, derivatives, scale, z + first); break;
            case Likelihood::laplace: sum += loss_of_values<Likelihood::laplace>(x + first, n, derivatives, scale, z + first); break;
            case Likelihood::poisson: sum += loss_of_values<Likelihood::poisson>(x + first, n, derivatives, scale, z + first); break;
            case Likelihood::categorical: sum += loss_of_choice(x + first, n, derivatives, scale, z + first); break;
        }
    }
    return sum;
}

template <class T>
void mean_of_row(const OutputGroup* groups, std::int64_t n_groups, T* row) {
    for (std::int64_t g = 0; g < n_groups; ++g) {
        T* z = row + groups[g].first;
        const std::int64_t n = groups[g].count;
        if (groups[g].likelihood == Likelihood::bernoulli) {
            for (std::int64_t j = 0; j < n; ++j) z[j] = sigmoid(z[j]);
        } else if (groups[g].likelihood == Likelihood::poisson) {
            for (std::int64_t j = 0; j < n; ++j) z[j] = exp(z[j]);
        } else if (groups[g].likelihood == Likelihood::categorical) {
            const T most = greatest(z, n);
            double total = 0;
            for (std::int64_t j = 0; j < n; ++j) {
                z[j] = exp(z[j] - most);
                total += static_cast<double>(z[j]);
            }
            const T inverse = T(1.0 / total);
            for (std::int64_t j = 0; j < n; ++j) z[j] *= inverse;
        }
    }
}

}  // namespace

namespace HARMONIUM_LEVEL {
template <class T>
LikelihoodLossKernels<T> likelihood_loss_kernels() {
    return {loss_of_row<T>, mean_of_row<T>};
}
template LikelihoodLossKernels<float> likelihood_loss_kernels<float>();
template LikelihoodLossKernels<double> likelihood_loss_kernels<double>();
}  // namespace HARMONIUM_LEVEL
}  // namespace harmonium
