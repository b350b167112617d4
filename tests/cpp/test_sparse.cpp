// Sparse coding: codes by all three solvers within their certified gaps, ops against plain loops, learning in one call
// and in several, refusals; the same bits from one thread and three.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/dictionary.hpp"
#include "harmonium/error.hpp"
#include "harmonium/shrink.hpp"
#include "harmonium/sparse_coding.hpp"
#include "lasso_cases.hpp"

namespace harmonium_test {

namespace {

using Refused = std::invalid_argument;

template <class T>
struct Codes {
    Numbers<T> h;
    std::vector<double> gaps;
    std::vector<std::int32_t> n_iter;
    std::int64_t left = 0;
};

template <class T>
Codes<T> encode(int threads, const Numbers<T>& x, const Numbers<T>& d, double alpha, const LassoOptions& options,
                const Numbers<std::uint8_t>* observed) {
    Context context(threads);
    Codes<T> c{Numbers<T>(x.rows, d.rows), std::vector<double>(static_cast<std::size_t>(x.rows)),
               std::vector<std::int32_t>(static_cast<std::size_t>(x.rows))};
    c.left = lasso<T>(context, x.view(), d.view(), {&alpha, 0, 0}, observed ? observed->view() : Matrix<const std::uint8_t>(),
                      options, c.h.view(), c.gaps.data(), c.n_iter.data());
    return c;
}

template <class T>
void codes() {
    // Rows in part of a block and past one; atoms and features that fill no vector; few rows, which use no Gram matrix.
    const std::int64_t shapes[][3] = {{1, 1, 1}, {3, 7, 5}, {5, 40, 9}, {40, 21, 13}, {300, 16, 8}};
    for (const auto& [n, atoms, features] : shapes) {
        Numbers<T> x(n, features, 1);
        Numbers<T> d = unit_rows<T>(atoms, features, 2);
        if (atoms > 20) {  // duplicates, and an atom of zeros
            std::copy(d.data.begin(), d.data.begin() + features, d.data.begin() + 3 * features);
            std::fill(d.data.begin() + 5 * features, d.data.begin() + 6 * features, T(0));
        }
        Numbers<std::uint8_t> observed(n, features);
        for (std::size_t i = 0; i < observed.data.size(); ++i) observed.data[i] = i % 4 != 3;
        const std::vector<double> alpha(static_cast<std::size_t>(atoms), 0.1);
        for (const LassoAlgorithm algorithm : {LassoAlgorithm::cd, LassoAlgorithm::ista, LassoAlgorithm::fista}) {
            for (const bool positive : {false, true}) {
                for (const Numbers<std::uint8_t>* mask : {static_cast<const Numbers<std::uint8_t>*>(nullptr),
                                                          static_cast<const Numbers<std::uint8_t>*>(&observed)}) {
                    const LassoOptions options{algorithm, 1e-5, 1000000, positive};
                    const Codes<T> one = encode(1, x, d, 0.1, options, mask), three = encode(3, x, d, 0.1, options, mask);
                    CHECK(one.left == 0);
                    CHECK(one.h.data == three.h.data && one.gaps == three.gaps && one.n_iter == three.n_iter);
                    for (std::int64_t i = 0; i < n; ++i) {
                        const auto [objective, gap] = objective_and_gap(x, d, one.h, alpha, false, positive, mask, i);
                        const double reported = one.gaps[static_cast<std::size_t>(i)];
                        CHECK_NEAR(reported, gap, 1e-10 * static_cast<double>(features));
                        CHECK(reported <= 3e-5 * objective && reported >= 0);
                        for (std::int64_t k = 0; k < atoms; ++k) CHECK(!positive || one.h.at(i, k) >= 0);
                    }
                }
            }
        }
    }
}

template <class T>
void ops() {
    for (const int threads : {1, 3}) {
        Context context(threads);
        Numbers<T> x(5, 13, 3, 2), out(5, 13), a(1, 13);
        a.fill([](double u) { return u; }, 4);
        for (const bool positive : {false, true}) {
            shrink<T>(context, x.view(), a.data.data(), positive, out.view());
            for (std::int64_t i = 0; i < 5; ++i) {
                for (std::int64_t j = 0; j < 13; ++j) {
                    const T size = std::abs(x.at(i, j)) - a.at(0, j);
                    const T expected = size > 0 && !(positive && x.at(i, j) < 0) ? std::copysign(size, x.at(i, j)) : T(0);
                    CHECK(out.at(i, j) == expected && (expected != 0 || !std::signbit(out.at(i, j))));
                }
            }
        }
        const Numbers<T> d = unit_rows<T>(9, 5, 5);
        double trace = 0, largest_row = 0;
        for (std::int64_t k = 0; k < 9; ++k) {
            double row = 0;
            for (std::int64_t j = 0; j < 9; ++j) {
                double g = 0;
                for (std::int64_t f = 0; f < 5; ++f) g += static_cast<double>(d.at(k, f)) * static_cast<double>(d.at(j, f));
                row += std::abs(g);
                if (j == k) trace += g;
            }
            largest_row = std::max(largest_row, row);
        }
        const double bound = lipschitz_bound<T>(context, d.view());  // between trace / rank and the largest row sum
        CHECK(bound >= trace / 5 && bound <= 1.03 * largest_row);
    }
}

// What two orders of the same sums may differ by, times the condition of what follows from them.
void updates() {
    const std::int64_t n = 60, atoms = 37, features = 11;
    const Numbers<double> x(n, features, 6);
    Numbers<double> h(n, atoms, 7), a(atoms, atoms), b(atoms, features);
    std::vector<std::int64_t> begin{0};
    std::vector<std::int32_t> index;
    std::vector<double> value;
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t k = 0; k < atoms; ++k) {
            if ((i + k) % 3 != 0) h.at(i, k) = 0;
            if (h.at(i, k) == 0) continue;
            index.push_back(static_cast<std::int32_t>(k));
            value.push_back(h.at(i, k));
        }
        begin.push_back(static_cast<std::int64_t>(index.size()));
    }
    const SparseRows<double> rows{begin.data(), index.data(), value.data(), n, atoms};
    Numbers<double> dictionaries[2] = {unit_rows<double>(atoms, features, 8), unit_rows<double>(atoms, features, 8)};
    for (int which = 0; which < 2; ++which) {
        Context context(which == 0 ? 1 : 3);
        Numbers<double> scratch(32, features);
        std::fill(a.data.begin(), a.data.end(), 1.0);
        std::fill(b.data.begin(), b.data.end(), 1.0);
        code_statistics<double>(context, rows, x.view(), 0.5, 0.25, a.view(), b.view());
        for (std::int64_t k = 0; k < atoms; ++k) {
            for (std::int64_t j = 0; j < atoms; ++j) {
                double sum = 0.5;
                for (std::int64_t i = 0; i < n; ++i) sum += 0.25 * h.at(i, k) * h.at(i, j);
                CHECK_NEAR(a.at(k, j), sum, 1e-13 * n);
            }
            for (std::int64_t f = 0; f < features; ++f) {
                double sum = 0.5;
                for (std::int64_t i = 0; i < n; ++i) sum += 0.25 * h.at(i, k) * x.at(i, f);
                CHECK_NEAR(b.at(k, f), sum, 1e-13 * n);
            }
        }
        dictionary_update(context, a.view(), b.view(), false, scratch.view(), dictionaries[which].view());
        for (std::int64_t k = 0; k < atoms; ++k) {
            double squares = 0;
            for (std::int64_t f = 0; f < features; ++f) squares += dictionaries[which].at(k, f) * dictionaries[which].at(k, f);
            CHECK_NEAR(squares, 1, 1e-14);
        }
    }
    CHECK(dictionaries[0].data == dictionaries[1].data);
}

