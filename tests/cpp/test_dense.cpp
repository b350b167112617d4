// The ops of dense networks against plain loops in double: layers, weight steps, updates, corruption, compression; the
// same bits from one thread and three. Their losses and penalties: test_losses.cpp.
#include <algorithm>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/compress.hpp"
#include "harmonium/corrupt.hpp"
#include "harmonium/dense.hpp"
#include "harmonium/error.hpp"
#include "harmonium/weight_step.hpp"
#include "inputs.hpp"

namespace harmonium_test {

namespace {

using Refused = std::invalid_argument;

const Activation activations[] = {Activation::identity, Activation::sigmoid, Activation::tanh, Activation::relu, Activation::softplus};
// One of everything; less than a tile; past one in every direction; past the piece of a sum; nothing a multiple of 16; a
// strip's last quarter, half and three quarters; sums of nothing.
const std::int64_t shapes[][3] = {{1, 1, 1}, {7, 5, 3}, {30, 70, 65}, {5, 1100, 17}, {260, 9, 131}, {14, 40, 88}, {3, 20, 44},
                                  {3, 0, 5}, {0, 4, 3}, {4, 3, 0}};

double activated(Activation f, double z) {
    switch (f) {
        case Activation::sigmoid: return logistic(z);
        case Activation::tanh: return std::tanh(z);
        case Activation::relu: return std::max(z, 0.0);
        case Activation::softplus: return log_one_plus_exp(z);
        default: return z;
    }
}
double slope_at(Activation f, double a) {
    switch (f) {
        case Activation::sigmoid: return a * (1 - a);
        case Activation::tanh: return 1 - a * a;
        case Activation::relu: return a > 0 ? 1 : 0;
        case Activation::softplus: return -std::expm1(-a);
        default: return 1;
    }
}

template <class T>
Numbers<T> with_zeros(std::int64_t rows, std::int64_t cols, std::uint64_t seed) {
    Numbers<T> x(rows, cols, seed);
    for (T& value : x.data) value = value > T(0.4) ? value : T(0);
    return x;
}

template <class T>
void forward(std::int64_t n, std::int64_t k, std::int64_t m) {
    const Numbers<T> dense(n, k, 1), few = with_zeros<T>(n, k, 2), w(k, m, 3), bias(1, m, 4), turned = w.transposed();
    const Sparse<T> sparse(few, true);
    Context one(1), three(3);
    for (const Activation f : activations) {
        for (const int form : {0, 1, 2}) {  // dense, with W transposed, sparse
            const Numbers<T>& x = form == 2 ? few : dense;
            const States<T> states = form == 2 ? States<T>(sparse.view()) : States<T>(dense.view());
            const Matrix<const T> given = form == 1 ? turned.view() : w.view();
            Numbers<T> out(n, m, 26), again(n, m, 27);
            dense_forward<T>(one, states, given, form == 1, bias.data.data(), f, out.view());
            dense_forward<T>(three, states, given, form == 1, bias.data.data(), f, again.view());
            CHECK(out.data == again.data);
            for (std::int64_t i = 0; i < n; ++i) {
                for (std::int64_t j = 0; j < m; ++j) {
                    double z = static_cast<double>(bias.at(0, j)), size = std::abs(z) + 1;
                    for (std::int64_t p = 0; p < k; ++p) {
                        const double term = static_cast<double>(x.at(i, p)) * static_cast<double>(w.at(p, j));
                        z += term, size += std::abs(term);
                    }
                    CHECK_NEAR(out.at(i, j), activated(f, z), eps<T> * size * static_cast<double>(2 * k + 10));  // slopes are at most 1
                }
            }
        }
    }
}

template <class T>
void backward(std::int64_t n, std::int64_t k, std::int64_t m) {
    const Numbers<T> delta(n, m, 5), w(k, m, 6), turned = w.transposed();
    Numbers<T> a(n, k);
    Context one(1), three(3);
    for (const Activation f : activations) {
        a.fill([&](double u) { return 2 * activated(f, 4 * u - 2); }, 7);  // twice f(z), as dropout of a half leaves it
        for (const bool transpose : {false, true}) {
            Numbers<T> out(n, k, 26), again(n, k, 27);
            dense_backward<T>(one, delta.view(), transpose ? turned.view() : w.view(), transpose, f, a.view(), T(0.5), out.view());
            dense_backward<T>(three, delta.view(), transpose ? turned.view() : w.view(), transpose, f, a.view(), T(0.5), again.view());
            CHECK(out.data == again.data);
            for (std::int64_t i = 0; i < n; ++i) {
                for (std::int64_t p = 0; p < k; ++p) {
                    double sum = 0, size = 0;
                    for (std::int64_t j = 0; j < m; ++j) {
                        const double term = static_cast<double>(delta.at(i, j)) * static_cast<double>(w.at(p, j));
                        sum += term, size += std::abs(term);
                    }
                    CHECK_NEAR(out.at(i, p), sum * slope_at(f, 0.5 * static_cast<double>(a.at(i, p))),
                               eps<T> * size * static_cast<double>(2 * m + 10));
                }
            }
        }
    }
    Numbers<T> sums(1, m), before(1, m, 8);
    for (const bool accumulate : {false, true}) {
        sums = before;
        column_sums<T>(three, delta.view(), accumulate, sums.data.data());
        for (std::int64_t j = 0; j < m; ++j) {
            double sum = accumulate ? static_cast<double>(before.at(0, j)) : 0, size = 1;
            for (std::int64_t i = 0; i < n; ++i) sum += static_cast<double>(delta.at(i, j)), size += 1;
            CHECK_NEAR(sums.at(0, j), sum, eps<T> * size * static_cast<double>(n + 1));
        }
    }
}

// u, then s, of one number; returns its new value. From the formulas in update.hpp.
double stepped(const Update& o, double g, double* u, double* s, double theta) {
    switch (o.rule) {
        case UpdateRule::sgd: return theta - o.rate * g;
        case UpdateRule::momentum: return theta + (*u = o.momentum * *u - o.rate * g);
        case UpdateRule::nesterov: *u = o.momentum * *u - o.rate * g; return theta + o.momentum * *u - o.rate * g;
        case UpdateRule::adagrad: *s += g * g; return theta - o.rate * g / (std::sqrt(*s) + o.epsilon);
        case UpdateRule::rmsprop: *s = o.beta_2 * *s + (1 - o.beta_2) * g * g; return theta - o.rate * g / (std::sqrt(*s) + o.epsilon);
        default: break;
    }
    *u = o.beta_1 * *u + (1 - o.beta_1) * g;
    *s = o.beta_2 * *s + (1 - o.beta_2) * g * g;
    const auto t = static_cast<double>(o.step);
    return theta - o.rate * *u / (1 - std::pow(o.beta_1, t)) / (std::sqrt(*s / (1 - std::pow(o.beta_2, t))) + o.epsilon);
}

bool has_u(UpdateRule rule) { return rule == UpdateRule::momentum || rule == UpdateRule::nesterov || rule == UpdateRule::adam; }
bool has_s(UpdateRule rule) { return rule == UpdateRule::adagrad || rule == UpdateRule::rmsprop || rule == UpdateRule::adam; }
const UpdateRule rules[] = {UpdateRule::sgd, UpdateRule::momentum, UpdateRule::nesterov, UpdateRule::adagrad, UpdateRule::rmsprop, UpdateRule::adam};

template <class T>
void updates() {
    Context context(3);
    const std::int64_t n = 1037;
    for (const UpdateRule rule : rules) {
        Numbers<T> theta(1, n, 9), kept(kept_by(rule), n);
        std::vector<double> expected(theta.data.begin(), theta.data.end()), u(static_cast<std::size_t>(n)), s(u);
        for (std::uint64_t step = 1; step <= 3; ++step) {
            const Numbers<T> g(1, n, 10 + step);
            Update options;
            options.rule = rule, options.rate = 0.01, options.step = step;
            update<T>(context, options, n, g.data.data(), kept.data.data(), theta.data.data());
            for (std::size_t i = 0; i < expected.size(); ++i) {
                expected[i] = stepped(options, static_cast<double>(g.data[i]), &u[i], &s[i], expected[i]);
                // A step's relative error by the roots, and the roundings of the sum.
                CHECK_NEAR(theta.data[i], expected[i], 16 * eps<T> * static_cast<double>(step) * (std::abs(expected[i]) + 0.1));
            }
        }
        for (std::size_t i = 0; i < expected.size() && has_u(rule); ++i) CHECK_NEAR(kept.data[i], u[i], 8 * eps<T>);
        for (std::size_t i = 0; i < expected.size() && has_s(rule); ++i) {
            CHECK_NEAR(kept.data[i + (has_u(rule) ? expected.size() : 0)], s[i], 8 * eps<T> * (s[i] + 1));
        }
    }
    const Numbers<T> theta(1, n, 14), given(1, n, 15);
    Numbers<T> gradient = given;
    double squares = 0;
    for (const T value : theta.data) squares += static_cast<double>(value) * static_cast<double>(value);
    CHECK_NEAR(add_decay<T>(context, T(0.5), n, theta.data.data(), gradient.data.data()), squares, 128 * eps<T> * squares);
    CHECK_NEAR(add_decay<T>(context, T(0.5), n, theta.data.data(), nullptr), squares, 128 * eps<T> * squares);
    for (std::size_t i = 0; i < gradient.data.size(); ++i) {
        CHECK_NEAR(gradient.data[i], static_cast<double>(given.data[i]) + 0.5 * static_cast<double>(theta.data[i]), 4 * eps<T>);
    }
}

// The gradient of two terms, the second sparse or dense, stored, added and stepped along.
template <class T>
void weight_steps(std::int64_t n, std::int64_t k, std::int64_t m, bool sparse) {
    const Numbers<T> few = with_zeros<T>(n, k, 16), other(n, k, 17), b(n, m, 18), c(n, m, 19), before(k, m, 20);
    const Sparse<T> columns(few.transposed(), true);
    GradientTerm<T> terms[2];
    terms[0].a = other.view(), terms[0].b = b.view();
    if (sparse) terms[1].a_columns = columns.view();
    else terms[1].a = few.view();
    terms[1].b = c.view();
    WeightStep<T> step;
    step.terms = terms, step.n_terms = 2;
    Numbers<T> gradient = before, again = before;
    for (const bool accumulate : {true, false}) {
        Context one(1), three(3);
        step.accumulate = accumulate;
        step.gradient = gradient.view();
        weight_step<T>(one, step);
        step.gradient = again.view();
        weight_step<T>(three, step);
        CHECK(gradient.data == again.data);
        for (std::int64_t p = 0; p < k; ++p) {
            for (std::int64_t j = 0; j < m; ++j) {
                double sum = accumulate ? static_cast<double>(before.at(p, j)) : 0, size = 1;
                for (std::int64_t i = 0; i < n; ++i) {
                    const double first = static_cast<double>(other.at(i, p)) * static_cast<double>(b.at(i, j));
                    const double second = static_cast<double>(few.at(i, p)) * static_cast<double>(c.at(i, j));
                    sum += first + second, size += std::abs(first) + std::abs(second);
                }
                CHECK_NEAR(gradient.at(p, j), sum, eps<T> * size * static_cast<double>(4 * n + 4));
            }
        }
    }
    for (const UpdateRule rule : rules) {  // block by block, to the bit what the whole gradient's step is
        Context some(rule == UpdateRule::adam ? 1 : 3);  // one thread's blocks are the tallest
        const auto size = static_cast<std::size_t>(k * m);
        Numbers<T> weights(k, m, 21), expected = weights, whole = gradient, kept(kept_by(rule), k * m, 22);
        for (T& value : kept.data) value = std::abs(value);
        Numbers<T> expected_kept = kept;
        Update options;
        options.rule = rule, options.step = 4;
        add_decay<T>(some, T(0.1), k * m, weights.data.data(), whole.data.data());
        update<T>(some, options, k * m, whole.data.data(), expected_kept.data.data(), expected.data.data());
        step.gradient = Matrix<T>(), step.accumulate = false, step.weights = weights.view();
        step.first = has_u(rule) ? kept.data.data() : nullptr;
        step.second = has_s(rule) ? kept.data.data() + (has_u(rule) ? size : 0) : nullptr;
        step.update = prepared(options), step.decay = T(0.1);
        weight_step<T>(some, step);
        CHECK(weights.data == expected.data && kept.data == expected_kept.data);
    }
}

template <class T>
void corruption() {
    const std::int64_t n = 9, m = 83;
    const OutputGroup groups[] = {{Likelihood::gaussian, 0, 70}, {Likelihood::categorical, 70, 5}, {Likelihood::bernoulli, 75, 8}};
    const Draw draw(11, Stream::corruption, (std::uint64_t(1) << 32) + 3);
    const Numbers<T> low(1, m, 23), high(1, m, 24);
    Numbers<T> given(n, m, 25);
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 70; j < 75; ++j) given.at(i, j) = T(j - 70 == i % 5);
    }
    for (const Corruption kind : {Corruption::none, Corruption::masking, Corruption::gaussian, Corruption::salt_and_pepper}) {
        Numbers<T> seen = given, again = given;
        Context one(1), three(3);
        corrupt<T>(one, kind, T(0.4), draw, 6, low.data.data(), high.data.data(), groups, 3, seen.view());
        corrupt<T>(three, kind, T(0.4), draw, 6, low.data.data(), high.data.data(), groups, 3, again.view());
        CHECK(seen.data == again.data);
        for (std::int64_t i = 0; i < n; ++i) {
            const auto row = static_cast<std::uint32_t>(6 + i);
            const T own = uniform<T>(draw, row, 70);
            for (std::int64_t j = 0; j < m; ++j) {
                const bool choice = j >= 70 && j < 75;
                const T u = choice && kind != Corruption::gaussian ? own : uniform<T>(draw, row, static_cast<std::uint64_t>(j));
                const double x = static_cast<double>(given.at(i, j)), actual = static_cast<double>(seen.at(i, j));
                if (kind == Corruption::gaussian) {
                    const double noise = 0.4 * normal_quantile(inside(u));
                    CHECK_NEAR(actual, x + noise, 4 * eps<T> * (std::abs(x) + std::abs(noise)));
                } else if (kind == Corruption::none || u >= T(0.4)) {
                    CHECK(actual == x);
                } else if (kind == Corruption::masking) {
                    CHECK(actual == 0);
                } else if (choice) {
                    CHECK(actual == (static_cast<std::int64_t>(u / T(0.4) * T(5)) == j - 70 ? 1 : 0));
                } else {
                    CHECK(seen.at(i, j) == (u < T(0.4) / 2 ? low.at(0, j) : high.at(0, j)));
                }
            }
        }
    }
    Numbers<T> dropped = given;
    Context context(3);
    dropout<T>(context, T(0.25), draw, 6, dropped.view());
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < m; ++j) {
            const bool kept = uniform<T>(draw, static_cast<std::uint32_t>(6 + i), static_cast<std::uint64_t>(j)) >= T(0.25);
            CHECK_NEAR(dropped.at(i, j), kept ? static_cast<double>(given.at(i, j)) / 0.75 : 0.0, 2 * eps<T>);
        }
    }
}

