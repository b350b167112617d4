// Layers of units of any type on a GPU, or on the emulated one, against the CPU's.
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "check.hpp"
#include "cuda/enumerate.cuh"
#include "harmonium/units.hpp"
#include "on_device.hpp"

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};

Layer layer_of(const std::vector<std::pair<UnitType, std::int64_t>>& parts) {
    Layer layer;
    for (const auto& [type, count] : parts) layer.groups.push_back({type, layer.units(), count});
    return layer;
}

bool is_real(UnitType type) { return type == UnitType::gaussian || type == UnitType::relu; }

// The draws are the same; a mean or a real state is within 8 ulp of the largest of its group, on either side.
template <class T>
void test_units(const Layer& layer, std::int64_t rows, bool exposed, double size) {
    Context on_gpu(gpu), cpu(1);
    const std::int64_t m = layer.units();
    const Draw draw(11, Stream::hidden, 4);
    const Numbers<T> activation(rows, m, 1, size), bias(1, m, 2, size / 3);
    Numbers<T> exposure(1, rows), mean = activation, states(rows, m);
    for (std::int64_t i = 0; i < rows; ++i) exposure.at(0, i) = static_cast<T>(i * i % 50);
    const std::vector<double> nothing(static_cast<std::size_t>(rows));
    std::vector<double> logs = nothing;
    DrawnStates<T> drawn;
    drawn.dense = states.view();
    units<T>(cpu, layer, bias.data.data(), T(0.75), exposed ? exposure.data.data() : nullptr, draw, 3, mean.view(), drawn, logs.data());

    const OnDevice<T> a(on_gpu, activation.data), b(on_gpu, bias.data), e(on_gpu, exposure.data), x(on_gpu, states.data.size());
    const OnDevice<double> l(on_gpu, nothing);
    DrawnStates<T> there;
    there.dense = x.view(rows, m);
    const auto run = [&](double* log_normaliser) {
        units<T>(on_gpu, layer, b.memory.data(), T(0.75), exposed ? e.memory.data() : nullptr, draw, 3, a.view(rows, m), there, log_normaliser);
    };
    run(l.memory.data());
    const std::vector<T> means = a.on_host(), numbers = x.on_host();
    const std::vector<double> log_normalisers = l.on_host();
    for (std::int64_t i = 0; i < rows; ++i) {
        double largest = 1;
        for (const UnitGroup& group : layer.groups) {
            double most = 0, drawn_most = 0;
            for (std::int64_t j = group.first; j < group.first + group.count; ++j) {
                most = std::max(most, std::abs(static_cast<double>(mean.at(i, j))));
                drawn_most = std::max(drawn_most, std::abs(static_cast<double>(states.at(i, j))));
            }
            largest += most * most;
            for (std::int64_t j = group.first; j < group.first + group.count; ++j) {
                const auto at = static_cast<std::size_t>(i * m + j);
                CHECK_NEAR(means[at], mean.at(i, j), 16 * eps<T> * most);
                CHECK_NEAR(numbers[at], states.at(i, j), is_real(group.type) ? 16 * eps<T> * drawn_most + 1e-13 : 0.0);
            }
        }
        if (layer.counts()) {
            T words = 0;
            for (std::int64_t j = 0; j < m; ++j) words += states.at(i, j);
            CHECK(words == exposure.at(0, i));
        }
        const double words = exposed ? std::max(1.0, static_cast<double>(exposure.at(0, i))) : 1.0;
        CHECK_NEAR(log_normalisers[static_cast<std::size_t>(i)], logs[static_cast<std::size_t>(i)],
                   1e-12 * words * (static_cast<double>(m) * size + largest * static_cast<double>(m)));
    }
}