template <class T>
struct Learned {
    Numbers<T> dictionary;
    Numbers<double> covariance, projections;
    std::vector<double> idle;
    SparseCodingState<T> state;

    Learned(std::int64_t atoms, std::int64_t features)
        : dictionary(unit_rows<T>(atoms, features, 9)), covariance(atoms, atoms), projections(atoms, features),
          idle(static_cast<std::size_t>(atoms)) {
        state.dictionary = dictionary.view();
        state.covariance = covariance.view();
        state.projections = projections.view();
        state.idle = idle.data();
    }
    // The other's numbers, in one's own memory.
    void take(const Learned& other) {
        dictionary.data = other.dictionary.data;
        covariance.data = other.covariance.data;
        projections.data = other.projections.data;
        idle = other.idle;
        state.steps = other.state.steps;
        state.smoothed = other.state.smoothed;
    }
    bool same(const Learned& other) const {
        return dictionary.data == other.dictionary.data && covariance.data == other.covariance.data &&
               projections.data == other.projections.data && idle == other.idle && state.steps == other.state.steps &&
               state.smoothed == other.state.smoothed;
    }
};

template <class T>
void learning() {
    const Numbers<T> x(300, 10, 10);
    for (const std::int64_t batch : {std::int64_t(64), std::int64_t(0)}) {
        SparseCodingOptions options;
        options.alpha = 0.2;
        options.batch_size = batch;
        options.redraw_after = 100;
        Learned<T> whole(17, 10), parts(17, 10);
        std::vector<double> objectives;
        const auto record = [&](const SparseCodingEpoch& epoch) {
            objectives.push_back(epoch.objective);
            return false;
        };
        Context one(1), three(3);
        sparse_coding_train<T>(one, x.view(), options, 3, whole.state, record);
        CHECK(objectives.size() == 3 && objectives[2] < objectives[0]);
        for (int pass = 0; pass < 3; ++pass) sparse_coding_train<T>(three, x.view(), options, 1, parts.state, record);
        CHECK(whole.same(parts));
        // A pass that fails leaves the state alone.
        Numbers<T> huge(300, 10);
        std::fill(huge.data.begin(), huge.data.end(), std::numeric_limits<T>::max());
        if (sizeof(T) == 8) {
            CHECK_THROWS(DivergenceError, "of pass 3 is inf",
                         sparse_coding_train<T>(one, huge.view(), options, 1, parts.state, record));
        }
        three.set_interrupt([](double) { return true; });
        bool interrupted = false;
        for (int pass = 0; pass < 100000 && !interrupted; ++pass) {
            try {
                whole.take(parts);
                sparse_coding_train<T>(three, x.view(), options, 1, parts.state, record);
            } catch (const Interrupted&) {
                interrupted = true;
            }
        }
        CHECK(interrupted && whole.same(parts));
    }
}

