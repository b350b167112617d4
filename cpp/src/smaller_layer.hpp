// The layer of an RBM over whose states Z is summed, the units of the other layer being summed analytically.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "harmonium/error.hpp"
#include "harmonium/math.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "likelihood_kernels.hpp"

namespace harmonium {

struct SmallerLayer {
    std::int64_t units, others, length;  // length: of rows, others padded
    std::vector<double> bias, start;     // of these units, and of the other ones
    AlignedVector<double> rows;          // units x length: the weights
    // The largest |activation| of another unit in any state: it decides whether exps of activations, and products of such, fit
    // a double.
    double reach = 0;

    template <class T>
    explicit SmallerLayer(const Rbm<T>& model) {
        const bool by_hidden = model.hidden() <= model.visible();
        units = by_hidden ? model.hidden() : model.visible();
        others = by_hidden ? model.visible() : model.hidden();
        length = padded_length(others);
        require(units <= max_enumerated_units, "log_partition: the smaller layer has ", units, " units, ", max_enumerated_units,
                " can be enumerated; use method=\"ais\"");
        const T *unit_bias = by_hidden ? model.hidden_bias : model.visible_bias, *other_bias = by_hidden ? model.visible_bias : model.hidden_bias;
        bias.assign(unit_bias, unit_bias + units);
        start.assign(static_cast<std::size_t>(length), padding_activation);
        std::copy(other_bias, other_bias + others, start.begin());
        rows.resize(static_cast<std::size_t>(units * length));
        for (std::int64_t k = 0; k < units; ++k) {
            for (std::int64_t j = 0; j < others; ++j) row(k)[j] = static_cast<double>(by_hidden ? model.weights.row(j)[k] : model.weights.row(k)[j]);
        }
        for (std::int64_t j = 0; j < others; ++j) {
            double high = start[static_cast<std::size_t>(j)], low = high;
            for (std::int64_t k = 0; k < units; ++k) {
                high += std::max(row(k)[j], 0.0);
                low += std::min(row(k)[j], 0.0);
            }
            reach = std::max({reach, high, -low});
        }
    }
    double* row(std::int64_t k) { return rows.data() + k * length; }
    // So many factors 1 + exp(activation) of any state multiply to less than the largest double.
    int factors() const { return static_cast<int>(std::max(1.0, std::min(1e6, 700.0 / (reach + 0.7)))); }
};

// log of the sum of all of them, in this order.
inline double log_of_sum(const std::vector<LogSum>& parts) {
    double largest = parts[0].largest, sum = 0;
    for (const LogSum& part : parts) largest = std::max(largest, part.largest);
    for (const LogSum& part : parts) sum += part.sum * exp(part.largest - largest);
    return largest + log(sum);
}

}  // namespace harmonium