// Digits put together again are the number of the state.
template <class T>
void test_enumeration(const Layer& layer, std::int64_t first, std::int64_t rows) {
    Context on_gpu(gpu);
    cuda::State& state = cuda::use(on_gpu);
    const cuda::DeviceLayer there(state, layer);
    const std::int64_t m = layer.units();
    const auto size = static_cast<std::size_t>(cuda::Parts<T>::size(rows, m));
    std::vector<std::int64_t> numbers;
    for (std::int64_t i = 0; i < rows; ++i) numbers.push_back(first + i * i % rows);
    const OnDevice<std::int64_t> which(on_gpu, numbers);
    const OnDevice<T> all(on_gpu, std::vector<T>(static_cast<std::size_t>(rows * m), T(7))), some = OnDevice<T>(on_gpu, all.memory.size());
    const OnDevice<typename cuda::Parts<T>::Element> parts(on_gpu, std::vector<typename cuda::Parts<T>::Element>(size));
    cuda::enumerate_states<T>(state, there.view(), first, all.view(rows, m));
    cuda::enumerate_states<T>(state, there.view(), first, cuda::Parts<T>(parts.memory.data(), rows, m));
    cuda::chosen_states<T>(state, there.view(), which.memory.data(), some.view(rows, m));
    const std::vector<T> states = all.on_host(), chosen = some.on_host();
    auto operand = parts.on_host();
    const cuda::Parts<T> on(operand.data(), rows, m);
    for (std::int64_t i = 0; i < rows; ++i) {
        const T* x = states.data() + i * m;
        std::int64_t number = 0, place = 1;
        for (const UnitGroup& group : layer.groups) {
            if (group.type == UnitType::categorical) CHECK(std::count(x + group.first, x + group.first + group.count, T(1)) == 1);
            for (std::int64_t j = group.first; j < group.first + group.count; ++j) {
                CHECK(x[j] == T(0) || x[j] == T(1));
                number += x[j] == T(1) ? place * (group.type == UnitType::categorical ? j - group.first : 1) : 0;
                if (group.type == UnitType::bernoulli) place *= 2;
                CHECK(on.is_on(i, j) == (x[j] == T(1)));
            }
            if (group.type == UnitType::categorical) place *= group.count;
        }
        CHECK(number == first + i);
        const T* same = states.data() + (numbers[static_cast<std::size_t>(i)] - first) * m;
        CHECK(std::equal(same, same + m, chosen.data() + i * m));
    }
}

void test_refusals() {
    Context on_gpu(gpu);
    const Layer layer = layer_of({{UnitType::bernoulli, 3}});
    const OnDevice<float> a(on_gpu, 6);
    const OnDevice<std::uint64_t> words(on_gpu, 2);
    DrawnStates<float> drawn;
    const auto run = [&](std::int64_t cols) {
        units<float>(on_gpu, layer, nullptr, 1.0f, nullptr, Draw(), 0, Matrix<float>(a.memory.data(), 2, cols), drawn, nullptr);
    };
    CHECK_THROWS(std::invalid_argument, "2 columns, the layer has 3 units", run(2));
    drawn.bits = BitMatrix(words.memory.data(), 2, 3);
    CHECK_THROWS(std::invalid_argument, "on a GPU states are drawn as numbers", run(3));
    drawn = {};
    drawn.dense = a.view(1, 3);
    CHECK_THROWS(std::invalid_argument, "states of 1 x 3, activation 2 x 3", run(3));
}

}  // namespace

void test_device_units() {
    const Layer mixed = layer_of({{UnitType::bernoulli, 70}, {UnitType::gaussian, 3}, {UnitType::categorical, 5}, {UnitType::categorical, 40},
                                  {UnitType::relu, 9}, {UnitType::categorical, 1}, {UnitType::categorical, 33}});
    for (const double size : {2.0, 30.0}) {
        test_units<float>(mixed, 9, false, size);
        test_units<double>(mixed, 9, true, size);
        for (const UnitType type : {UnitType::bernoulli, UnitType::gaussian, UnitType::relu, UnitType::categorical}) {
            test_units<float>(layer_of({{type, 65}}), 3, true, size);
            test_units<double>(layer_of({{type, 1}}), 3, false, size);
        }
        for (const std::int64_t words : {1, 40, 700}) test_units<float>(layer_of({{UnitType::count, words}}), 6, true, size);
        test_units<double>(layer_of({{UnitType::count, 300}}), 6, true, size);
    }
    test_units<float>(layer_of({{UnitType::count, 70000}}), 2, true, 2.0);  // heaps are deeper
    const Layer choices = layer_of({{UnitType::bernoulli, 2}, {UnitType::categorical, 3}, {UnitType::categorical, 1},
                                    {UnitType::bernoulli, 1}, {UnitType::categorical, 7}});
    test_enumeration<float>(choices, 0, 168);
    test_enumeration<double>(choices, 31, 130);
    test_enumeration<float>(layer_of({{UnitType::bernoulli, 25}}), (std::int64_t(1) << 25) - 150, 150);
    test_enumeration<double>(choices, 0, 0);
    test_refusals();
}

}  // namespace harmonium_test
