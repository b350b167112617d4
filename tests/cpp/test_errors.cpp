// Every refusal once: its type, and that the message carries the numbers.
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/bernoulli.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"
#include "harmonium/rbm_likelihood.hpp"
#include "harmonium/rbm_step.hpp"
#include "inputs.hpp"

namespace harmonium_test {

namespace {

using Refused = std::invalid_argument;

void ops(Context& context) {
    Numbers<double> a(3, 4), b(5, 2), c(3, 2), p(3, 3);
    Bits bits(3, 4), wrong(2, 4);
    const double bias[4] = {};
    CHECK_THROWS(Refused, "Context: -1 threads", Context bad(-1));
    CHECK_THROWS(Refused, "set_default_threads: -2 threads", set_default_threads(-2));
    CHECK_THROWS(Refused, "gemm: op(A) is 3 x 4, op(B) 5 x 2, C 3 x 2",
                 gemm<double>(context, 1, a.view(), false, b.view(), false, 0, c.view()));
    CHECK_THROWS(Refused, "binary_gemm: A is 3 x 4, op(B) 5 x 2, out 3 x 2",
                 binary_gemm<double>(context, bits.view(), b.view(), false, false, c.view()));
    CHECK_THROWS(Refused, "binary_gemm: A is 3 x 4, op(B) 2 x 5, out 3 x 2",
                 binary_gemm<double>(context, bits.view(), b.view(), true, false, c.view()));
    CHECK_THROWS(Refused, "transpose_bits: from 3 x 4 to 2 x 4", transpose_bits(context, bits.view(), wrong.view()));
    CHECK_THROWS(Refused, "transpose_bits",
                 binary_gemm_tn<double>(context, bits.view(), c.view(), false, b.view(), wrong.view()));
    CHECK_THROWS(Refused, "bernoulli: activation is 3 x 4, probability 3 x 3",
                 bernoulli<double>(context, a.view(), bias, 1, {}, 0, p.view(), {}));
    CHECK_THROWS(Refused, "bernoulli: activation is 3 x 4, bits 2 x 4",
                 bernoulli<double>(context, a.view(), bias, 1, {}, 0, {}, wrong.view()));

    const InPanels<double> w(4, 2);
    InPanels<double> probability(3, 3);
    LayerOutput<double> out;
    CHECK_THROWS(Refused, "bernoulli_layer: A is 3 x 4, op(W) 2 x 4",
                 bernoulli_layer<double>(context, bits.view(), w.view(), true, bias, 1, out));
    out.probability = probability.view();
    CHECK_THROWS(Refused, "bernoulli_layer: the layer is 3 x 2, probability 3 x 3",
                 bernoulli_layer<double>(context, bits.view(), w.view(), false, bias, 1, out));
    out.probability = {};
    out.bits = wrong.view();
    CHECK_THROWS(Refused, "bernoulli_layer: the layer is 3 x 2, bits 2 x 4",
                 bernoulli_layer<double>(context, bits.view(), w.view(), false, bias, 1, out));

    InPanels<double> weights(4, 2);
    RbmStep<double> step;
    step.weights = weights.view();
    step.model = bits.view();
    CHECK_THROWS(Refused, "rbm_step: weights 4 x 2, probabilities of 0 + 0 rows, 3 x 4 states of the model",
                 rbm_step<double>(context, step));

    Bits packed(3, 4);
    for (const auto& [value, said] :
         {std::pair{std::numeric_limits<double>::quiet_NaN(), "x contains NaN, in row 7, column 3"},
          {-std::numeric_limits<double>::infinity(), "(inf), in row 7, column 3"},
          {1.5, "x holds 1.5 in row 7, column 3"}}) {
        a.at(2, 3) = value;
        CHECK_THROWS(Refused, said, pack_states("x", a.data.data(), 4, 1, true, 5, packed.view()));
    }
    CHECK(pack_states("x", a.data.data(), 4, 1, false, 5, packed.view()) == Content::unit_interval);
}

void likelihoods(Context& context) {
    Model<double> model(4, 2), large(26, 26);
    const Bits x(3, 5), start(3, 4);
    Bits v(3, 4), narrow(3, 3);
    std::vector<double> out(3);
    const double base[4] = {}, betas[3] = {0, 0.5, 1}, above[2] = {0, 1.5}, nan[2] = {0, std::nan("")};
    const auto anneal = [&](const double* b, std::int64_t n_betas, const ConstBitMatrix& from, std::int64_t n_runs) {
        rbm_anneal<double>(context, model.view(), base, b, n_betas, from, 0, n_runs, out.data());
    };
    CHECK_THROWS(Refused, "RBM: X has 5 columns, the model has 4",
                 rbm_free_energy<double>(context, model.view(), x.view(), out.data()));
    CHECK_THROWS(Refused, "RBM: X has 5 columns, the model has 4",
                 rbm_pseudo_log_likelihood<double>(context, model.view(), x.view(), out.data()));
    CHECK_THROWS(Refused, "the smaller layer has 26 units, 25 can be enumerated",
                 rbm_log_partition<double>(context, large.view()));
    CHECK_THROWS(Refused, "log_partition: n_runs=0", anneal(betas, 3, {}, 0));
    CHECK_THROWS(Refused, "log_partition: 1 temperatures", anneal(betas, 1, {}, 3));
    CHECK_THROWS(Refused, "log_partition: beta 1.5 is not in [0, 1]", anneal(above, 2, {}, 3));
    CHECK_THROWS(Refused, "log_partition: beta nan is not in [0, 1]", anneal(nan, 2, {}, 3));
    CHECK_THROWS(Refused, "start at beta 0, not 0.5", anneal(betas + 1, 2, {}, 3));
    CHECK_THROWS(Refused, "log_partition: start is 3 x 5, not 3 x 4", anneal(betas, 3, x.view(), 3));

    const auto gibbs = [&](const Bits& from, bool from_hidden, std::int64_t n_steps, const BitMatrix& to) {
        rbm_gibbs<double>(context, model.view(), from.view(), from_hidden, n_steps, 0, {}, {}, to);
    };
    CHECK_THROWS(Refused, "RBM: n_steps=0", gibbs(start, false, 0, v.view()));
    CHECK_THROWS(Refused, "RBM: start has 5 columns, the model 4", gibbs(x, false, 1, v.view()));
    CHECK_THROWS(Refused, "RBM: start has 4 columns, the model 2", gibbs(start, true, 1, v.view()));
    CHECK_THROWS(Refused, "RBM: v is 3 x 3, not 3 x 4", gibbs(start, false, 1, narrow.view()));
    Numbers<double> rows(2, 2), columns(3, 3);
    CHECK_THROWS(Refused, "RBM: 3 rows in, 2 rows out",
                 rbm_hidden_probability<double>(context, model.view(), start.view(), rows.view()));
    CHECK_THROWS(Refused, "4 columns in, 3 out, the model has 4 and 2",
                 rbm_hidden_probability<double>(context, model.view(), start.view(), columns.view()));
    CHECK_THROWS(Refused, "4 columns in, 3 out, the model has 2 and 4",
                 rbm_visible_probability<double>(context, model.view(), start.view(), columns.view()));
}

void training(Context& context) {
    Model<double> model(4, 2);
    Numbers<double> offsets(1, 6);
    Bits chains(3, 2), wrong_chains(3, 3);
    const Bits x(3, 4), narrow(3, 3);
    RbmState<double> state;
    state.model = model.view();
    state.visible_offset = offsets.data.data(), state.hidden_offset = offsets.data.data() + 4;
    state.chains = chains.view();
    const auto train = [&](const States<double>& data, const RbmOptions& options) {
        rbm_train<double>(context, data, options, 1, state, [](const RbmEpoch&) { return false; });
    };
    const auto refused = [&](const char* said, const auto& change) {
        RbmOptions options;
        change(options);
        CHECK_THROWS(Refused, said, train(x.view(), options));
    };
    const double infinity = std::numeric_limits<double>::infinity();
    CHECK_THROWS(Refused, "RBM: X has 3 columns, the model has 4", train(narrow.view(), {}));
    CHECK_THROWS(Refused, "RBM: X has 0 rows", train(x.view().rows_from(0, 0), {}));
    refused("RBM: n_gibbs_steps=0", [](RbmOptions& o) { o.n_gibbs_steps = 0; });
    refused("RBM: batch_size=0", [](RbmOptions& o) { o.batch_size = 0; });
    refused("RBM: learning_rate=0", [](RbmOptions& o) { o.learning_rate = 0; });
    refused("RBM: learning_rate=inf", [&](RbmOptions& o) { o.learning_rate = infinity; });
    refused("RBM: learning_rate=nan", [](RbmOptions& o) { o.learning_rate = std::nan(""); });
    refused("RBM: momentum=1", [](RbmOptions& o) { o.momentum = 1; });
    refused("RBM: momentum=-0.5", [](RbmOptions& o) { o.momentum = -0.5; });
    refused("RBM: momentum=0.5 needs memory for the velocity", [](RbmOptions& o) { o.momentum = 0.5; });
    refused("RBM: averaging=-1", [](RbmOptions& o) { o.averaging = -1; });
    refused("RBM: averaging=2 needs memory for the last step's parameters", [](RbmOptions& o) { o.averaging = 2; });
    refused("RBM: weight_decay=-1", [](RbmOptions& o) { o.weight_decay = -1; });
    refused("RBM: weight_decay=inf", [&](RbmOptions& o) { o.weight_decay = infinity; });
    state.chains = wrong_chains.view();
    refused("RBM: 3 chains of 3 units, the model has 2", [](RbmOptions&) {});
    state.chains = chains.view().rows_from(0, 0);
    refused("RBM: 0 chains", [](RbmOptions&) {});
    CHECK(state.steps == 0 && state.epochs == 0);
}

}  // namespace

void test_errors() {
    Context context(2);
    ops(context);
    likelihoods(context);
    training(context);
}

}  // namespace harmonium_test
