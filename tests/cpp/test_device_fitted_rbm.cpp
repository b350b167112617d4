// Sampling and scoring by a fitted RBM on a GPU, or on the emulated one, against the CPU's.
#include <cmath>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/error.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "inputs.hpp"
#if defined(HARMONIUM_EMULATE)
#include "cuda/emulate/control.hpp"
#include "cuda_runtime_api.h"
#endif

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};
constexpr std::int64_t visible = 70, hidden = 37, rows = 21;

// The same rows in every form that states have.
template <class T>
struct Forms {
    Bits bits;
    Numbers<T> dense, grey;
    Sparse<T> ones, values;

    Forms(std::int64_t n, std::int64_t cols, std::uint64_t seed)
        : bits(n, cols, seed, 0.4), dense(bits.numbers<T>()), grey(dense), ones(dense, false), values(brightened(grey), true) {}
    std::vector<States<T>> all() const {
        return {States<T>(bits.view()), States<T>(ones.view()), States<T>(grey.view()), States<T>(values.view())};
    }

private:
    static const Numbers<T>& brightened(Numbers<T>& x) {
        for (T& value : x.data) value *= T(0.7);
        return x;
    }
};

template <class T>
void test_conditionals(Context& cpu, Context& on_gpu) {
    Model<T> model(visible, hidden, 50);
    const Forms<T> v(rows, visible, 51), h(rows, hidden, 52);
    for (const bool of_visible : {false, true}) {
        for (const States<T>& given : (of_visible ? h : v).all()) {
            Numbers<T> actual(rows, of_visible ? visible : hidden), expected = actual;
            (of_visible ? rbm_visible_probability<T> : rbm_hidden_probability<T>)(on_gpu, model.view(), given, actual.view());
            (of_visible ? rbm_visible_probability<T> : rbm_hidden_probability<T>)(cpu, model.view(), given, expected.view());
            // Activations are sums of at most 70 numbers below 1, each in three parts; sigmoid's slope is a quarter.
            for (std::size_t i = 0; i < actual.data.size(); ++i) CHECK_NEAR(actual.data[i], expected.data[i], visible * visible * eps<T>);
        }
    }
    Numbers<T> narrow(rows, hidden - 1);
    CHECK_THROWS(std::invalid_argument, "70 columns in, 36 out, the model has 70 and 37",
                 rbm_hidden_probability<T>(on_gpu, model.view(), v.bits.view(), narrow.view()));
}

template <class T>
void test_gibbs(Context& cpu, Context& on_gpu) {
    Model<T> model(visible, hidden, 50);
    const Forms<T> of_visible(rows, visible, 51), of_hidden(rows, hidden, 52);
    const Bits mask(rows, visible, 53, 0.3), values(rows, visible, 54, 0.5);
    for (const bool from_hidden : {false, true}) {
        for (const States<T>& start : (from_hidden ? of_hidden : of_visible).all()) {
            for (const std::int64_t steps : {1, 2, 5}) {
                const bool clamped = steps != 2;
                const ConstBitMatrix kept = clamped ? mask.view() : ConstBitMatrix(), at = clamped ? values.view() : ConstBitMatrix();
                Bits actual(rows, visible), expected(rows, visible);
                rbm_gibbs<T>(on_gpu, model.view(), start, from_hidden, steps, 60, kept, at, actual.view());
                rbm_gibbs<T>(cpu, model.view(), start, from_hidden, steps, 60, kept, at, expected.view());
                CHECK(actual.words == expected.words);
            }
        }
    }
    Bits v(rows, visible);
    CHECK_THROWS(std::invalid_argument, "the mask 21 x 70, its values 20 x 70",
                 rbm_gibbs<T>(on_gpu, model.view(), of_visible.bits.view(), false, 1, 0, mask.view(), Bits(rows - 1, visible).view(), v.view()));
}

