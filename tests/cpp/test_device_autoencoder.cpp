// Autoencoders trained and used on a GPU, or on the emulated one, against the CPU: the same draws, rates and order of rows.
#include <chrono>
#include <stdexcept>
#include <thread>

#include "harmonium/autoencoder.hpp"
#include "harmonium/error.hpp"

#include "check.hpp"
#include "on_device.hpp"
#if defined(HARMONIUM_EMULATE)
#include "cuda/emulate/control.hpp"
#endif

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};
constexpr std::int64_t visible = 22;

// One value of each kind.
struct Case {
    std::vector<std::int64_t> encoder{visible, 9, 5}, decoder{9};
    bool tied = true, sparse = false, shuffle = true;
    Corruption corruption = Corruption::none;
    double dropout = 0, contraction = 0, decay = 0;
    UpdateRule rule = UpdateRule::adam;
    RateSchedule schedule = RateSchedule::constant;
    std::int64_t batch_size = 8;
    std::vector<OutputGroup> groups{{Likelihood::bernoulli, 0, visible}};

    AutoencoderModel model() const {
        return autoencoder_model(encoder, decoder, Activation::sigmoid, Activation::tanh, tied, groups);
    }
};

template <class T>
struct Trained {
    std::vector<T> theta, kept;
    AutoencoderState<T> state;
    std::vector<AutoencoderEpoch> epochs;

    Trained(const AutoencoderModel& model, UpdateRule rule)
        : theta(Numbers<T>(1, model.n_parameters, 3, 0.4).data), kept(static_cast<std::size_t>(kept_by(rule) * model.n_parameters)) {
        state.theta = theta.data(), state.kept = kept.data();
    }
};

template <class T>
struct Data {
    Numbers<T> x;
    Sparse<T> sparse;
    bool as_sparse;

    Data(std::int64_t rows, bool as_sparse_, std::uint64_t seed) : x(rows, visible, seed), sparse(x, true), as_sparse(as_sparse_) {
        for (T& value : x.data) value = value > T(0.2) ? value : T(0);
        sparse = Sparse<T>(x, true);
    }
    States<T> view() const { return as_sparse ? States<T>(sparse.view()) : States<T>(x.view()); }
};

std::vector<double> zeros(visible, 0.0), ones(visible, 1.0);

AutoencoderOptions options_of(const Case& c) {
    AutoencoderOptions o;
    o.corruption = c.corruption, o.low = zeros.data(), o.high = ones.data();
    o.dropout = c.dropout, o.contraction = c.contraction, o.weight_decay = c.decay;
    o.update.rule = c.rule, o.update.rate = 0.02;
    o.schedule = c.schedule, o.schedule_epochs = 3;
    o.batch_size = c.batch_size, o.shuffle = c.shuffle, o.seed = 5;
    return o;
}

template <class T>
Trained<T> train(Context& context, const Case& c, const AutoencoderOptions& options, std::int64_t rows, std::int64_t n_epochs) {
    const AutoencoderModel model = c.model();
    const Data<T> x(rows, c.sparse, 1), validation(19, c.sparse, 2);
    Trained<T> out(model, c.rule);
    autoencoder_train<T>(context, model, x.view(), validation.view(), options, n_epochs, out.state, [&](const AutoencoderEpoch& epoch) {
        out.epochs.push_back(epoch);
        out.state.rate_factor = 0.5;
        return false;
    });
    return out;
}

