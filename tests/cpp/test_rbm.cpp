// The model's loops: likelihoods against sums over all states, training, sampling, annealing.
#include <algorithm>

#include "check.hpp"
#include "harmonium/error.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "inputs.hpp"

namespace harmonium_test {

namespace {

// All 2^n states, one a row.
Bits all_states(std::int64_t n) {
    Bits out(std::int64_t(1) << n, n);
    for (std::int64_t i = 0; i < out.rows; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
            if (i >> j & 1) out.set(i, j);
        }
    }
    return out;
}

double log_sum_exp(const std::vector<double>& x) {
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const double value : x) sum += std::exp(value - top);
    return top + std::log(sum);
}

// -F(v), by the definition.
template <class T, class State>
double minus_free_energy(const Model<T>& model, const State& state) {
    double sum = 0;
    for (std::int64_t i = 0; i < model.w.rows; ++i) sum += state(i) * static_cast<double>(model.b.at(0, i));
    for (std::int64_t j = 0; j < model.w.cols; ++j) {
        auto a = static_cast<double>(model.c.at(0, j));
        for (std::int64_t i = 0; i < model.w.rows; ++i) a += state(i) * static_cast<double>(model.w.at(i, j));
        sum += log_one_plus_exp(a);
    }
    return sum;
}

template <class T>
double brute_log_partition(const Model<T>& model) {
    const Bits v = all_states(model.w.rows);
    std::vector<double> terms;
    for (std::int64_t r = 0; r < v.rows; ++r) {
        terms.push_back(minus_free_energy(model, [&](std::int64_t i) { return static_cast<double>(v.at(r, i)); }));
    }
    return log_sum_exp(terms);
}

template <class T>
double mean_log_likelihood(Context& context, Model<T>& model, const Bits& v) {
    std::vector<double> f(static_cast<std::size_t>(v.rows));
    rbm_free_energy<T>(context, model.view(), v.view(), f.data());
    double sum = 0;
    for (const double value : f) sum -= value;
    return sum / static_cast<double>(v.rows) - rbm_log_partition<T>(context, model.view());
}

template <class T>
void likelihoods(Context& context) {
    for (const double scale : {0.1, 1.0, 80.0, 500.0}) {
        for (const auto& [visible, hidden] : {std::pair{9, 5}, {5, 9}, {1, 1}, {7, 7}}) {
            Model<T> model(visible, hidden, 30, scale);
            const double expected = brute_log_partition(model);
            CHECK_NEAR(rbm_log_partition<T>(context, model.view()), expected,
                       1e-10 + 4 * eps<double> * std::abs(expected));
        }
        Model<T> model(65, 17, 31, scale);
        const Bits v(40, 65, 32, 0.4);
        const Numbers<T> x = v.numbers<T>(),
                         grey = Numbers<T>(40, 65).fill([](double u) { return std::max(0.0, 2 * u - 1); }, 33);
        const Sparse<T> ones(x, false), values(grey, true);
        const States<T> forms[] = {v.view(), ones.view(), values.view(), grey.view()};
        for (int form = 0; form < 4; ++form) {
            const Numbers<T>& rows = form < 2 ? x : grey;
            std::vector<double> f(40), pseudo(40);
            rbm_free_energy<T>(context, model.view(), forms[form], f.data());
            rbm_pseudo_log_likelihood<T>(context, model.view(), forms[form], pseudo.data());
            // An activation is a sum of at most 66 terms of size scale, a score one of at most 65 x 17 activations.
            const double rounding = 66 * 66 * 17 * scale * eps<T> + 65 * 17 * std::exp(std::min(scale, 15.0)) * 1e-15;
            for (std::int64_t r = 0; r < 40; ++r) {
                const auto state = [&](std::int64_t i) { return static_cast<double>(rows.at(r, i)); };
                const double here = minus_free_energy(model, state);
                CHECK_NEAR(f[static_cast<std::size_t>(r)], -here, rounding);
                double expected = 0;
                for (std::int64_t k = 0; k < 65; ++k) {
                    expected -= log_one_plus_exp(
                        minus_free_energy(model, [&](std::int64_t i) { return i == k ? 1 - state(i) : state(i); }) -
                        here);
                }
                CHECK_NEAR(pseudo[static_cast<std::size_t>(r)], expected, rounding);
            }
        }
    }
}

