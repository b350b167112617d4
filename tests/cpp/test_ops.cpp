// Every op on odd shapes against plain loops in double, and the same bits from one thread and three.
#include <algorithm>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/bernoulli.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/elementwise.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"
#include "harmonium/math.hpp"
#include "harmonium/rbm_step.hpp"
#include "inputs.hpp"

namespace harmonium_test {

namespace {

// All that an op returned, for comparison between numbers of threads.
template <class T>
struct Record {
    std::vector<T> numbers;
    std::vector<std::uint64_t> words;
    void add(const std::vector<T>& more) { numbers.insert(numbers.end(), more.begin(), more.end()); }
    void add(const Bits& more) { words.insert(words.end(), more.words.begin(), more.words.end()); }
    bool operator==(const Record& other) const { return numbers == other.numbers && words == other.words; }
};

// out = scale (A B) + before, with the error that `terms` roundings a term allow.
template <class T>
void check_product(const Numbers<T>& out, const Numbers<T>& a, const Numbers<T>& b, double scale = 1,
                   const Numbers<T>* before = nullptr) {
    for (std::int64_t i = 0; i < a.rows; ++i) {
        for (std::int64_t j = 0; j < b.cols; ++j) {
            double sum = before ? static_cast<double>(before->at(i, j)) : 0, magnitude = std::abs(sum);
            for (std::int64_t k = 0; k < a.cols; ++k) {
                const double term = scale * static_cast<double>(a.at(i, k)) * static_cast<double>(b.at(k, j));
                sum += term;
                magnitude += std::abs(term);
            }
            CHECK_NEAR(static_cast<double>(out.at(i, j)), sum,
                       2 * static_cast<double>(a.cols + 2) * eps<T> * magnitude);
        }
    }
}

// The formulas at this level, 4 ulp at most, over the range of exp.
template <class T>
void functions(Record<T>& record) {
    const double high = sizeof(T) == 4 ? 87 : 708;
    const Numbers<T> x(1, 2001, 22, high);
    Numbers<T> e(1, 2001), s(1, 2001), p(1, 2001);
    exp_of<T>(x.data.data(), 2001, e.data.data());
    sigmoid_of<T>(x.data.data(), 2001, s.data.data());
    softplus_of<T>(x.data.data(), 2001, p.data.data());
    for (std::int64_t i = 0; i < 2001; ++i) {
        const auto at = static_cast<double>(x.at(0, i));
        const auto near = [&](T actual, double expected) {
            CHECK_NEAR(static_cast<double>(actual), expected, 5 * eps<T> * expected);
        };
        near(e.at(0, i), std::exp(at));
        near(s.at(0, i), logistic(at));
        near(p.at(0, i), log_one_plus_exp(at));
        const double y = std::exp(at);
        CHECK_NEAR(harmonium::log(y), std::log(y), 5 * eps<double> * std::abs(std::log(y)));
    }
    record.add(e.data), record.add(s.data), record.add(p.data);
}

template <class T>
void gemms(Context& context, std::int64_t m, std::int64_t k, std::int64_t n, Record<T>& record) {
    const Numbers<T> a(m, k, 1), b(k, n, 2), before(m, n, 3);
    for (const bool transpose_a : {false, true}) {
        for (const bool transpose_b : {false, true}) {
            const Numbers<T> left = transpose_a ? a.transposed() : a, right = transpose_b ? b.transposed() : b;
            Numbers<T> c = before;
            gemm<T>(context, T(2), left.view(), transpose_a, right.view(), transpose_b, T(1), c.view());
            check_product(c, a, b, 2, &before);
            record.add(c.data);
        }
    }
}

template <class T>
void binary_gemms(Context& context, std::int64_t n, std::int64_t k, std::int64_t m, double density, Record<T>& record) {
    const Bits bits(n, k, 4, density);
    const Numbers<T> a = bits.numbers<T>(), b(k, m, 5), before(n, m, 6);
    Numbers<T> grey = Numbers<T>(n, k).fill([&](double u) { return std::max(0.0, u - 1 + density); }, 7);
    const Sparse<T> ones(a, false), values(grey, true);
    const Numbers<T>* factors[] = {&a, &a, &grey, &grey};
    const States<T> states[] = {bits.view(), ones.view(), values.view(), grey.view()};
    for (int form = 0; form < 4; ++form) {
        for (const bool transpose : {false, true}) {
            const Numbers<T> right = transpose ? b.transposed() : b;
            Numbers<T> out(n, m);
            binary_gemm<T>(context, states[form], right.view(), transpose, false, out.view());
            check_product(out, *factors[form], b);
            Numbers<T> sum = before;
            binary_gemm<T>(context, states[form], right.view(), transpose, true, sum.view());
            check_product(sum, *factors[form], b, 1, &before);
            const InPanels<T> in_panels(right);
            InPanels<T> panels(before);
            binary_gemm<T>(context, states[form], in_panels.view(), transpose, true, panels.view());
            check_product(panels.numbers(), *factors[form], b, 1, &before);
            record.add(out.data), record.add(sum.data), record.add(panels.data);
        }
    }
    const Numbers<T> of_rows(n, m, 8);
    Numbers<T> gradient(k, m);
    Bits transposed(k, n);
    binary_gemm_tn<T>(context, bits.view(), of_rows.view(), false, gradient.view(), transposed.view());
    check_product(gradient, a.transposed(), of_rows);
    record.add(gradient.data), record.add(transposed);
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < k; ++j) CHECK(transposed.at(j, i) == bits.at(i, j));
    }
}

