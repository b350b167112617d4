// How likely data are under an RBM: exactly where a layer can be enumerated, else by annealed importance sampling. With a GPU's
// context arguments are the host's all the same; rows are streamed through the GPU, in products of T, and chains stay there.
#pragma once

#include "harmonium/rbm.hpp"

namespace harmonium {

// F(v) = -b.v - sum_j softplus(c_j + (v^T W)_j), so that p(v) = exp(-F(v)) / Z.  v: n x D states; out: n values.
// Products in T, sums in double.
template <class T>
void rbm_free_energy(Context& context, const Rbm<T>& model, const States<T>& v, double* out);

// sum_i log p(v_i | the other units) (Besag 1975), exact: log p(v_i | .) = -softplus(F(v) - F(v with v_i -> 1 - v_i)).
//   v: n x D states (numbers between 0 and 1 are flipped to 1 - v_i as well); out: n values. In double.
//   units: the sum goes over these i only, n_units of them; null: over all.
//   Bits: D H multiplications a row, by ratios (1 + e^(a + d)) / (1 + e^a) = 1 + sigmoid(a) (e^d - 1), multiplied up.
template <class T>
void rbm_pseudo_log_likelihood(Context& context, const Rbm<T>& model, const States<T>& v, double* out,
                               const std::int64_t* units = nullptr, std::int64_t n_units = 0);

constexpr int max_enumerated_units = 25;

// log Z by summing over all states of the smaller layer, the other summed analytically. In double, relative error of Z about
// 1e-12; a GPU's sums come in an order of their own. Throws std::invalid_argument where both layers have more than
// max_enumerated_units.
template <class T>
double rbm_log_partition(Context& context, const Rbm<T>& model);

// Annealed importance sampling from the model with visible biases `base`, no hidden biases and no weights (Neal 2001;
// Salakhutdinov and Murray 2008, eq. 15-18): energies (1 - beta) E_base + beta E along betas[0..n_betas).
//   log_weights: n_runs values, log of w with E[w] = Z(betas.back) / Z(betas.front).
//   start: n_runs x D bits, exact draws at betas.front; no data: drawn from the base model, betas.front must be 0.
//   Downwards (betas from 1 to 0, start from the model) it is reverse AIS.
// On a GPU too: the same draws given the same probabilities.
template <class T>
void rbm_anneal(Context& context, const Rbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                ConstBitMatrix start, std::uint64_t seed, std::int64_t n_runs, double* log_weights);

// log Z of that base model: sum_i softplus(base_i) + H log 2.
double rbm_base_log_partition(const double* base, std::int64_t visible, std::int64_t hidden);

}  // namespace harmonium
