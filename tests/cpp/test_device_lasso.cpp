// shrink, lasso, lipschitz_bound, dictionary_update and sparse_coding_train on a GPU, or on the emulated one: against the CPU,
// and codes certified by plain loops.
#include <stdexcept>

#include "check.hpp"
#include "harmonium/dictionary.hpp"
#include "harmonium/shrink.hpp"
#include "harmonium/sparse_coding.hpp"
#include "lasso_cases.hpp"
#include "on_device.hpp"

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};

template <class T>
void test_shrink() {
    Context on_gpu(gpu), cpu;
    for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>(1, 1), {5, 67}, {70, 300}}) {
        const Numbers<T> x(rows, cols, 1, 2.0);
        Numbers<T> a(1, cols, 2), expected(rows, cols);
        for (T& threshold : a.data) threshold = threshold < 0 ? -threshold : threshold;
        for (const bool positive : {false, true}) {
            shrink<T>(cpu, x.view(), a.data.data(), positive, expected.view());
            const OnDevice<T> from(on_gpu, x.data), thresholds(on_gpu, a.data), out(on_gpu, x.data.size());
            shrink<T>(on_gpu, from.view(rows, cols), thresholds.memory.data(), positive, out.view(rows, cols));
            CHECK(out.on_host() == expected.data);
        }
        a.data.back() = T(-1);
        const OnDevice<T> wrong(on_gpu, a.data), same(on_gpu, x.data);
        CHECK_THROWS(std::invalid_argument, "is negative or NaN",
                     shrink<T>(on_gpu, same.view(rows, cols), wrong.memory.data(), false, same.view(rows, cols)));
        CHECK(same.on_host() == x.data);
    }
}

template <class T>
struct Case {
    std::int64_t n, atoms, features;
    LassoAlgorithm algorithm;
    bool positive, masked, by_row;
    double tol;
};

template <class T>
void test_codes(const Case<T>& c) {
    Context on_gpu(gpu), cpu;
    const std::int64_t n = c.n, K = c.atoms;
    const Numbers<T> x(n, c.features, 1), d(K, c.features, 2);
    Numbers<std::uint8_t> observed(n, c.features);
    for (std::size_t i = 0; i < observed.data.size(); ++i) observed.data[i] = i % 4 != 3;
    std::vector<double> alpha(static_cast<std::size_t>(c.by_row ? n * K : K));
    for (std::size_t i = 0; i < alpha.size(); ++i) alpha[i] = 0.2 + 0.01 * static_cast<double>(i % 7);
    if (K > 3) alpha[2] = std::numeric_limits<double>::infinity();
    const LassoPenalty penalty{alpha.data(), c.by_row ? K : 0, 1};
    const LassoOptions options{c.algorithm, c.tol, 100000, c.positive};
    const auto mask = c.masked ? observed.view() : Matrix<std::uint8_t>();
    Numbers<T> h(n, K, 3), expected = h;
    for (T& code : h.data) code = code < T(0.5) ? T(0) : code;  // where to start
    expected = h;
    std::vector<double> gaps(static_cast<std::size_t>(n), -1);
    std::vector<std::int32_t> n_iter(static_cast<std::size_t>(n), -1);
    // From the host's memory, and everything on the device.
    CHECK(lasso<T>(on_gpu, x.view(), d.view(), penalty, mask, options, h.view(), gaps.data(), n_iter.data()) == 0);
    const OnDevice<T> xs(on_gpu, x.data), ds(on_gpu, d.data), hs(on_gpu, expected.data);
    const OnDevice<double> alphas(on_gpu, alpha), all_gaps(on_gpu, gaps.size());
    const OnDevice<std::uint8_t> there(on_gpu, observed.data);
    const OnDevice<std::int32_t> steps(on_gpu, n_iter.size());
    CHECK(lasso<T>(on_gpu, xs.view(n, c.features), ds.view(K, c.features), {alphas.memory.data(), penalty.row_stride, 1},
                   c.masked ? there.view(n, c.features) : Matrix<std::uint8_t>(), options, hs.view(n, K), all_gaps.memory.data(),
                   steps.memory.data()) == 0);
    CHECK(hs.on_host() == h.data && all_gaps.on_host() == gaps && steps.on_host() == n_iter);
    std::vector<double> cpu_gaps(gaps.size());
    std::vector<std::int32_t> cpu_steps(n_iter.size());
    lasso<T>(cpu, x.view(), d.view(), penalty, mask, options, expected.view(), cpu_gaps.data(), cpu_steps.data());
    const Numbers<std::uint8_t>* seen = c.masked ? &observed : nullptr;
    std::int64_t not_zero = 0;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto [objective, gap] = objective_and_gap(x, d, h, alpha, c.by_row, c.positive, seen, i);
        const double reported = gaps[static_cast<std::size_t>(i)], on_cpu = objective_and_gap(x, d, expected, alpha, c.by_row, c.positive, seen, i).first;
        CHECK_NEAR(reported, gap, 1e-13 * static_cast<double>(c.features * K));
        CHECK(reported <= (c.tol + (sizeof(T) == 4 ? 1e-5 : 0)) * objective);
        CHECK(objective <= on_cpu + reported + 1e-12 && on_cpu <= objective + cpu_gaps[static_cast<std::size_t>(i)] + 1e-12);
        CHECK(n_iter[static_cast<std::size_t>(i)] >= 0);
        for (std::int64_t k = 0; k < K; ++k) {
            not_zero += h.at(i, k) != 0;
            CHECK(!(c.positive && h.at(i, k) < 0) && !(h.at(i, k) == 0 && std::signbit(h.at(i, k))));
        }
    }
    CHECK(not_zero > 0 || K == 1);
}