template <class T>
void test_scores(Context& cpu, Context& on_gpu) {
    const Forms<T> v(rows, visible, 51);
    const std::vector<std::int64_t> some{3, 0, 69, 64, 12};
    for (const double scale : {1.0, 15.0, 40.0}) {  // by ratios many at a time, by ratios few at a time, by exponentials
        Model<T> model(visible, hidden, 50, scale);
        // Activations reach scale * 70; each of 37 units adds the rounding of its own, and each of 70 flips that of all of them.
        const double bound = 8 * eps<T> * scale * visible * hidden;
        for (const States<T>& x : v.all()) {
            std::vector<double> actual(rows), expected(rows);
            rbm_free_energy<T>(on_gpu, model.view(), x, actual.data());
            rbm_free_energy<T>(cpu, model.view(), x, expected.data());
            for (std::size_t i = 0; i < rows; ++i) CHECK_NEAR(actual[i], expected[i], bound);
            for (const std::int64_t* units : {static_cast<const std::int64_t*>(nullptr), some.data()}) {
                rbm_pseudo_log_likelihood<T>(on_gpu, model.view(), x, actual.data(), units, 5);
                rbm_pseudo_log_likelihood<T>(cpu, model.view(), x, expected.data(), units, 5);
                for (std::size_t i = 0; i < rows; ++i) CHECK_NEAR(actual[i], expected[i], bound);
            }
        }
    }
}

template <class T>
std::vector<double> annealed(Context& context, Model<T>& model, bool downwards, std::int64_t n_runs) {
    const std::vector<double> up{0, 0.1, 0.3, 0.55, 0.8, 1}, down(up.rbegin(), up.rend());
    const Numbers<double> base(1, model.w.rows, 57);
    const Bits start(n_runs, model.w.rows, 58, 0.4);
    std::vector<double> out(static_cast<std::size_t>(n_runs), -1);
    rbm_anneal<T>(context, model.view(), base.data.data(), downwards ? down.data() : up.data(), 6, downwards ? start.view() : ConstBitMatrix(), 61,
                  n_runs, out.data());
    return out;
}

template <class T>
void test_annealing(Context& cpu, Context& on_gpu) {
    Model<T> model(visible, hidden, 50);
    for (const bool downwards : {false, true}) {
        const std::vector<double> actual = annealed(on_gpu, model, downwards, rows), expected = annealed(cpu, model, downwards, rows);
        for (std::size_t i = 0; i < rows; ++i) CHECK_NEAR(actual[i], expected[i], 5 * 8 * eps<T> * visible * hidden);
    }
}

template <class T>
void test_enumeration(Context& cpu, Context& on_gpu) {
    // Either layer the smaller one, of less units than a tile's states and more, the other of more units than a tile is deep.
    const std::int64_t shapes[][2] = {{1, 1}, {70, 1}, {1, 9}, {12, 9}, {9, 20}, {13, 13}};
    for (const auto& shape : shapes) {
        for (const double scale : {1.0, 30.0, 1000.0}) {  // by odds many factors at a time, by odds few, by exponentials
            Model<T> model(shape[0], shape[1], 50, scale);
            const double actual = rbm_log_partition<T>(on_gpu, model.view()), expected = rbm_log_partition<T>(cpu, model.view());
            CHECK_NEAR(actual, expected, 4e-12 + 8 * eps<double> * std::abs(expected));
            CHECK(rbm_log_partition<T>(on_gpu, model.view()) == actual);
        }
    }
    Model<T> large(26, 30, 50);
    CHECK_THROWS(std::invalid_argument, "the smaller layer has 26 units, 25 can be enumerated", rbm_log_partition<T>(on_gpu, large.view()));
}

template <class T>
void test_no_rows(Context& on_gpu) {
    Model<T> model(visible, hidden, 50);
    Bits none(0, visible);
    none.words.reserve(1);  // a view of nothing must still have somewhere to point to
    Numbers<T> p(0, hidden);
    rbm_gibbs<T>(on_gpu, model.view(), none.view(), false, 3, 0, {}, {}, none.view());
    rbm_hidden_probability<T>(on_gpu, model.view(), none.view(), p.view());
    rbm_free_energy<T>(on_gpu, model.view(), none.view(), nullptr);
    rbm_pseudo_log_likelihood<T>(on_gpu, model.view(), none.view(), nullptr);
    std::vector<double> score(2, 1);
    const Bits two(2, visible, 1, 0.5);
    const std::int64_t no_unit = 0;
    rbm_pseudo_log_likelihood<T>(on_gpu, model.view(), two.view(), score.data(), &no_unit, 0);
    CHECK(score[0] == 0 && score[1] == 0);  // of no units
}

