// The ops of dense networks on a GPU, or on the emulated one, against the same ops on the CPU.
#include <stdexcept>

#include "harmonium/contraction.hpp"
#include "harmonium/corrupt.hpp"
#include "harmonium/dense.hpp"
#include "harmonium/weight_step.hpp"

#include "check.hpp"
#include "on_device.hpp"

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};
const Activation activations[] = {Activation::identity, Activation::sigmoid, Activation::tanh, Activation::relu, Activation::softplus};

// Each within `factor` eps of `size`, the terms' sizes.
template <class T>
void check_all(const std::vector<T>& actual, const std::vector<T>& expected, double factor, double size) {
    CHECK(actual.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CHECK_NEAR(actual[i], expected[i], factor * eps<T> * (size + std::abs(static_cast<double>(expected[i]))));
    }
}

template <class T>
void test_layer(std::int64_t n, std::int64_t k, std::int64_t m) {
    Context on_gpu(gpu), cpu;
    const Numbers<T> x(n, k, 1), w(k, m, 2), w_transposed(m, k, 2), bias(1, m, 3), delta(n, m, 4);
    for (const Activation f : activations) {
        for (const bool transpose : {false, true}) {
            const Numbers<T>& given = transpose ? w_transposed : w;
            Numbers<T> expected(n, m), back(n, k);
            dense_forward<T>(cpu, States<T>(x.view()), given.view(), transpose, bias.data.data(), f, expected.view());
            dense_backward<T>(cpu, delta.view(), given.view(), transpose, f, x.view(), T(0.5), back.view());
            const OnDevice<T> dx(on_gpu, x.data), dw(on_gpu, given.data), db(on_gpu, bias.data), dd(on_gpu, delta.data);
            const OnDevice<T> out(on_gpu, expected.data.size()), lower(on_gpu, back.data.size());
            dense_forward<T>(on_gpu, States<T>(dx.view(n, k)), dw.view(given.rows, given.cols), transpose, db.memory.data(), f, out.view(n, m));
            dense_backward<T>(on_gpu, dd.view(n, m), dw.view(given.rows, given.cols), transpose, f, dx.view(n, k), T(0.5), lower.view(n, k));
            check_all(out.on_host(), expected.data, 4.0 * static_cast<double>(k) + 16, static_cast<double>(k) + 1);
            check_all(lower.on_host(), back.data, 4.0 * static_cast<double>(m) + 16, static_cast<double>(m));
        }
    }
    Numbers<T> few(n, k, 6);
    for (T& value : few.data) value = value > T(0.4) ? value : T(0);
    for (const bool with_values : {true, false}) {
        const Sparse<T> sparse(few, with_values);
        Numbers<T> expected(n, m);
        dense_forward<T>(cpu, States<T>(sparse.view()), w.view(), false, bias.data.data(), Activation::tanh, expected.view());
        const OnDevice<std::int64_t> indptr(on_gpu, sparse.indptr);
        const OnDevice<std::int32_t> indices(on_gpu, sparse.indices);
        const OnDevice<T> values(on_gpu, sparse.values), dw(on_gpu, w.data), db(on_gpu, bias.data), out(on_gpu, expected.data.size());
        // Without any entry there is no memory for their values, which would mean ones: of none.
        const SparseRows<T> there{indptr.memory.data(), indices.memory.data(), values.memory.data(), n, k};
        dense_forward<T>(on_gpu, States<T>(there), dw.view(k, m), false, db.memory.data(), Activation::tanh, out.view(n, m));
        check_all(out.on_host(), expected.data, 4.0 * static_cast<double>(k) + 16, static_cast<double>(k) + 1);
    }
    Numbers<T> sums(1, m, 5);
    const OnDevice<T> on_device(on_gpu, sums.data), dd(on_gpu, delta.data);
    for (const bool accumulate : {true, false}) {
        column_sums<T>(cpu, delta.view(), accumulate, sums.data.data());
        column_sums<T>(on_gpu, dd.view(n, m), accumulate, on_device.memory.data());
        check_all(on_device.on_host(), sums.data, 2.0 * static_cast<double>(n) + 2, static_cast<double>(n) + 1);
    }
    Numbers<T> kept = delta;
    const Draw draw(std::uint64_t(5) << 33 | 1, Stream::dropout, (std::uint64_t(1) << 32) + 9);
    dropout<T>(cpu, T(0.3), draw, 7, kept.view());
    dropout<T>(on_gpu, T(0.3), draw, 7, dd.view(n, m));
    CHECK(dd.on_host() == kept.data);
}

// Every likelihood, choices wider than a warp, and more groups than one launch takes.
std::vector<OutputGroup> many_groups() {
    std::vector<OutputGroup> groups{{Likelihood::bernoulli, 0, 300}, {Likelihood::categorical, 300, 40}, {Likelihood::gaussian, 340, 3},
                                    {Likelihood::laplace, 343, 5}, {Likelihood::poisson, 348, 4}};
    for (std::int64_t g = 0; g < 80; ++g) groups.push_back({Likelihood::categorical, 352 + 3 * g, 3});
    return groups;
}