template <class T>
void compression() {
    for (const std::int64_t cols : {std::int64_t(1), std::int64_t(37), std::int64_t(5000)}) {
        Numbers<T> x = with_zeros<T>(6, cols, 26);
        std::fill(x.data.begin() + cols, x.data.begin() + 2 * cols, T(0));  // an empty row
        const std::int64_t n = std::count_if(x.data.begin(), x.data.end(), [](T value) { return value != T(0); });
        const auto room = static_cast<std::size_t>(compress_places(n, cols));
        std::vector<std::int64_t> indptr(7), column_indptr(static_cast<std::size_t>(cols + 1));
        std::vector<std::int32_t> indices(room), rows(room);
        std::vector<T> values(room), column_values(room);
        const auto compressed = [&](const std::int64_t* order, std::int64_t count, std::int64_t most) {
            return compress<T>(x.view(), order, count, most, indptr.data(), indices.data(), values.data());
        };
        CHECK(n == 0 || !compressed(nullptr, 6, n - 1).indptr);
        const std::int64_t order[2] = {5, 1};
        const SparseRows<T> two = compressed(order, 2, n);
        CHECK(two.rows == 2 && two.indptr[2] == two.indptr[1]);
        for (std::int64_t j = 0, k = 0; j < cols; ++j) {
            if (x.at(5, j) == T(0)) continue;
            CHECK(k < two.indptr[1] && two.indices[k] == j && two.values[k] == x.at(5, j));
            ++k;
        }
        const SparseRows<T> sparse = compressed(nullptr, 6, n);
        const SparseRows<T> turned = sparse_columns<T>(sparse, column_indptr.data(), rows.data(), column_values.data());
        CHECK(sparse.indptr[6] == n && turned.indptr[cols] == n && turned.rows == cols && turned.cols == 6);
        Numbers<T> back(6, cols), from_columns(6, cols);
        for (std::int64_t i = 0; i < 6; ++i) {
            for (std::int64_t k = sparse.indptr[i]; k < sparse.indptr[i + 1]; ++k) back.at(i, sparse.indices[k]) = sparse.values[k];
        }
        for (std::int64_t j = 0; j < cols; ++j) {
            for (std::int64_t k = turned.indptr[j]; k < turned.indptr[j + 1]; ++k) {
                CHECK(k == turned.indptr[j] || turned.indices[k - 1] < turned.indices[k]);
                from_columns.at(turned.indices[k], j) = turned.values[k];
            }
        }
        CHECK(back.data == x.data && from_columns.data == x.data);
    }
}

