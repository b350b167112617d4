// Sampling and scoring by a fitted RBM with units of any type on a GPU, or on the emulated one, against the CPU's.
#include <algorithm>

#include "check.hpp"
#include "harmonium/error.hpp"
#include "harmonium/unit_rbm.hpp"
#include "inputs.hpp"
#if defined(HARMONIUM_EMULATE)
#include "cuda/emulate/control.hpp"
#endif

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};

// Bernoulli units, choices of 3 and of 2, bernoulli hidden units: all states are exact.
struct Machine {
    Model<float> parameters{20, 6, 50};
    UnitRbm<float> view() {
        const Rbm<float> model = parameters.view();
        Layer visible, hidden;
        visible.groups = {{UnitType::bernoulli, 0, 15}, {UnitType::categorical, 15, 3}, {UnitType::categorical, 18, 2}};
        hidden.groups = {{UnitType::bernoulli, 0, 6}};
        return {visible, hidden, model.weights, model.visible_bias, model.hidden_bias};
    }
};

struct Results {
    std::vector<float> gibbs, annealed, tempered, probability;
    std::vector<double> logs, energies, pseudo, swaps, own, others;
    bool operator==(const Results& o) const {
        return gibbs == o.gibbs && annealed == o.annealed && tempered == o.tempered && probability == o.probability && logs == o.logs &&
               energies == o.energies && pseudo == o.pseudo && swaps == o.swaps && own == o.own && others == o.others;
    }
};

Results run(Context& context, const States<float>& start, std::int64_t n) {
    Machine machine;
    const UnitRbm<float> model = machine.view();
    const Numbers<double> base(1, 20, 57);
    const std::vector<float> narrow(base.data.begin(), base.data.end());
    const std::vector<double> betas{0, 0.1, 0.3, 0.55, 0.8, 1};
    const Bits mask(n, 20, 53, 0.3);
    const Numbers<float> values = Bits(n, 20, 54, 0.5).numbers<float>();
    Numbers<float> gibbs(n, 20), annealed(n, 20), tempered(n, 20), probability(n, 6);
    Results r;
    r.pseudo.resize(static_cast<std::size_t>(n)), r.logs.resize(static_cast<std::size_t>(n)), r.energies.resize(static_cast<std::size_t>(n)), r.swaps.resize(3);
    rbm_gibbs<float>(context, model, {start}, false, 3, 60, mask.view(), values.view(), gibbs.view());
    rbm_anneal<float>(context, model, base.data.data(), betas.data(), 6, {}, 61, n, r.logs.data(), annealed.view());
    rbm_temper<float>(context, model, narrow.data(), 4, 3, 62, tempered.view(), r.swaps.data());
    rbm_probability<float>(context, model, {start}, false, probability.view());
    rbm_free_energy<float>(context, model, {start}, r.energies.data());
    rbm_pseudo_log_likelihood<float>(context, model, {start}, r.pseudo.data());
    // All states of the hidden layer, then the last ones of the visible layer's 2^15 3 2.
    constexpr std::int64_t visible_states = 6 << 15;
    r.own.resize(static_cast<std::size_t>(64 + n)), r.others.resize(r.own.size());
    rbm_enumerate<float>(context, model, true, 0, 64, r.own.data(), r.others.data());
    rbm_enumerate<float>(context, model, false, visible_states - n, n, r.own.data() + 64, r.others.data() + 64);
    r.gibbs = gibbs.data, r.annealed = annealed.data, r.tempered = tempered.data, r.probability = probability.data;
    return r;
}

void test_against_the_cpu() {
    constexpr std::int64_t n = 21;
    Context cpu(1), on_gpu(gpu);
    const Bits bits(n, 20, 51, 0.4);
    const Numbers<float> dense = bits.numbers<float>();
    const Sparse<float> sparse(dense, true);
    for (const States<float>& start : {States<float>(bits.view()), States<float>(dense.view()), States<float>(sparse.view())}) {
        const Results there = run(on_gpu, start, n), here = run(cpu, start, n);
        CHECK(there.gibbs == here.gibbs && there.annealed == here.annealed && there.tempered == here.tempered && there.swaps == here.swaps);
        CHECK(std::count(here.gibbs.begin(), here.gibbs.end(), 1.0f) > n && here.swaps[0] > 0 && here.swaps[0] < 1);
        // Given the same draws: 6 softplus of 20 terms below 1, at 5 temperatures.
        for (std::size_t i = 0; i < here.logs.size(); ++i) CHECK_NEAR(there.logs[i], here.logs[i], 5 * 8 * eps<float> * 20 * 6);
        for (std::size_t i = 0; i < here.energies.size(); ++i) CHECK_NEAR(there.energies[i], here.energies[i], 8 * eps<float> * 20 * 6);
        // Of 17 units or choices the change of 6 softplus.
        for (std::size_t i = 0; i < here.pseudo.size(); ++i) CHECK_NEAR(there.pseudo[i], here.pseudo[i], 8 * eps<float> * 20 * 6 * 17);
        // Sums of at most 20 biases below 1, and what energies are made of.
        for (std::size_t i = 0; i < here.own.size(); ++i) CHECK_NEAR(there.own[i], here.own[i], 20 * 20 * eps<double>);
        for (std::size_t i = 0; i < here.others.size(); ++i) CHECK_NEAR(there.others[i], here.others[i], 8 * eps<float> * 20 * 6);
        for (std::size_t i = 0; i < here.probability.size(); ++i) CHECK_NEAR(there.probability[i], here.probability[i], 20 * 20 * eps<float>);
    }
}

void test_refusals() {
    Machine machine;
    const UnitRbm<float> model = machine.view();
    Context on_gpu(gpu);
    double out[2] = {};
    CHECK_THROWS(std::invalid_argument, "RBM: states 63 to 65 of 64", rbm_enumerate<float>(on_gpu, model, true, 63, 2, out, out));
    rbm_enumerate<float>(on_gpu, model, true, 0, 0, nullptr, nullptr);
    Bits none(0, 20);
    none.words.reserve(1);
    Numbers<float> no_rows(0, 20), no_means(0, 6);
    rbm_gibbs<float>(on_gpu, model, {States<float>(none.view())}, false, 3, 0, {}, {}, no_rows.view());
    rbm_probability<float>(on_gpu, model, {States<float>(none.view())}, false, no_means.view());
    rbm_free_energy<float>(on_gpu, model, {States<float>(none.view())}, nullptr);
    rbm_pseudo_log_likelihood<float>(on_gpu, model, {States<float>(none.view())}, nullptr);
    double swaps[1] = {-1};
    rbm_temper<float>(on_gpu, model, machine.parameters.b.data.data(), 2, 3, 0, no_rows.view(), swaps);
    CHECK(swaps[0] == 0);
}

#if defined(HARMONIUM_EMULATE)
// What is there of memory holds some chains or rows at a time; the results are the same bits.
void test_pieces() {
    constexpr std::int64_t many = 300;
    const Bits start(many, 20, 51, 0.4);
    Context on_gpu(gpu);  // which keeps the workspace of its products
    const Results whole = run(on_gpu, start.view(), many);
    harmonium_emulate::set_memory_limit(harmonium_emulate::memory_in_use() + (80 << 10));
    CHECK(run(on_gpu, start.view(), many) == whole);
    harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
}
#endif

}  // namespace

void test_device_fitted_units() {
    test_against_the_cpu();
    test_refusals();
#if defined(HARMONIUM_EMULATE)
    test_pieces();
#endif
}

}  // namespace harmonium_test
