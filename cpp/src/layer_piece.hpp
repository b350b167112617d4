// One panel of one layer for some rows: the piece of work of bernoulli_layer and of rbm_step.
#pragma once

#include "harmonium/bernoulli.hpp"
#include "panel_product.hpp"

namespace harmonium {

// What layer_piece needs of a worker's scratch, in elements.
template <class T>
std::int64_t layer_piece_scratch(const Factor<T>& w) {
    return panel_product_scratch(w) + rows_per_task * 64;
}

// Rows [first, first + count) of panel p, count at most rows_per_task; as bernoulli_layer.
template <class T>
void layer_piece(const States<T>& a, const Factor<T>& w, const T* bias, T scale, const LayerOutput<T>& out, std::int64_t p,
                 std::int64_t first, std::int64_t count, T* scratch);

}  // namespace harmonium