template <class T>
void draws(Context& context, std::int64_t n, std::int64_t k, std::int64_t m, Record<T>& record) {
    const Bits v(n, k, 9, 0.3);
    const Numbers<T> w(k, m, 10), bias(1, m, 11);
    const Draw draw(std::uint64_t(1) << 40, Stream::user, (std::uint64_t(1) << 33) + 3);
    constexpr std::uint32_t first_row = 77;
    Numbers<T> activation(n, m), p(n, m);
    binary_gemm<T>(context, v.view(), w.view(), false, false, activation.view());
    Bits x(n, m), only_bits(n, m);
    bernoulli<T>(context, activation.view(), bias.data.data(), T(0.5), draw, first_row, p.view(), x.view());
    bernoulli<T>(context, activation.view(), bias.data.data(), T(0.5), draw, first_row, {}, only_bits.view());
    CHECK(x.words == only_bits.words);
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < m; ++j) {
            const T argument = activation.at(i, j) * T(0.5) + bias.at(0, j);
            const double expected = logistic(static_cast<double>(argument));
            CHECK_NEAR(static_cast<double>(p.at(i, j)), expected, 4 * eps<T> * expected + 4 * eps<double>);
            const T u = uniform<T>(draw, first_row + static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j));
            CHECK(x.at(i, j) == (u < p.at(i, j)));
        }
    }
    // In place.
    Numbers<T> both = activation;
    bernoulli<T>(context, both.view(), bias.data.data(), T(0.5), draw, first_row, both.view(), {});
    CHECK(both.data == p.data);

    // The layer is the product and the draw in one, from either orientation of the weights.
    const double panels = static_cast<double>((m + 63) / 64);
    for (const bool transpose : {false, true}) {
        const InPanels<T> weights(transpose ? w.transposed() : w);
        InPanels<T> probability(n, m);
        Bits layer_bits(n, m);
        Numbers<double> softplus(static_cast<std::int64_t>(panels), n), other(static_cast<std::int64_t>(panels), n);
        LayerOutput<T> out;
        out.probability = probability.view();
        out.bits = layer_bits.view();
        out.draw = draw;
        out.first_row = first_row;
        out.softplus = softplus.view();
        out.other_softplus = other.view();
        const Numbers<T> other_bias(1, m, 12);
        out.other_bias = other_bias.data.data();
        out.other_scale = T(0.25);
        bernoulli_layer<T>(context, v.view(), weights.view(), transpose, bias.data.data(), T(0.5), out);
        CHECK(probability.numbers().data == p.data);
        CHECK(layer_bits.words == x.words);
        for (std::int64_t i = 0; i < n; ++i) {
            double sum = 0, other_sum = 0, expected = 0, other_expected = 0;
            for (std::int64_t q = 0; q < softplus.rows; ++q) sum += softplus.at(q, i), other_sum += other.at(q, i);
            for (std::int64_t j = 0; j < m; ++j) {
                const auto a = static_cast<double>(activation.at(i, j));
                expected += log_one_plus_exp(0.5 * a + static_cast<double>(bias.at(0, j)));
                other_expected += log_one_plus_exp(0.25 * a + static_cast<double>(other_bias.at(0, j)));
            }
            CHECK_NEAR(sum, expected, 8 * static_cast<double>(m) * eps<double> * expected);
            CHECK_NEAR(other_sum, other_expected, 8 * static_cast<double>(m) * eps<double> * other_expected);
        }
        record.add(probability.data), record.add(layer_bits);
    }
}