// Rows that all of these likelihoods take.
template <class T>
Numbers<T> rows_of(const std::vector<OutputGroup>& groups, std::int64_t n) {
    const std::int64_t cols = groups.back().first + groups.back().count;
    Numbers<T> x(n, cols, 9);
    for (std::int64_t i = 0; i < n; ++i) {
        for (const OutputGroup& group : groups) {
            T* at = x.view().row(i) + group.first;
            for (std::int64_t j = 0; j < group.count; ++j) {
                if (group.likelihood == Likelihood::bernoulli) at[j] = T(0.5) + at[j] / 2;
                if (group.likelihood == Likelihood::categorical) at[j] = j == i % group.count ? T(1) : T(0);
                if (group.likelihood == Likelihood::poisson) at[j] = static_cast<T>((i + j) % 4);
            }
        }
    }
    return x;
}

template <class T>
void test_loss(std::int64_t n) {
    Context on_gpu(gpu), cpu;
    const std::vector<OutputGroup> groups = many_groups();
    const auto count = static_cast<std::int64_t>(groups.size());
    const Numbers<T> x = rows_of<T>(groups, n), z(n, x.cols, 8, 3.0);
    for (const bool derivatives : {true, false}) {
        Numbers<T> slopes = z;
        std::vector<double> expected(static_cast<std::size_t>(n));
        likelihood_loss<T>(cpu, groups.data(), count, States<T>(x.view()), derivatives, T(0.25), slopes.view(), expected.data());
        const OnDevice<T> dx(on_gpu, x.data), dz(on_gpu, z.data);
        const OnDevice<double> loss(on_gpu, expected.size());
        likelihood_loss<T>(on_gpu, groups.data(), count, States<T>(dx.view(n, x.cols)), derivatives, T(0.25), dz.view(n, x.cols), loss.memory.data());
        const std::vector<double> actual = loss.on_host();
        // Each value's terms are at most 25: x z, e^3 and their like.
        for (std::size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(actual[i], expected[i], 32 * eps<T> * 25 * static_cast<double>(x.cols));
        if (derivatives) check_all(dz.on_host(), slopes.data, 60, 1.0);
    }
    Numbers<T> means = z;
    likelihood_mean<T>(cpu, groups.data(), count, means.view());
    const OnDevice<T> dz(on_gpu, z.data);
    likelihood_mean<T>(on_gpu, groups.data(), count, dz.view(n, x.cols));
    check_all(dz.on_host(), means.data, 60, 0.0);
}

template <class T>
void test_corrupt(std::int64_t n) {
    Context on_gpu(gpu), cpu;
    const std::vector<OutputGroup> mixed = many_groups(), plain{{Likelihood::bernoulli, 0, 592}};
    const Draw draw(3, Stream::corruption, 17);
    for (const auto& groups : {mixed, plain}) {
        const Numbers<T> x = rows_of<T>(mixed, n), low(1, x.cols, 20), high(1, x.cols, 21);
        for (const Corruption kind : {Corruption::none, Corruption::masking, Corruption::gaussian, Corruption::salt_and_pepper}) {
            Numbers<T> expected = x;
            corrupt<T>(cpu, kind, T(0.4), draw, 11, low.data.data(), high.data.data(), groups.data(), static_cast<std::int64_t>(groups.size()), expected.view());
            const OnDevice<T> dx(on_gpu, x.data), dl(on_gpu, low.data), dh(on_gpu, high.data);
            corrupt<T>(on_gpu, kind, T(0.4), draw, 11, dl.memory.data(), dh.memory.data(), groups.data(), static_cast<std::int64_t>(groups.size()), dx.view(n, x.cols));
            if (kind == Corruption::gaussian) check_all(dx.on_host(), expected.data, 8, 4.0);  // quantiles, fused here and not there
            else CHECK(dx.on_host() == expected.data);
        }
    }
}

template <class T>
void test_contraction(std::int64_t n, std::int64_t k, std::int64_t m) {
    Context on_gpu(gpu), cpu;
    const Numbers<T> w(k, m, 1), z(n, m, 2);
    for (const Activation f : activations) {
        Numbers<T> gradient(k, m, 3), delta(n, m), scratch(2, m);
        ContractionLayer<T> layer{w.view(), f, z.view(), gradient.view(), delta.view()};
        std::vector<double> expected(static_cast<std::size_t>(n));
        const OnDevice<T> dw(on_gpu, w.data), dz(on_gpu, z.data), dg(on_gpu, gradient.data), dd(on_gpu, delta.data.size()), ds(on_gpu, scratch.data.size());
        const OnDevice<double> penalty(on_gpu, expected.size());
        contraction<T>(cpu, {layer}, T(0.5), expected.data(), scratch.data.data());
        contraction<T>(on_gpu, {{dw.view(k, m), f, dz.view(n, m), dg.view(k, m), dd.view(n, m)}}, T(0.5), penalty.memory.data(), ds.memory.data());
        // Slopes are at most 2, curvatures 6.
        const double size = static_cast<double>(k), factor = 16 * static_cast<double>(k + m + n);
        check_all(delta.data, dd.on_host(), factor, 12 * size);
        check_all(gradient.data, dg.on_host(), factor, 4 * static_cast<double>(n));
        const std::vector<double> actual = penalty.on_host();
        for (std::size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(actual[i], expected[i], factor * eps<T> * 4 * size * static_cast<double>(m));
        contraction<T>(on_gpu, {{dw.view(k, m), f, dz.view(n, m), {}, {}}}, T(0.5), penalty.memory.data(), ds.memory.data());
        CHECK(penalty.on_host() == actual);
    }
}

template <class T>
void test_steps(std::int64_t n, std::int64_t k, std::int64_t m) {
    Context on_gpu(gpu), cpu;
    const Numbers<T> a(n, k, 1), b(n, m, 2), a2(n, k, 3), b2(n, m, 4), weights(k, m, 5), ones(2 * k, m, 6);
    const OnDevice<T> da(on_gpu, a.data), db(on_gpu, b.data), da2(on_gpu, a2.data), db2(on_gpu, b2.data);
    for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::momentum, UpdateRule::nesterov, UpdateRule::adagrad, UpdateRule::rmsprop, UpdateRule::adam}) {
        for (const bool stored : {false, true}) {
            Numbers<T> w = weights, kept = ones, gradient(k, m, 7);
            for (T& value : kept.data) value = value * value + T(0.1);
            const OnDevice<T> dw(on_gpu, w.data), dk(on_gpu, kept.data), dg(on_gpu, gradient.data);
            const auto step = [&](Context& context, const GradientTerm<T>* terms, Matrix<T> g, Matrix<T> theta, T* u) {
                WeightStep<T> one;
                one.terms = terms, one.n_terms = 2;
                if (stored) one.gradient = g, one.accumulate = true;
                one.weights = theta, one.first = u, one.second = u + k * m;
                one.decay = T(0.01);
                one.update.rule = rule, one.update.rate = 0.01, one.update.step = 3;
                one.update = prepared(one.update);
                weight_step<T>(context, one);
            };
            const GradientTerm<T> on_host[] = {{a.view(), {}, b.view()}, {a2.view(), {}, b2.view()}};
            const GradientTerm<T> there[] = {{da.view(n, k), {}, db.view(n, m)}, {da2.view(n, k), {}, db2.view(n, m)}};
            step(cpu, on_host, gradient.view(), w.view(), kept.data.data());
            step(on_gpu, there, dg.view(k, m), dw.view(k, m), dk.memory.data());
            const double size = 2 * static_cast<double>(n) + 2;
            check_all(dg.on_host(), gradient.data, 4 * size, size);
            check_all(dk.on_host(), kept.data, 4 * size, size * size);
            check_all(dw.on_host(), w.data, 16 * size, 1 + size);
            // Given the same gradient: a fused product apart the same steps.
            Numbers<T> theta = weights;
            const OnDevice<T> dt(on_gpu, theta.data), g(on_gpu, gradient.data), own(on_gpu, ones.data.size());
            Numbers<T> memory(2 * k, m);
            CUDA_CHECK(cudaMemsetAsync(own.memory.data(), 0, memory.data.size() * sizeof(T), cuda::use(on_gpu).stream));
            std::fill(memory.data.begin(), memory.data.end(), T(0));
            Update update_by;
            update_by.rule = rule, update_by.step = 2;
            update<T>(cpu, update_by, k * m, gradient.data.data(), memory.data.data(), theta.data.data());
            update<T>(on_gpu, update_by, k * m, g.memory.data(), own.memory.data(), dt.memory.data());
            CHECK(dt.on_host() == theta.data);
            CHECK(own.on_host() == memory.data);
            const double squares = add_decay<T>(cpu, T(0.5), k * m, theta.data.data(), gradient.data.data());
            CHECK_NEAR(add_decay<T>(on_gpu, T(0.5), k * m, dt.memory.data(), g.memory.data()), squares, 64 * eps<T> * squares);
            CHECK(g.on_host() == gradient.data);
        }
    }
}

template <class T>
void test_all() {
    test_layer<T>(1, 1, 1);
    test_layer<T>(33, 70, 65);
    test_layer<T>(300, 5, 130);
    test_loss<T>(1);
    test_loss<T>(37);
    test_corrupt<T>(21);
    test_contraction<T>(1, 3, 2);
    test_contraction<T>(19, 40, 70);
    test_steps<T>(1, 1, 1);
    test_steps<T>(20, 33, 41);
}

}  // namespace

void test_device_dense() {
    test_all<float>();
    test_all<double>();
    Context on_gpu(gpu);
    GradientTerm<float> sparse;
    const std::int64_t indptr[] = {0, 0};
    const OnDevice<float> one(on_gpu, 1);
    sparse.a_columns = {indptr, nullptr, nullptr, 1, 1};
    sparse.b = one.view(1, 1);
    WeightStep<float> step;
    step.terms = &sparse, step.n_terms = 1, step.gradient = one.view(1, 1);
    CHECK_THROWS(std::invalid_argument, "A is dense", weight_step<float>(on_gpu, step));
}

}  // namespace harmonium_test
