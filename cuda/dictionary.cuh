#pragma once

#include "harmonium/dictionary.hpp"

namespace harmonium::cuda {

// dictionary_update of dictionary.hpp on the context's device.
void dictionary_update(Context& context, Matrix<const double> a, Matrix<const double> b, bool positive, Matrix<double> scratch,
                       Matrix<double> d);

// code_statistics of dictionary.hpp; and of codes written out, in double as rows are: two products.
template <class T>
void code_statistics(Context& context, const SparseRows<T>& h, Matrix<const T> x, double keep, double share, Matrix<double> a,
                     Matrix<double> b);
void code_statistics(State& state, Matrix<const double> h, Matrix<const double> x, double keep, double share, Matrix<double> a,
                     Matrix<double> b);

// What learning does beside. out = from, in another type.
template <class From, class To>
void convert(State& state, Matrix<const From> from, Matrix<To> out);
// nonzeros[k]: codes of atom k that are not zero. idle[k]: rows since the last block of `rows` rows in which one was not.
template <class T>
void count_uses(State& state, Matrix<const T> codes, std::int64_t rows, double* nonzeros, double* idle);
// Atoms which[0], ..., which[n - 1] become these rows, as if no code had used them, and are idle no longer.
void replace_atoms(State& state, std::int64_t n, const std::int32_t* which, const double* rows, Matrix<double> d, Matrix<double> a,
                   Matrix<double> b, double* idle);

}  // namespace harmonium::cuda
