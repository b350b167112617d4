#pragma once

#include "harmonium/unit_rbm.hpp"

namespace harmonium::cuda {

// The functions of unit_rbm.hpp wholly on the context's device. The model is the host's, and all is checked.
template <class T>
void rbm_probability(Context& context, const UnitRbm<T>& model, const UnitData<T>& given, bool of_visible, Matrix<T> out);
template <class T>
void rbm_gibbs(Context& context, const UnitRbm<T>& model, const UnitData<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, Matrix<const T> values, Matrix<T> v);
template <class T>
void rbm_free_energy(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out);
template <class T>
void rbm_pseudo_log_likelihood(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out);
template <class T>
void rbm_enumerate(Context& context, const UnitRbm<T>& model, bool hidden, std::int64_t first, std::int64_t count, double* own, double* others);
template <class T>
void rbm_anneal(Context& context, const UnitRbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                const UnitData<T>& start, std::uint64_t seed, std::int64_t n_runs, double* log_weights, Matrix<T> v);
template <class T>
void rbm_temper(Context& context, const UnitRbm<T>& model, const T* base, std::int64_t n_temperatures, std::int64_t n_steps,
                std::uint64_t seed, Matrix<T> v, double* swaps);

}  // namespace harmonium::cuda
