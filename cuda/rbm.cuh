#pragma once

#include "harmonium/rbm.hpp"
#include "smaller_layer.hpp"

namespace harmonium::cuda {

// The functions of rbm.hpp and rbm_likelihood.hpp wholly on the context's device. Everything given is the host's, and checked.
template <class T>
void rbm_gibbs(Context& context, const Rbm<T>& model, const States<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, ConstBitMatrix values, BitMatrix v);
// p(v = 1 | h) with of_visible, else p(h = 1 | v).
template <class T>
void rbm_probability(Context& context, const Rbm<T>& model, const States<T>& given, bool of_visible, Matrix<T> out);
template <class T>
void rbm_free_energy(Context& context, const Rbm<T>& model, const States<T>& v, double* out);
template <class T>
void rbm_pseudo_log_likelihood(Context& context, const Rbm<T>& model, const States<T>& v, double* out, const std::int64_t* units,
                               std::int64_t n_units);
double rbm_log_partition(Context& context, const SmallerLayer& layer);
template <class T>
void rbm_anneal(Context& context, const Rbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                ConstBitMatrix start, std::uint64_t seed, std::int64_t n_runs, double* log_weights);

}  // namespace harmonium::cuda
