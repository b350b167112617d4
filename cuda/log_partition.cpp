// log Z of an RBM by enumeration on a GPU.
#include <algorithm>
#include <vector>

#include "copy.cuh"
#include "rbm.cuh"
#include "state_sums.cuh"

namespace harmonium::cuda {

double rbm_log_partition(Context& context, const SmallerLayer& layer) {
    constexpr double largest_odds = 350;  // the low units alone reach twice as far
    constexpr int most_factors = 1000;    // each at most 2
    constexpr std::int64_t most_low = 10, most_numbers = std::int64_t(1) << 23;
    State& state = use(context);
    const std::int64_t others = layer.others, low_units = std::min((layer.units + 1) / 2, most_low), high_units = layer.units - low_units;
    const std::int64_t low_states = std::int64_t(1) << low_units, high_states = std::int64_t(1) << high_units;
    const DeviceBuffer<double> weights = on_the_device(state, layer.rows.data(), layer.units * layer.length);
    const DeviceBuffer<double> bias = on_the_device(state, layer.bias.data(), layer.units), start = on_the_device(state, layer.start.data(), others);
    const DeviceBuffer<double> low(static_cast<std::size_t>((others + 1) * low_states));
    // High states at a time: their table takes 64 MiB at most, and a launch milliseconds.
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    const std::int64_t numbers = std::min(most_numbers, static_cast<std::int64_t>(free / 4 / sizeof(double)));
    const std::int64_t piece = std::min(high_states, std::max<std::int64_t>(numbers / (others + 1) / StateSums::tile, 1) * StateSums::tile);
    const DeviceBuffer<double> high(static_cast<std::size_t>((others + 1) * piece));
    const DeviceBuffer<LogSum> there(static_cast<std::size_t>(StateSums::tiles(piece) * StateSums::tiles(low_states)));
    std::vector<LogSum> parts;

    StateSums sums;
    sums.odds = layer.reach < largest_odds;
    sums.factors = sums.odds ? layer.factors() : most_factors;
    sums.parts = there.data();
    CausedBy cause;
    cause.odds = sums.odds;
    cause.weights = {weights.data(), low_units, others, layer.length};
    cause.bias = bias.data();
    sums.low = cause.out = {low.data(), others + 1, low_states};
    caused_activations(state, cause);
    cause.weights = {weights.data() + low_units * layer.length, high_units, others, layer.length};
    cause.bias += low_units;
    cause.start = start.data();
    for (cause.first = 0; cause.first < high_states; cause.first += piece) {
        context.poll(static_cast<double>(cause.first) / static_cast<double>(high_states));
        sums.high = cause.out = {high.data(), others + 1, std::min(piece, high_states - cause.first)};
        caused_activations(state, cause);
        sum_states(state, sums);
        const std::size_t before = parts.size();
        parts.resize(before + static_cast<std::size_t>(sums.blocks()));
        copy_numbers<LogSum>(state, sums.parts, sums.blocks(), parts.data() + before);
        context.synchronize();
    }
    return log_of_sum(parts);
}

}  // namespace harmonium::cuda