void refusals() {
    Context context(1);
    const Numbers<double> x(4, 6, 1), w(6, 5, 2), bias(1, 5, 3);
    Numbers<double> out(4, 5), wrong(4, 6);
    CHECK_THROWS(Refused, "X is 4 x 6, op(W) 6 x 5, out 4 x 6",
                 dense_forward<double>(context, States<double>(x.view()), w.view(), false, bias.data.data(), Activation::relu, wrong.view()));
    const Sparse<double> sparse(x, true);
    CHECK_THROWS(Refused, "sparse rows with W as it is",
                 dense_forward<double>(context, States<double>(sparse.view()), w.transposed().view(), true, bias.data.data(), Activation::relu, out.view()));
    CHECK_THROWS(Refused, "delta is 4 x 5", dense_backward<double>(context, out.view(), w.view(), false, Activation::relu, x.view(), 1.0, out.view()));
    CHECK_THROWS(Refused, "rate=1 is not in [0, 1)", dropout<double>(context, 1.0, Draw(), 0, out.view()));
    const OutputGroup all{Likelihood::bernoulli, 0, 5};
    CHECK_THROWS(Refused, "level=1.5 is no probability",
                 corrupt<double>(context, Corruption::masking, 1.5, Draw(), 0, nullptr, nullptr, &all, 1, out.view()));
    CHECK_THROWS(Refused, "the columns' limits",
                 corrupt<double>(context, Corruption::salt_and_pepper, 0.5, Draw(), 0, nullptr, nullptr, &all, 1, out.view()));
    Update options;
    options.step = 0;
    CHECK_THROWS(Refused, "step 0, they are counted from 1", update<double>(context, options, 5, bias.data.data(), wrong.data.data(), out.data.data()));
    GradientTerm<double> term;
    term.a = x.view(), term.b = x.view();
    WeightStep<double> step;
    step.terms = &term, step.n_terms = 1;
    CHECK_THROWS(Refused, "neither a gradient nor weights", weight_step<double>(context, step));
    step.gradient = out.view();
    CHECK_THROWS(Refused, "A is 4 x 6, B 4 x 6, the gradient 4 x 5", weight_step<double>(context, step));
}

template <class T>
void all() {
    for (const auto& [n, k, m] : shapes) {
        forward<T>(n, k, m);
        backward<T>(n, k, m);
        for (const bool sparse : {true, false}) {
            if (k * m > 0) weight_steps<T>(n, k, m, sparse);
        }
    }
    weight_steps<T>(130, 1000, 70, true);  // blocks of all heights
    for (const std::int64_t m : {40, 41, 256}) weight_steps<T>(1030, 5, m, false);  // pieces of both sums, in place and copied
    updates<T>();
    corruption<T>();
    compression<T>();
}

}  // namespace

void test_dense() {
    all<float>();
    all<double>();
    refusals();
}

}  // namespace harmonium_test