void test_interruption() {
    Model<float> model(visible, hidden, 50);
    const Bits start(rows, visible, 51, 0.4);
    Bits v(rows, visible);
    Context on_gpu(gpu);
    double share = -1;
    on_gpu.set_interrupt([&](double done) { return share = done, true; });
    CHECK_THROWS(Interrupted, "interrupted", rbm_gibbs<float>(on_gpu, model.view(), start.view(), false, 1000000000, 0, {}, {}, v.view()));
    CHECK(share >= 0 && share <= 1);
    for (const std::uint64_t word : v.words) CHECK(word == 0);
    Model<float> small(30, 9, 50);
    CHECK_THROWS(Interrupted, "interrupted", rbm_log_partition<float>(on_gpu, small.view()));
}

#if defined(HARMONIUM_EMULATE)
// What is there of memory holds some chains or rows at a time; the results are the same bits.
void test_pieces() {
    constexpr std::int64_t many = 500;
    Model<float> model(20, 6, 50);
    const Bits start(many, 20, 51, 0.4), mask(many, 20, 53, 0.3);
    Bits whole(many, 20), pieces(many, 20);
    Context on_gpu(gpu);  // which keeps the workspace of its products
    const auto sample = [&](Bits& v) { rbm_gibbs<float>(on_gpu, model.view(), start.view(), false, 3, 60, mask.view(), start.view(), v.view()); };
    const auto score = [&] {
        std::vector<double> out(many);
        rbm_pseudo_log_likelihood<float>(on_gpu, model.view(), start.view(), out.data());
        return out;
    };
    sample(whole);
    Model<float> enumerated(14, 20, 50);
    const auto sum = [&] { return rbm_log_partition<float>(on_gpu, enumerated.view()); };
    const std::vector<double> scores = score(), logs = annealed(on_gpu, model, true, many);
    const double log_z = sum();
    harmonium_emulate::set_memory_limit(harmonium_emulate::memory_in_use() + (80 << 10));
    sample(pieces);
    CHECK(pieces.words == whole.words);
    CHECK(score() == scores && annealed(on_gpu, model, true, many) == logs && sum() == log_z);
    harmonium_emulate::set_memory_limit(harmonium_emulate::memory_in_use() + 1024);
    CHECK_THROWS(OutOfDeviceMemory, "bytes more were asked for", sample(pieces));
    harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
}

// Whichever call fails, of every so many, it is said, and the same context can be used again.
template <class Action>
void fail_calls(Context& context, std::uint64_t every, const Action& action) {
    action();  // plans products and takes scratch memory
    context.synchronize();
    const std::uint64_t begin = harmonium_emulate::calls();
    const auto right = action();
    const std::uint64_t calls = harmonium_emulate::calls() - begin;
    CHECK(calls > 20);
    for (std::uint64_t n = 1; n <= calls; n += every) {
        harmonium_emulate::fail_call(n, cudaErrorUnknown);
        try {
            CHECK(action() == right);  // it failed where nobody looks: while memory is given back
        } catch (const std::exception&) {
        }
        harmonium_emulate::reset();
    }
    CHECK(action() == right);
}

void test_faults() {
    Model<float> model(20, 6, 50);
    const Bits start(5, 20, 51, 0.4);
    Context on_gpu(gpu);
    fail_calls(on_gpu, 1, [&] {
        Bits v(5, 20);
        rbm_gibbs<float>(on_gpu, model.view(), start.view(), false, 4, 60, {}, {}, v.view());
        return v.words;
    });
    fail_calls(on_gpu, 3, [&] {
        std::vector<double> pseudo(5);
        rbm_pseudo_log_likelihood<float>(on_gpu, model.view(), start.view(), pseudo.data());
        return pseudo;
    });
    fail_calls(on_gpu, 3, [&] { return annealed(on_gpu, model, true, 5); });
    fail_calls(on_gpu, 3, [&] { return rbm_log_partition<float>(on_gpu, model.view()); });
}
#endif

template <class T>
void all() {
    Context cpu(1), on_gpu(gpu);
    test_conditionals<T>(cpu, on_gpu);
    test_gibbs<T>(cpu, on_gpu);
    test_scores<T>(cpu, on_gpu);
    test_annealing<T>(cpu, on_gpu);
    test_enumeration<T>(cpu, on_gpu);
    test_no_rows<T>(on_gpu);
}

}  // namespace

void test_device_fitted_rbm() {
    all<float>();
    all<double>();
    test_interruption();
#if defined(HARMONIUM_EMULATE)
    test_pieces();
    test_faults();
#endif
}

}  // namespace harmonium_test