// tol = 0: step by step in double, as the CPU goes.
template <class T>
void test_steps() {
    Context on_gpu(gpu), cpu;
    const Numbers<T> x(7, 9, 1), d(20, 9, 2);
    const double alpha = 0.05;
    for (const LassoAlgorithm algorithm : {LassoAlgorithm::ista, LassoAlgorithm::fista}) {
        for (const std::int64_t steps : {0, 1, 2, 5, 30}) {
            const LassoOptions options{algorithm, 0, steps, false};
            Numbers<T> a(7, 20, 3), b = a;
            std::vector<double> gaps(7);
            std::vector<std::int32_t> n_iter(7), on_cpu(7);
            const auto left = lasso<T>(cpu, x.view(), d.view(), {&alpha, 0, 0}, {}, options, b.view(), gaps.data(), on_cpu.data());
            CHECK(lasso<T>(on_gpu, x.view(), d.view(), {&alpha, 0, 0}, {}, options, a.view(), gaps.data(), n_iter.data()) == left);
            CHECK(n_iter == on_cpu);
            // Errors of a step are not made larger by the next: gradient steps of 1 / L do not stretch distances, momentum at most threefold.
            for (std::size_t i = 0; i < a.data.size(); ++i) {
                CHECK_NEAR(a.data[i], b.data[i], 4 * eps<T> * (1 + std::abs(b.data[i])) + 1e-12);
            }
        }
    }
}

template <class T>
void test_bound() {
    Context on_gpu(gpu), cpu;
    for (const auto& [K, d] : {std::pair<std::int64_t, std::int64_t>(1, 1), {9, 30}, {33, 7}}) {
        const Numbers<T> atoms(K, d, 4), zeros(K, d);
        const double expected = lipschitz_bound<T>(cpu, atoms.view());
        CHECK_NEAR(lipschitz_bound<T>(on_gpu, atoms.view()), expected, 1e-11 * expected);
        CHECK(lipschitz_bound<T>(on_gpu, zeros.view()) == 0);
    }
}

// Atoms in part of a group of 32 and past one; one that no code uses, one whose u is not positive, and data of any size.
void test_dictionary_update() {
    Context on_gpu(gpu), cpu;
    for (const auto& [K, d] : {std::pair<std::int64_t, std::int64_t>(1, 1), {9, 70}, {41, 7}}) {
        for (const double scale : {1.0, 1e-170, 1e160}) {
            const Numbers<double> h(3 * K, K, 1), start = unit_rows<double>(K, d, 2);
            Numbers<double> a(K, K), b(K, d, 3, scale), scratch(32, d);
            for (std::int64_t i = 0; i < K; ++i) {
                for (std::int64_t j = 0; j < K; ++j) {
                    for (std::int64_t r = 0; r < h.rows; ++r) a.at(i, j) += scale * h.at(r, i) * h.at(r, j) / static_cast<double>(h.rows);
                }
            }
            if (K > 2) a.at(2, 2) = 0;
            if (K > 4) {
                for (std::int64_t j = 0; j < K; ++j) a.at(4, j) = j == 4;
                for (std::int64_t f = 0; f < d; ++f) b.at(4, f) = -scale;
            }
            for (const bool positive : {false, true}) {
                Numbers<double> expected = start;
                dictionary_update(cpu, a.view(), b.view(), positive, scratch.view(), expected.view());
                const OnDevice<double> as(on_gpu, a.data), bs(on_gpu, b.data), ds(on_gpu, start.data), room(on_gpu, scratch.data);
                dictionary_update(on_gpu, as.view(K, K), bs.view(K, d), positive, room.view(32, d), ds.view(K, d));
                const std::vector<double> found = ds.on_host();
                for (std::int64_t k = 0; k < K; ++k) {
                    for (std::int64_t f = 0; f < d; ++f) {
                        // A sum over K atoms for each atom, which those after it take on.
                        CHECK_NEAR(found[static_cast<std::size_t>(k * d + f)], expected.at(k, f), 64 * eps<double> * static_cast<double>(K * K));
                    }
                }
                if (K > 4) CHECK(std::equal(start.data.begin() + 2 * d, start.data.begin() + 3 * d, found.begin() + 2 * d));
            }
        }
    }
}