// What a gradient step needs beside its rates, and what became of it.
template <class T>
struct StepMemory {
    std::int64_t visible, hidden, n, m;
    Bits data, model, drawn, next, next_drawn;
    Numbers<T> grey, data_probability, weights, velocity, vectors;
    InPanels<T> w, v, probability, next_probability;
    Bits transposed;
    std::vector<double> sums;

    StepMemory(Context& context, std::int64_t visible_, std::int64_t hidden_, std::int64_t n_, std::int64_t m_,
               bool dense)
        : visible(visible_),
          hidden(hidden_),
          n(n_),
          m(m_),
          data(n, visible, 13, 0.4),
          model(m, visible, 14, 0.4),
          drawn(m, hidden),
          next(n, visible, 15, 0.4),
          next_drawn(n, hidden),
          grey(dense ? Numbers<T>(n, visible).fill([](double u) { return u; }, 16) : data.numbers<T>()),
          data_probability(Numbers<T>(n, hidden).fill([this](double u) { return u / static_cast<double>(n); }, 17)),
          weights(visible, hidden, 18),
          velocity(visible, hidden, 19),
          vectors(8, std::max(visible, hidden), 20),
          w(weights),
          v(velocity),
          probability(n + m, hidden),
          next_probability(n, hidden),
          transposed(visible, dense ? m : n + m),
          sums(static_cast<std::size_t>(rbm_step_sums(visible, hidden))) {
        for (std::int64_t i = 0; i < n; ++i) {
            for (std::int64_t j = 0; j < hidden; ++j) probability.view().at(i, j) = data_probability.at(i, j);
        }
        Bits all(dense ? m : n + m, visible);
        if (!dense) std::copy(data.words.begin(), data.words.end(), all.words.begin());
        std::copy(model.words.begin(), model.words.end(),
                  all.words.end() - static_cast<std::ptrdiff_t>(model.words.size()));
        transpose_bits(context, all.view(), transposed.view());
    }
    T* vector(std::int64_t i) { return &vectors.at(i, 0); }

    RbmStep<T> step(bool dense, bool centred, T momentum) {
        RbmStep<T> s;
        s.weights = w.view(), s.weight_velocity = v.view();
        s.visible_bias = vector(0), s.visible_velocity = vector(1), s.visible_offset = vector(2),
        s.visible_difference = vector(3);
        s.hidden_bias = vector(4), s.hidden_velocity = vector(5), s.hidden_offset = vector(6);
        s.learning_rate = T(0.25), s.momentum = momentum, s.weight_decay = T(0.125), s.offset_rate = T(0.5);
        s.probability = probability.view();
        s.data_probability = s.probability.rows_from(0, n), s.model_probability = s.probability.rows_from(n, m);
        s.model = model.view(), s.model_hidden = drawn.view(), s.draw = Draw(3, Stream::hidden, 4);
        s.transposed = transposed.view();
        if (dense) s.dense = grey.view();
        s.centred = centred;
        s.next = next.view(), s.next_probability = next_probability.view(), s.next_hidden = next_drawn.view();
        s.next_draw = Draw(3, Stream::hidden, 5);
        s.sums = sums.data();
        return s;
    }
};