// Steps amplify what sums in another order differ by; after so few of them it is still small.
template <class T>
void check_close(const std::vector<T>& actual, const std::vector<T>& expected) {
    CHECK(actual.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK_NEAR(actual[i], expected[i], 4000 * eps<T>);
}

template <class T>
void test_training(const Case& c, std::int64_t rows = 37) {
    Context on_gpu(gpu), cpu;
    const AutoencoderOptions options = options_of(c);
    const Trained<T> expected = train<T>(cpu, c, options, rows, 3), actual = train<T>(on_gpu, c, options, rows, 3);
    check_close(actual.theta, expected.theta);
    check_close(actual.kept, expected.kept);
    CHECK(actual.state.steps == expected.state.steps && actual.state.epochs == expected.state.epochs);
    CHECK(actual.epochs.size() == 3);
    for (std::size_t i = 0; i < actual.epochs.size(); ++i) {
        CHECK_NEAR(actual.epochs[i].loss, expected.epochs[i].loss, 4000 * eps<T> * expected.epochs[i].loss);
        CHECK_NEAR(actual.epochs[i].validation_loss, expected.epochs[i].validation_loss, 4000 * eps<T> * expected.epochs[i].validation_loss);
        CHECK(actual.epochs[i].rate == expected.epochs[i].rate);
        CHECK(actual.epochs[i].epoch == i + 1);
    }
}

template <class T>
void test_uses(const Case& c) {
    Context on_gpu(gpu), cpu;
    const AutoencoderModel model = c.model();
    const std::int64_t rows = 2100;  // more than go through at a time
    const Data<T> x(rows, c.sparse, 4);
    const std::vector<T> theta = Numbers<T>(1, model.n_parameters, 3, 0.4).data;
    const AutoencoderOptions options = options_of(c);
    const auto use = [&](Context& context, std::vector<T>& codes, std::vector<T>& means, std::vector<double>& losses, std::vector<double>& norms,
                         std::vector<T>& gradient) {
        codes.resize(static_cast<std::size_t>(rows * model.code()));
        means.resize(static_cast<std::size_t>(rows * visible));
        losses.resize(static_cast<std::size_t>(rows)), norms.resize(static_cast<std::size_t>(rows));
        gradient.resize(theta.size());
        const Matrix<T> h(codes.data(), rows, model.code());
        autoencoder_encode<T>(context, model, theta.data(), x.view(), h);
        autoencoder_decode<T>(context, model, theta.data(), States<T>(h), Matrix<T>(means.data(), rows, visible));
        autoencoder_score<T>(context, model, theta.data(), x.view(), losses.data());
        autoencoder_jacobian<T>(context, model, theta.data(), x.view(), norms.data());
        const double loss = autoencoder_loss<T>(context, model, x.view(), options, theta.data(), gradient.data());
        // Without a gradient a contraction of several layers is summed in another way.
        CHECK_NEAR(autoencoder_loss<T>(context, model, x.view(), options, theta.data(), static_cast<T*>(nullptr)), loss, 200 * eps<T> * loss);
        return loss;
    };
    std::vector<T> h[2], means[2], gradient[2];
    std::vector<double> losses[2], norms[2];
    const double expected = use(cpu, h[0], means[0], losses[0], norms[0], gradient[0]);
    CHECK_NEAR(use(on_gpu, h[1], means[1], losses[1], norms[1], gradient[1]), expected, 200 * eps<T> * expected);
    check_close(h[1], h[0]);
    check_close(means[1], means[0]);
    check_close(gradient[1], gradient[0]);
    for (std::size_t i = 0; i < losses[0].size(); ++i) {
        CHECK_NEAR(losses[1][i], losses[0][i], 200 * eps<T> * losses[0][i]);
        CHECK_NEAR(norms[1][i], norms[0][i], 200 * eps<T> * norms[0][i]);
    }
}

void test_ends() {
    Context on_gpu(gpu);
    Case c;
    AutoencoderOptions options = options_of(c);
    const AutoencoderModel model = c.model();
    const Data<float> x(700, false, 1);
    const States<float> none(Matrix<const float>(nullptr, 0, visible));
    // Stopped by the callback, and interrupted in the second epoch: the first one stands.
    Trained<float> one(model, c.rule), stopped(model, c.rule), interrupted(model, c.rule);
    autoencoder_train<float>(on_gpu, model, x.view(), none, options, 1, one.state, [](const AutoencoderEpoch&) { return false; });
    autoencoder_train<float>(on_gpu, model, x.view(), none, options, 9, stopped.state, [](const AutoencoderEpoch&) { return true; });
    CHECK(stopped.theta == one.theta && stopped.state.epochs == 1);
    std::vector<float> theta, kept_numbers;
    std::uint64_t steps = 0;
    on_gpu.set_interrupt([&](double done) {
        if (steps > 0 && done == 0) std::this_thread::sleep_for(std::chrono::milliseconds(150));  // so that the next poll asks, too
        return steps > 0 && done > 0;
    });
    CHECK_THROWS(Interrupted, "interrupted", autoencoder_train<float>(on_gpu, model, x.view(), none, options, 9, interrupted.state, [&](const AutoencoderEpoch&) {
                     theta = interrupted.theta, kept_numbers = interrupted.kept, steps = interrupted.state.steps;
                     return false;
                 }));
    CHECK(interrupted.theta == theta && interrupted.kept == kept_numbers && interrupted.state.steps == steps);
    // Going on is the same as never having stopped.
    Context another(gpu);
    Trained<float> two(model, c.rule);
    autoencoder_train<float>(another, model, x.view(), none, options, 2, two.state, [](const AutoencoderEpoch&) { return false; });
    autoencoder_train<float>(another, model, x.view(), none, options, 1, stopped.state, [](const AutoencoderEpoch&) { return false; });
    CHECK(stopped.theta == two.theta && stopped.kept == two.kept);

    // Divergence: nothing of the epoch remains. A row far from all others is none.
    for (const std::int64_t batch_size : {8, 700}) {
        AutoencoderOptions wild = options;
        wild.update.rule = UpdateRule::sgd, wild.update.rate = 1e6, wild.batch_size = batch_size;
        Case gaussian;
        gaussian.groups = {{Likelihood::gaussian, 0, visible}};
        gaussian.encoder = {visible, 6}, gaussian.decoder = {};
        const AutoencoderModel linear = autoencoder_model(gaussian.encoder, {}, Activation::identity, Activation::identity, true, gaussian.groups);
        Trained<float> lost(linear, UpdateRule::sgd);
        const std::vector<float> begun = lost.theta;
        std::uint64_t kept_epochs = 0;
        std::vector<float> kept = begun;
        CHECK_THROWS(DivergenceError, "use a smaller learning_rate_init",
                     autoencoder_train<float>(another, linear, x.view(), none, wild, 50, lost.state, [&](const AutoencoderEpoch& epoch) {
                         kept = lost.theta, kept_epochs = epoch.epoch;
                         return false;
                     }));
        CHECK(lost.theta == kept && lost.state.epochs == kept_epochs);
        Data<float> far(700, false, 1);
        for (std::int64_t j = 0; j < visible; ++j) far.x.at(350, j) = 1e4f;
        wild.update.rate = 1e-9, wild.shuffle = false;
        Trained<float> fine(linear, UpdateRule::sgd), on_cpu(linear, UpdateRule::sgd);
        Context cpu;
        autoencoder_train<float>(another, linear, far.view(), none, wild, 2, fine.state, [](const AutoencoderEpoch&) { return false; });
        autoencoder_train<float>(cpu, linear, far.view(), none, wild, 2, on_cpu.state, [](const AutoencoderEpoch&) { return false; });
        check_close(fine.theta, on_cpu.theta);
    }
}

// Everything on the device to begin with, as CuPy's arrays are.
void test_device_arrays() {
    Context on_gpu(gpu);
    const Case c;
    const AutoencoderModel model = c.model();
    const AutoencoderOptions options = options_of(c);
    const Data<float> x(37, false, 1);
    const States<float> none(Matrix<const float>(nullptr, 0, visible));
    Trained<float> host(model, c.rule);
    const OnDevice<float> theta(on_gpu, host.theta), kept(on_gpu, host.kept), rows(on_gpu, x.x.data), codes(on_gpu, 37 * 5);
    AutoencoderState<float> there;
    there.theta = theta.memory.data(), there.kept = kept.memory.data();
    const auto go_on = [](const AutoencoderEpoch&) { return false; };
    autoencoder_train<float>(on_gpu, model, x.view(), none, options, 2, host.state, go_on);
    autoencoder_train<float>(on_gpu, model, States<float>(rows.view(37, visible)), none, options, 2, there, go_on);
    CHECK(theta.on_host() == host.theta && kept.on_host() == host.kept);
    std::vector<float> expected(37 * 5);
    autoencoder_encode<float>(on_gpu, model, host.theta.data(), x.view(), Matrix<float>(expected.data(), 37, 5));
    autoencoder_encode<float>(on_gpu, model, theta.memory.data(), States<float>(rows.view(37, visible)), codes.view(37, 5));
    CHECK(codes.on_host() == expected);
}

#if defined(HARMONIUM_EMULATE)
// With little memory rows are streamed: the same bits. With less it is said how much is missing. Every failure of CUDA leaves
// the state as it was after the last epoch.
void test_memory_and_faults() {
    Context on_gpu(gpu);
    const auto go_on = [](const AutoencoderEpoch&) { return false; };
    for (const bool sparse : {false, true}) {
        Case c;
        c.sparse = sparse;
        c.batch_size = 50;
        const AutoencoderModel model = c.model();
        const AutoencoderOptions options = options_of(c);
        const Data<float> x(3000, sparse, 1), validation(2500, sparse, 2);
        Trained<float> resident(model, c.rule), streamed(model, c.rule), failing(model, c.rule);
        autoencoder_train<float>(on_gpu, model, x.view(), validation.view(), options, 2, resident.state, go_on);
        const std::size_t used = harmonium_emulate::memory_in_use();
        // The least memory that suffices is too little for rows to stay.
        std::size_t more = 64 << 10;
        for (; streamed.state.epochs == 0; more += 32 << 10) {
            harmonium_emulate::set_memory_limit(used + more);
            try {
                autoencoder_train<float>(on_gpu, model, x.view(), validation.view(), options, 2, streamed.state, go_on);
            } catch (const OutOfDeviceMemory& error) {
                CHECK(std::string(error.what()).find("bytes more were asked for") != std::string::npos);
                CHECK(streamed.theta == failing.theta && streamed.state.epochs == 0);
            }
            CHECK(harmonium_emulate::memory_in_use() == used);
        }
        CHECK(more > 128 << 10);
        CHECK(streamed.theta == resident.theta && streamed.kept == resident.kept);
        // A batch whose loss looks too large is fetched again.
        Data<float> far(3000, false, 1);
        for (std::int64_t j = 0; j < visible; ++j) far.x.at(1500, j) = 1e5f;
        far.sparse = Sparse<float>(far.x, true), far.as_sparse = sparse;
        Case gaussian = c;
        gaussian.groups = {{Likelihood::gaussian, 0, visible}};
        AutoencoderOptions slow = options;
        slow.update.rate = 1e-9;
        Trained<float> here(model, c.rule), there(model, c.rule);
        harmonium_emulate::set_memory_limit(used + more + (32 << 10));
        autoencoder_train<float>(on_gpu, gaussian.model(), far.view(), validation.view(), slow, 2, there.state, go_on);
        harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
        autoencoder_train<float>(on_gpu, gaussian.model(), far.view(), validation.view(), slow, 2, here.state, go_on);
        CHECK(there.theta == here.theta && there.kept == here.kept);
        harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
    }
    Case c;
    const AutoencoderModel model = c.model();
    const AutoencoderOptions options = options_of(c);
    const Data<float> x(60, false, 1), validation(9, false, 2);
    Trained<float> first(model, c.rule);
    const std::uint64_t before = harmonium_emulate::calls();
    autoencoder_train<float>(on_gpu, model, x.view(), validation.view(), options, 1, first.state, go_on);
    const std::uint64_t needed = harmonium_emulate::calls() - before;
    for (std::uint64_t n = 1; n <= needed; n += 1 + n / 20) {
        Context context(gpu);
        Trained<float> failing(model, c.rule);
        const Trained<float> begun(model, c.rule);
        harmonium_emulate::fail_call(n, 719);
        bool thrown = false;
        try {
            autoencoder_train<float>(context, model, x.view(), validation.view(), options, 1, failing.state, go_on);
        } catch (const std::runtime_error& error) {
            thrown = true;
            const std::string what = error.what();
            CHECK(what.find("injected into") != std::string::npos || what.find("cublas.cpp") != std::string::npos);
        }
        const bool whole = failing.state.epochs == 1;  // what fails after the epoch is the release of memory
        CHECK(thrown != whole);
        CHECK(failing.theta == (whole ? first.theta : begun.theta) && failing.kept == (whole ? first.kept : begun.kept));
        harmonium_emulate::reset();
    }
}
#endif

template <class T>
void test_all() {
    for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::momentum, UpdateRule::nesterov, UpdateRule::adagrad, UpdateRule::rmsprop, UpdateRule::adam}) {
        Case c;
        c.rule = rule;
        c.tied = rule != UpdateRule::momentum;
        c.sparse = rule == UpdateRule::nesterov;
        c.shuffle = rule != UpdateRule::adagrad;
        c.batch_size = rule == UpdateRule::rmsprop ? 500 : 8;
        c.schedule = rule == UpdateRule::sgd ? RateSchedule::linear : rule == UpdateRule::adam ? RateSchedule::exponential : RateSchedule::inverse_scaling;
        c.decay = 0.01;
        test_training<T>(c);
        if (sizeof(T) == 8) continue;
        test_uses<T>(c);
    }
    for (const Corruption corruption : {Corruption::masking, Corruption::gaussian, Corruption::salt_and_pepper}) {
        Case c;
        c.corruption = corruption;
        c.sparse = corruption == Corruption::masking;
        c.dropout = 0.2;
        test_training<T>(c);
    }
    Case contractive;
    contractive.encoder = {visible, 7}, contractive.decoder = {};
    contractive.contraction = 0.3, contractive.corruption = Corruption::masking;
    for (const bool tied : {true, false}) {
        contractive.tied = tied;
        test_training<T>(contractive);
        test_uses<T>(contractive);
    }
    Case chain;  // Jacobians of two layers and of three
    chain.contraction = 0.3;
    test_training<T>(chain);
    chain.encoder = {visible, 9, 8, 5}, chain.decoder = {4}, chain.tied = false;
    test_training<T>(chain);
    test_uses<T>(chain);
}

}  // namespace

void test_device_autoencoder() {
    test_all<float>();
    test_all<double>();
    test_ends();
    test_device_arrays();
#if defined(HARMONIUM_EMULATE)
    test_memory_and_faults();
#endif
}

}  // namespace harmonium_test