// Two passes over rows of which one was never coded with the last atom; the caller's memory is of the host, or of the device.
template <class T>
void test_learning() {
    Context on_gpu(gpu), cpu;
    const std::int64_t n = 30, K = 6, d = 5;
    const Numbers<T> x(n, d, 1);
    SparseCodingOptions options;
    options.alpha = 0.3;
    options.lasso = {LassoAlgorithm::fista, 1e-4, 1000, false};
    options.batch_size = 13;
    options.redraw_after = 20;
    const auto go_on = [](const SparseCodingEpoch&) { return false; };
    Numbers<T> start = unit_rows<T>(K, d, 2);
    for (std::int64_t f = 0; f < d; ++f) start.at(K - 1, f) = T(1e-3);  // too short to be used: it is redrawn
    const Numbers<double> nothing(K, K + d + 1);
    const auto learn = [&](Context& context, T* dictionary, double* others) {
        SparseCodingState<T> state{{dictionary, K, d}, {others, K, K}, {others + K * K, K, d}, others + K * (K + d)};
        double redrawn = 0;
        sparse_coding_train<T>(context, x.view(), options, 2, state, [&](const SparseCodingEpoch& epoch) {
            redrawn += epoch.redrawn;
            return false;
        });
        CHECK(redrawn > 0 && state.steps == 6 && state.epochs == 2);
    };
    Numbers<T> on_host = start, expected = start;
    Numbers<double> others = nothing, expected_others = nothing;
    learn(cpu, expected.data.data(), expected_others.data.data());
    learn(on_gpu, on_host.data.data(), others.data.data());
    const OnDevice<T> there(on_gpu, start.data);
    const OnDevice<double> others_there(on_gpu, nothing.data);
    learn(on_gpu, there.memory.data(), others_there.memory.data());
    CHECK(there.on_host() == on_host.data && others_there.on_host() == others.data);
    // Codes within 1e-4 of their least objective are within sqrt(2e-4) of the best; most are nearer by far.
    for (std::size_t i = 0; i < on_host.data.size(); ++i) CHECK_NEAR(on_host.data[i], expected.data[i], 1.5e-2);
    for (std::size_t i = 0; i < others.data.size(); ++i) CHECK_NEAR(others.data[i], expected_others.data[i], 1.5e-2);
    options.lasso.algorithm = LassoAlgorithm::cd;
    SparseCodingState<T> state{{on_host.data.data(), K, d}, {others.data.data(), K, K}, {others.data.data() + K * K, K, d}, others.data.data()};
    CHECK_THROWS(std::invalid_argument, "does not run on a GPU", sparse_coding_train<T>(on_gpu, x.view(), options, 1, state, go_on));
}

}  // namespace

void test_device_lasso() {
    test_dictionary_update();
    test_learning<float>();
    test_learning<double>();
    test_shrink<float>();
    test_shrink<double>();
    test_bound<float>();
    test_bound<double>();
    test_steps<float>();
    test_steps<double>();
    constexpr auto ista = LassoAlgorithm::ista, fista = LassoAlgorithm::fista;
    test_codes<float>({300, 21, 9, fista, false, false, false, 1e-4});  // rows come and go: slots are given on
    test_codes<float>({40, 130, 13, fista, true, false, true, 1e-6});
    test_codes<float>({9, 17, 40, ista, false, true, false, 1e-3});
    test_codes<double>({70, 21, 9, fista, false, true, true, 1e-9});
    test_codes<double>({1, 1, 1, fista, false, false, false, 1e-6});
    Context on_gpu(gpu);
    const Numbers<double> x(3, 4, 1), d(5, 4, 2);
    Numbers<double> h(3, 5);
    std::vector<double> gaps(3), alpha(5, 1.0);
    std::vector<std::int32_t> n_iter(3);
    CHECK_THROWS(std::invalid_argument, "\"fista\" and \"ista\" run",
                 lasso<double>(on_gpu, x.view(), d.view(), {alpha.data(), 0, 1}, {}, {}, h.view(), gaps.data(), n_iter.data()));
    alpha[3] = -2;
    const LassoOptions options{fista};
    CHECK_THROWS(std::invalid_argument, "alpha is -2 for row 0, atom 3",
                 lasso<double>(on_gpu, x.view(), d.view(), {alpha.data(), 0, 1}, {}, options, h.view(), gaps.data(), n_iter.data()));
    const OnDevice<double> there(on_gpu, alpha);
    CHECK_THROWS(std::invalid_argument, "alpha is -2 for row 0, atom 3",
                 lasso<double>(on_gpu, x.view(), d.view(), {there.memory.data(), 0, 1}, {}, options, h.view(), gaps.data(), n_iter.data()));
}

}  // namespace harmonium_test