// Memory of a training, and the options that go with it.
template <class T>
struct Training {
    Model<T> model, last;
    Numbers<T> offsets, velocity, velocities;
    Bits chains;
    RbmOptions options;
    std::uint64_t steps = 0, epochs = 0, averaged = 0;
    bool initialised = false;

    Training(std::int64_t visible, std::int64_t hidden, std::int64_t n_chains)
        : model(visible, hidden),
          last(visible, hidden),
          offsets(1, visible + hidden),
          velocity(visible, hidden),
          velocities(1, visible + hidden),
          chains(n_chains, hidden) {
        options.batch_size = 7;
        options.seed = 11;
        options.learning_rate = 0.1;
    }
    void run(
        Context& context, const States<T>& x, std::int64_t n_epochs,
        const std::function<bool(const RbmEpoch&)>& on_epoch = [](const RbmEpoch&) { return false; }) {
        RbmState<T> state;
        state.model = model.view();
        if (options.averaging > 0) state.last = last.view();
        state.visible_offset = offsets.data.data(), state.hidden_offset = offsets.data.data() + model.w.rows;
        if (options.momentum != 0) {
            state.weight_velocity = velocity.view();
            state.visible_velocity = velocities.data.data(),
            state.hidden_velocity = velocities.data.data() + model.w.rows;
        }
        state.chains = chains.view();
        state.steps = steps, state.epochs = epochs, state.averaged = averaged, state.initialised = initialised;
        const auto keep = [&] {
            steps = state.steps, epochs = state.epochs, averaged = state.averaged, initialised = state.initialised;
        };
        try {
            rbm_train<T>(context, x, options, n_epochs, state, on_epoch);
        } catch (...) {
            keep();
            throw;
        }
        keep();
    }
    bool operator==(const Training& o) const {
        return model.w.data == o.model.w.data && model.b.data == o.model.b.data && model.c.data == o.model.c.data &&
               last.w.data == o.last.w.data && last.b.data == o.last.b.data && last.c.data == o.last.c.data &&
               averaged == o.averaged && offsets.data == o.offsets.data && velocity.data == o.velocity.data &&
               velocities.data == o.velocities.data && chains.words == o.chains.words && steps == o.steps &&
               epochs == o.epochs;
    }
};

// Two prototypes with a little noise, which independent units cannot tell from a blur.
Bits two_kinds(std::int64_t n, std::int64_t visible) {
    Bits out(n, visible);
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 0; j < visible; ++j) {
            const double u = uniform<double>(Draw(40, Stream::user, 0), static_cast<std::uint32_t>(i),
                                             static_cast<std::uint64_t>(j));
            if ((u < 0.9) == (i % 2 == j % 2)) out.set(i, j);
        }
    }
    return out;
}