void refusals() {
    Context context(1);
    const Numbers<double> x(4, 6, 1), d(5, 6, 2);
    Numbers<double> h(4, 5), wrong(4, 6), narrow(5, 5);
    double gaps[4];
    std::int32_t n_iter[4];
    const double alpha = 1, negative = -1, none = 0;
    const auto solve = [&](const Numbers<double>& rows, const double* penalty, Numbers<double>& codes, double tol) {
        lasso<double>(context, rows.view(), d.view(), {penalty, 0, 0}, {}, {LassoAlgorithm::cd, tol, 10, false}, codes.view(),
                      gaps, n_iter);
    };
    CHECK_THROWS(Refused, "X has 5 columns, the dictionary 6", solve(narrow, &alpha, h, 1e-6));
    CHECK_THROWS(Refused, "codes are 4 x 6, 4 x 5 are needed", solve(x, &alpha, wrong, 1e-6));
    CHECK_THROWS(Refused, "alpha is -1 for row 0, atom 0", solve(x, &negative, h, 1e-6));
    CHECK_THROWS(Refused, "alpha is 0 for row 0, atom 0", solve(x, &none, h, 1e-6));
    CHECK_THROWS(Refused, "tol=-1", solve(x, &alpha, h, -1));
    CHECK_THROWS(Refused, "shrink: threshold 0 is -1", shrink<double>(context, x.view().rows_from(0, 1), &negative, false, wrong.view().rows_from(0, 1)));
    CHECK_THROWS(Refused, "shrink: X is 4 x 6, out 4 x 5", shrink<double>(context, x.view(), x.data.data(), false, h.view()));
    Learned<double> model(5, 7);
    CHECK_THROWS(Refused, "X has 6 columns, the dictionary 7",
                 sparse_coding_train<double>(context, x.view(), {}, 1, model.state, [](const SparseCodingEpoch&) { return false; }));
    Learned<double> right(5, 6);
    SparseCodingOptions options;
    options.alpha = 0;
    CHECK_THROWS(Refused, "alpha=0, it must be positive",
                 sparse_coding_train<double>(context, x.view(), options, 1, right.state, [](const SparseCodingEpoch&) { return false; }));
}

}  // namespace

void test_sparse() {
    codes<float>();
    codes<double>();
    ops<float>();
    ops<double>();
    updates();
    learning<float>();
    learning<double>();
    refusals();
}

}  // namespace harmonium_test