template <class T>
void check_step(StepMemory<T>& after, const StepMemory<T>& before, bool centred, double momentum, double activity) {
    const std::int64_t visible = before.visible, hidden = before.hidden, n = before.n, m = before.m;
    const auto old = [&](int i, std::int64_t j) { return static_cast<double>(before.vectors.at(i, j)); };
    const double rounding = 8 * static_cast<double>(visible + hidden + n + m) * eps<T>;
    Numbers<double> p(m, hidden), g(visible, hidden), difference(1, hidden), lambda(1, hidden);
    double mean_activity = 0;
    for (std::int64_t j = 0; j < hidden; ++j) {
        double mean = 0;
        for (std::int64_t i = 0; i < n; ++i) mean += static_cast<double>(before.data_probability.at(i, j));
        mean_activity += mean;
        lambda.at(0, j) = old(6, j) + 0.5 * (mean - old(6, j));
        difference.at(0, j) = mean;
        for (std::int64_t i = 0; i < m; ++i) {
            double a = old(4, j);
            for (std::int64_t k = 0; k < visible; ++k)
                a += before.model.at(i, k) ? static_cast<double>(before.weights.at(k, j)) : 0;
            p.at(i, j) = logistic(a);
            difference.at(0, j) -= p.at(i, j) / static_cast<double>(m);
        }
        CHECK_NEAR(static_cast<double>(after.vectors.at(6, j)), lambda.at(0, j), rounding);
    }
    CHECK_NEAR(activity, mean_activity, rounding * static_cast<double>(hidden));
    Numbers<double> g_b(1, visible), g_c = difference;
    const InPanels<T>&w = after.w, &v = after.v;
    const Numbers<T> weights = w.numbers(), velocity = v.numbers();
    for (std::int64_t i = 0; i < visible; ++i) {
        g_b.at(0, i) = old(3, i);
        for (std::int64_t j = 0; j < hidden; ++j) {
            double sum = centred ? -old(2, i) * difference.at(0, j) - old(3, i) * lambda.at(0, j) : 0;
            for (std::int64_t r = 0; r < n; ++r) {
                sum +=
                    static_cast<double>(before.grey.at(r, i)) * static_cast<double>(before.data_probability.at(r, j));
            }
            for (std::int64_t r = 0; r < m; ++r) sum -= before.model.at(r, i) ? p.at(r, j) / static_cast<double>(m) : 0;
            if (centred) g_b.at(0, i) -= sum * lambda.at(0, j), g_c.at(0, j) -= sum * old(2, i);
            sum -= 0.125 * static_cast<double>(before.weights.at(i, j));
            sum += momentum * static_cast<double>(before.velocity.at(i, j));
            CHECK_NEAR(static_cast<double>(weights.at(i, j)), static_cast<double>(before.weights.at(i, j)) + 0.25 * sum,
                       rounding);
            if (momentum != 0) CHECK_NEAR(static_cast<double>(velocity.at(i, j)), sum, 4 * rounding);
        }
        CHECK_NEAR(static_cast<double>(after.vectors.at(0, i)),
                   old(0, i) + 0.25 * (g_b.at(0, i) + momentum * old(1, i)), rounding * static_cast<double>(hidden));
    }
    for (std::int64_t j = 0; j < hidden; ++j) {
        CHECK_NEAR(static_cast<double>(after.vectors.at(4, j)),
                   old(4, j) + 0.25 * (g_c.at(0, j) + momentum * old(5, j)), rounding * static_cast<double>(visible));
    }
    // The next batch by the new weights.
    const InPanels<T>& next = after.next_probability;
    const Numbers<T> next_p = next.numbers();
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < hidden; ++j) {
            double a = static_cast<double>(after.vectors.at(4, j)), magnitude = std::abs(a);
            for (std::int64_t k = 0; k < visible; ++k) {
                if (!after.next.at(i, k)) continue;
                a += static_cast<double>(weights.at(k, j)),
                    magnitude += std::abs(static_cast<double>(weights.at(k, j)));
            }
            CHECK_NEAR(static_cast<double>(next_p.at(i, j)) * static_cast<double>(n), logistic(a),
                       rounding * (1 + magnitude));
        }
    }
}