template <class T>
void trainings(Context& one, Context& three) {
    for (const Method method : {Method::cd, Method::pcd}) {
        for (const bool full : {false, true}) {
            const Bits x = two_kinds(45, 9);
            Training<T> a(9, 5, 7);
            a.options.method = method;
            a.options.centering = full;
            a.options.momentum = full ? 0.5 : 0;
            a.options.weight_decay = full ? 1e-4 : 0;
            a.options.n_gibbs_steps = full ? 2 : 1;
            a.options.averaging = full ? 2 : 0;
            a.options.shuffle = full;
            Training<T> b = a, c = a, of_sparse = a, of_grey = a;
            a.run(one, x.view(), 0);
            CHECK(a.initialised && a.steps == 0 && a.epochs == 0);
            int calls = 0;
            a.run(one, x.view(), 1, [&](const RbmEpoch& epoch) {
                CHECK(epoch.epoch == 1 && epoch.pseudo_log_likelihood < 0 && epoch.weight_rms > 0);
                CHECK(epoch.hidden_activity > 0 && epoch.hidden_activity < 1);
                return ++calls == 1;
            });
            CHECK(a.epochs == 1 && a.steps == 7 && calls == 1);
            const double early = mean_log_likelihood(one, a.model, x);
            a.run(one, x.view(), 59);
            CHECK(mean_log_likelihood(one, a.model, x) > early + 0.5);
            b.run(three, x.view(), 60);
            CHECK(a == b);
            c.run(three, x.view(), 1000, [](const RbmEpoch& epoch) { return epoch.epoch == 60; });
            CHECK(a == c);
            const Numbers<T> dense = x.numbers<T>();
            const Sparse<T> ones(dense, false), values(dense, true);
            of_sparse.run(one, ones.view(), 60);
            of_grey.run(one, values.view(), 60);
            CHECK(mean_log_likelihood(one, of_sparse.model, x) > early + 0.5);
            CHECK(mean_log_likelihood(one, of_grey.model, x) > early + 0.5);
        }
    }
    // More hidden units than a panel, fewer chains than rows of a batch, one short batch at the end.
    const Numbers<T> grey = Numbers<T>(23, 70).fill([](double u) { return u * u; }, 41);
    Training<T> a(70, 130, 3), b = a;
    a.options.momentum = b.options.momentum = 0.5;
    a.run(one, grey.view(), 3);
    b.run(three, grey.view(), 2);
    b.run(three, grey.view(), 1);
    CHECK(a == b);
}

template <class T>
void interruptions(Context& one) {
    const Bits x = two_kinds(45, 9), start(5, 70);
    Training<T> a(9, 5, 7), b = a, wild = a;
    Model<T> model(70, 30), large(40, 25);
    Bits v(5, 70);
    const auto interrupted = [](const auto& body) {
        for (const int threads : {1, 3}) {
            Context context(threads);
            double share = -1;
            context.set_interrupt([&](double done) {
                share = done;
                return true;
            });
            CHECK_THROWS(Interrupted, "interrupted", body(context));
            CHECK(share >= 0 && share <= 1);
        }
    };
    interrupted([&](Context& context) {
        rbm_gibbs<T>(context, model.view(), start.view(), false, 1000000000, 0, {}, {}, v.view());
    });
    interrupted([&](Context& context) {
        for (;;) rbm_log_partition<T>(context, large.view());
    });
    interrupted([&](Context& context) { a.run(context, x.view(), 1000000000); });
    // The state is that of the last whole epoch.
    b.run(one, x.view(), static_cast<std::int64_t>(a.epochs));
    CHECK(a == b);

    wild.options.learning_rate = 1e9;
    Training<T> before = wild;
    CHECK_THROWS(DivergenceError, "training diverged in epoch 1", wild.run(one, x.view(), 3));
    before.run(one, x.view(), 0);
    CHECK(wild == before);
}

