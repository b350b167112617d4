// The contractive penalty: the squared Frobenius norm of the encoder's Jacobian J = dh / dx at every row
// (Rifai, Vincent, Muller, Glorot, Bengio, "Contractive auto-encoders", ICML 2011), and its exact gradient.
#pragma once

#include <vector>

#include "harmonium/activation.hpp"
#include "harmonium/context.hpp"
#include "harmonium/matrix.hpp"

namespace harmonium {

// A layer of the encoder at a batch of n rows. gradient, delta: no data where no gradient is wanted.
template <class T>
struct ContractionLayer {
    Matrix<const T> weights;     // D x H
    Activation activation = Activation::sigmoid;
    Matrix<const T> output;      // n x H
    Matrix<T> gradient;          // D x H: scale times the derivative by W at fixed z is added
    Matrix<T> delta;             // n x H: set to scale times the derivative by z at fixed W, backpropagation adds it
};

// penalty[i] = norm(J_i)^2. One layer: sum_j f'(z_j)^2 norm(W_j)^2, and no J is formed (eq. 6 there); several: as the product
//   W_1 S_1 W_2 S_2 ..., S the diagonals of slopes, of some rows at a time; its gradient runs back along that product.
//   scratch: contraction_scratch(layers) values. Throws std::invalid_argument.
template <class T>
void contraction(Context& context, const std::vector<ContractionLayer<T>>& layers, T scale, double* penalty, T* scratch);
template <class T>
std::int64_t contraction_scratch(const std::vector<ContractionLayer<T>>& layers);

}  // namespace harmonium