template <class T>
void steps(Context& context, std::int64_t visible, std::int64_t hidden, std::int64_t n, std::int64_t m,
           Record<T>& record) {
    for (const bool dense : {false, true}) {
        for (const bool centred : {false, true}) {
            const T momentum = centred ? T(0.5) : T(0);
            const StepMemory<T> before(context, visible, hidden, n, m, dense);
            StepMemory<T> after = before;
            const double activity = rbm_step<T>(context, after.step(dense, centred, momentum));
            check_step(after, before, centred, static_cast<double>(momentum), activity);
            record.add(after.w.data), record.add(after.v.data), record.add(after.vectors.data);
            record.add(after.probability.data), record.add(after.next_probability.data);
            record.add(after.drawn), record.add(after.next_drawn);
        }
    }
}

template <class T, class Input>
void packing(Record<T>& record) {
    for (const std::int64_t cols : {3, 64, 70, 200}) {
        const Bits bits(5, cols, 21, 0.4);
        std::vector<Input> x(5 * cols);
        for (std::int64_t i = 0; i < 5; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) x[i * cols + j] = static_cast<Input>(bits.at(i, j));
        }
        Bits packed(5, cols), from_columns(cols, 5);
        CHECK(pack_states("x", x.data(), cols, 1, true, 0, packed.view()) == Content::binary);
        CHECK(packed.words == bits.words);
        CHECK(pack_states("x", x.data(), 1, cols, true, 0, from_columns.view()) == Content::binary);
        for (std::int64_t i = 0; i < 5; ++i) {
            for (std::int64_t j = 0; j < cols; ++j) CHECK(from_columns.at(j, i) == bits.at(i, j));
        }
        record.add(packed);
        for (const std::int64_t place : {std::int64_t(0), cols - 1}) {
            std::vector<Input> other = x;
            if (std::is_floating_point_v<Input>) {
                other[cols + place] = static_cast<Input>(-0.0);
                CHECK(pack_states("x", other.data(), cols, 1, true, 0, packed.view()) == Content::binary);
                CHECK(!packed.at(1, place));
                other[cols + place] = static_cast<Input>(0.5);
                CHECK(pack_states("x", other.data(), cols, 1, true, 0, packed.view()) == Content::unit_interval);
            }
            other[cols + place] = static_cast<Input>(2);
            CHECK_THROWS(std::invalid_argument, message("x holds 2 in row 1, column ", place),
                         pack_states("x", other.data(), cols, 1, true, 0, packed.view()));
        }
    }
}

template <class T>
void packing_sparse() {
    const Bits bits(5, 70, 21, 0.4);
    const Numbers<T> x = bits.numbers<T>();
    Bits packed(5, 70);
    const Sparse<T> ones(x, false), values(x, true);
    pack_bits<T>(ones.view(), packed.view());
    CHECK(packed.words == bits.words);
    pack_bits<T>(values.view(), packed.view());
    CHECK(packed.words == bits.words);
}

template <class T>
Record<T> all(int threads) {
    Context context(threads);
    CHECK(context.threads() == threads);
    Record<T> record;
    const std::int64_t shapes[][3] = {{1, 1, 1}, {3, 65, 17}, {70, 63, 130}, {130, 77, 70}, {520, 20, 5}};
    for (const auto& s : shapes) {
        gemms(context, s[0], s[1], s[2], record);
        for (const double density : {0.0, 0.1, 0.5, 1.0}) binary_gemms(context, s[0], s[1], s[2], density, record);
        draws(context, s[0], s[1], s[2], record);
    }
    const std::int64_t models[][4] = {{1, 1, 1, 1}, {65, 17, 7, 7}, {33, 130, 5, 9}, {530, 3, 2, 3}};
    for (const auto& s : models) steps(context, s[0], s[1], s[2], s[3], record);
    functions(record);
    packing<T, T>(record);
    packing<T, std::uint8_t>(record);
    packing_sparse<T>();
    return record;
}

}  // namespace

void test_ops() {
    CHECK(all<float>(1) == all<float>(3));
    CHECK(all<double>(1) == all<double>(3));
    const Philox4 known = philox4x32_10(0, 0, 0, 0, 0, 0);
    CHECK(known.word[0] == 0x6627e8d5 && known.word[1] == 0xe169c58d && known.word[2] == 0xbc57ac4c &&
          known.word[3] == 0x9b00dbd8);
}

}  // namespace harmonium_test