template <class T>
void samples(Context& one, Context& three) {
    Model<T> model(70, 33, 50);
    const Bits start(21, 70, 51, 0.4), hidden(21, 33, 52, 0.4), mask(21, 70, 53, 0.3), values(21, 70, 54, 0.5);
    Bits v(21, 70), w(21, 70);
    for (const bool from_hidden : {false, true}) {
        const States<T> from = from_hidden ? hidden.view() : start.view();
        rbm_gibbs<T>(one, model.view(), from, from_hidden, 4, 60, mask.view(), values.view(), v.view());
        rbm_gibbs<T>(three, model.view(), from, from_hidden, 4, 60, mask.view(), values.view(), w.view());
        CHECK(v.words == w.words);
        for (std::int64_t i = 0; i < 21; ++i) {
            for (std::int64_t j = 0; j < 70; ++j) CHECK(!mask.at(i, j) || v.at(i, j) == values.at(i, j));
        }
    }
    // Half a step: v is drawn from p(v | h).
    Numbers<T> p(21, 70), of_hidden(21, 33);
    rbm_visible_probability<T>(one, model.view(), hidden.view(), p.view());
    rbm_gibbs<T>(one, model.view(), hidden.view(), true, 1, 60, {}, {}, v.view());
    for (std::int64_t i = 0; i < 21; ++i) {
        for (std::int64_t j = 0; j < 70; ++j) {
            double a = static_cast<double>(model.b.at(0, j));
            for (std::int64_t k = 0; k < 33; ++k) a += hidden.at(i, k) ? static_cast<double>(model.w.at(j, k)) : 0;
            CHECK_NEAR(static_cast<double>(p.at(i, j)), logistic(a), 34 * 34 * eps<T>);
            const T u =
                uniform<T>(Draw(60, Stream::visible, 0), static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(j));
            CHECK(v.at(i, j) == (u < p.at(i, j)));
        }
    }
    rbm_hidden_probability<T>(one, model.view(), start.view(), of_hidden.view());
    const Numbers<T> dense = start.numbers<T>();
    const Sparse<T> rows(dense, false);
    for (const States<T>& form : {States<T>(dense.view()), States<T>(rows.view())}) {
        Numbers<T> again(21, 33);
        rbm_hidden_probability<T>(three, model.view(), form, again.view());
        for (std::size_t i = 0; i < again.data.size(); ++i)
            CHECK_NEAR(again.data[i], of_hidden.data[i], 71 * 71 * eps<T>);
    }
}

// E[w] = Z / Z_base for any temperatures (Neal 2001), and the other way down from exact draws.
template <class T>
void annealing(Context& one, Context& three) {
    constexpr std::int64_t runs = 4000, visible = 6, hidden = 4;
    Model<T> model(visible, hidden, 70, 0.7);
    const double log_z = brute_log_partition(model);
    const std::vector<double> base{0.3, -0.2, 0.1, 0.5, -0.4, 0.0}, up{0, 0.2, 0.6, 1}, down{1, 0.6, 0.2, 0};
    const double log_base = rbm_base_log_partition(base.data(), visible, hidden);
    double expected_base = hidden * std::log(2.0);
    for (const double b : base) expected_base += log_one_plus_exp(b);
    CHECK_NEAR(log_base, expected_base, 1e-13);
    const Bits states = all_states(visible);
    Bits start(runs, visible);
    for (std::int64_t r = 0; r < runs; ++r) {
        double u = uniform<double>(Draw(71, Stream::user, 0), static_cast<std::uint32_t>(r), 0);
        std::int64_t s = 0;
        for (; s + 1 < states.rows; ++s) {
            u -= std::exp(
                minus_free_energy(model, [&](std::int64_t i) { return static_cast<double>(states.at(s, i)); }) - log_z);
            if (u < 0) break;
        }
        std::copy(states.view().row(s), states.view().row(s) + 1, start.view().row(r));
    }
    for (const bool downwards : {false, true}) {
        std::vector<double> log_w(runs), again(runs);
        const ConstBitMatrix from = downwards ? start.view() : BitMatrix();
        const double* betas = downwards ? down.data() : up.data();
        rbm_anneal<T>(one, model.view(), base.data(), betas, 4, from, 72, runs, log_w.data());
        rbm_anneal<T>(three, model.view(), base.data(), betas, 4, from, 72, runs, again.data());
        CHECK(log_w == again);
        double sum = 0, squares = 0;
        for (const double value : log_w) {
            const double w = std::exp(value - (downwards ? log_base - log_z : log_z - log_base));
            sum += w, squares += w * w;
        }
        const double mean = sum / runs, error = std::sqrt((squares / runs - mean * mean) / runs);
        CHECK(error > 0);
        CHECK_NEAR(mean, 1, 5 * error);
    }
}

template <class T>
void all() {
    Context one(1), three(3);
    likelihoods<T>(one);
    likelihoods<T>(three);
    trainings<T>(one, three);
    interruptions<T>(one);
    samples<T>(one, three);
    annealing<T>(one, three);
}

}  // namespace

void test_rbm() {
    all<float>();
    all<double>();
}

}  // namespace harmonium_test
