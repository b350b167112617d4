// Autoencoders from C++: an epoch against steps down the gradient of the loss, that gradient against central differences,
// whole training on one thread and three and in parts, and what is left when it fails or is interrupted.
#include <limits>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/autoencoder.hpp"
#include "harmonium/error.hpp"
#include "inputs.hpp"

namespace harmonium_test {

namespace {

using Refused = std::invalid_argument;

constexpr std::int64_t visible = 13;
const std::vector<double> zeros(visible, 0.0), ones(visible, 1.0);
const std::vector<OutputGroup> binary{{Likelihood::bernoulli, 0, visible}};
const std::vector<OutputGroup> mixed{{Likelihood::bernoulli, 0, 5}, {Likelihood::gaussian, 5, 3}, {Likelihood::categorical, 8, 3}, {Likelihood::poisson, 11, 2}};

AutoencoderOptions defaults() {
    AutoencoderOptions options;
    options.low = zeros.data(), options.high = ones.data();
    options.batch_size = 8, options.seed = 5;
    return options;
}

// In [0, 1], half of it 0; columns 8 to 10 a choice.
template <class T>
Numbers<T> data_of(std::int64_t n, std::uint64_t seed) {
    Numbers<T> x(n, visible, seed);
    for (T& value : x.data) value = value > T(0) ? value : T(0);
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t j = 8; j < 11; ++j) x.at(i, j) = T(j - 8 == i % 3);
    }
    return x;
}

template <class T>
struct Trained {
    std::vector<T> theta, kept;
    AutoencoderState<T> state;

    Trained(const AutoencoderModel& model, UpdateRule rule)
        : theta(Numbers<T>(1, model.n_parameters, 60, 0.5).data), kept(static_cast<std::size_t>(kept_by(rule) * model.n_parameters)) {
        state.theta = theta.data(), state.kept = kept.data();
    }
    bool same(const Trained& other) const {
        return theta == other.theta && kept == other.kept && state.steps == other.state.steps && state.epochs == other.state.epochs;
    }
};

const auto go_on = [](const AutoencoderEpoch&) { return false; };

template <class T>
void gradients() {
    const Numbers<T> x = data_of<T>(6, 61);
    for (const bool tied : {true, false}) {
        for (const bool deep : {true, false}) {
            for (const double contraction : {0.0, 0.3}) {
                const AutoencoderModel model = deep ? autoencoder_model({visible, 7, 4}, {7}, Activation::tanh, Activation::softplus, tied, mixed)
                                                    : autoencoder_model({visible, 6}, {}, Activation::relu, Activation::sigmoid, tied, mixed);
                AutoencoderOptions options = defaults();
                options.corruption = Corruption::masking, options.contraction = contraction, options.weight_decay = 0.1;
                if (contraction == 0) options.dropout = 0.25;
                Context context(3);
                std::vector<double> theta = Numbers<double>(1, model.n_parameters, 62, 0.5).data, gradient(theta.size());
                const Numbers<double> rows = data_of<double>(6, 61);
                const auto loss = [&](double* into) { return autoencoder_loss<double>(context, model, States<double>(rows.view()), options, theta.data(), into); };
                loss(gradient.data());
                for (std::size_t i = 0; i < theta.size(); ++i) {
                    const double value = theta[i], h = 1e-5;
                    theta[i] = value + h;
                    const double above = loss(nullptr);
                    theta[i] = value - h;
                    const double below = loss(nullptr);
                    theta[i] = value;
                    CHECK_NEAR(gradient[i], (above - below) / (2 * h), 1e-7);
                }
                // One step on all rows goes down that gradient.
                Trained<T> trained(model, UpdateRule::sgd);
                std::vector<T> before = trained.theta, by_loss(before.size());
                options.update.rule = UpdateRule::sgd, options.update.rate = 0.5, options.shuffle = false;
                const double first = autoencoder_loss<T>(context, model, States<T>(x.view()), options, before.data(), by_loss.data());
                AutoencoderEpoch done;
                autoencoder_train<T>(context, model, States<T>(x.view()), States<T>(Matrix<const T>(nullptr, 0, visible)), options, 1, trained.state,
                                     [&](const AutoencoderEpoch& epoch) { return done = epoch, false; });
                for (std::size_t i = 0; i < before.size(); ++i) {
                    const double step = 0.5 * static_cast<double>(by_loss[i]);
                    CHECK_NEAR(trained.theta[i], static_cast<double>(before[i]) - step, 256 * eps<T> * (1 + std::abs(step)));
                }
                CHECK(done.epoch == 1 && done.rate == 0.5 && std::isnan(done.validation_loss) && std::isfinite(first));
            }
        }
    }
}

template <class T>
void training() {
    const Numbers<T> x = data_of<T>(45, 63), validation = data_of<T>(9, 64);  // six batches of 8, the last of 5
    const Sparse<T> sparse(x, true);
    for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::momentum, UpdateRule::nesterov, UpdateRule::adagrad, UpdateRule::rmsprop, UpdateRule::adam}) {
        const AutoencoderModel model = autoencoder_model({visible, 6, 3}, {6}, Activation::sigmoid, Activation::tanh, rule != UpdateRule::adam, binary);
        AutoencoderOptions options = defaults();
        options.update.rule = rule, options.update.rate = 0.02;
        options.corruption = Corruption::salt_and_pepper, options.weight_decay = 1e-3;
        Context one(1), three(3);
        Trained<T> whole(model, rule), parts(model, rule), rows(model, rule);
        std::vector<AutoencoderEpoch> epochs;
        autoencoder_train<T>(one, model, States<T>(x.view()), States<T>(validation.view()), options, 12, whole.state, [&](const AutoencoderEpoch& epoch) {
            epochs.push_back(epoch);
            return epochs.size() == 12;
        });
        CHECK(epochs.size() == 12 && epochs.back().loss < epochs.front().loss && std::isfinite(epochs.back().validation_loss));
        for (int pass = 0; pass < 12; ++pass) autoencoder_train<T>(three, model, States<T>(x.view()), States<T>(validation.view()), options, 1, parts.state, go_on);
        CHECK(whole.same(parts));
        // Sparse rows are written out where they are corrupted, and read as they stand where they are not.
        autoencoder_train<T>(three, model, States<T>(sparse.view()), States<T>(validation.view()), options, 12, rows.state, go_on);
        CHECK(whole.same(rows));
        std::vector<double> loss(9);
        autoencoder_score<T>(three, model, whole.theta.data(), States<T>(validation.view()), loss.data());
        double sum = 0;
        for (const double value : loss) sum += value;
        CHECK_NEAR(sum / 9, epochs.back().validation_loss, 1e-12 * sum);
    }
}

template <class T>
void use() {
    const std::int64_t n = 503;  // past one piece of rows
    const Numbers<T> x = data_of<T>(n, 65);
    const Sparse<T> sparse(x, true);
    const AutoencoderModel model = autoencoder_model({visible, 6, 3}, {6}, Activation::softplus, Activation::tanh, true, mixed);
    const std::vector<T> theta = Numbers<T>(1, model.n_parameters, 66, 0.5).data;
    Numbers<T> code(n, 3), of_sparse(n, 3), mean(n, visible);
    std::vector<double> norm(static_cast<std::size_t>(n));
    Context context(3);
    autoencoder_encode<T>(context, model, theta.data(), States<T>(x.view()), code.view());
    autoencoder_encode<T>(context, model, theta.data(), States<T>(sparse.view()), of_sparse.view());
    autoencoder_decode<T>(context, model, theta.data(), States<T>(code.view()), mean.view());
    autoencoder_jacobian<T>(context, model, theta.data(), States<T>(x.view()), norm.data());
    const T *w1 = theta.data(), *c1 = w1 + visible * 6, *w2 = c1 + 6, *c2 = w2 + 18;
    for (std::int64_t i = 0; i < n; ++i) {
        double a[6], slope[6], z[3], squares = 0;
        for (int k = 0; k < 6; ++k) {
            a[k] = static_cast<double>(c1[k]);
            for (std::int64_t j = 0; j < visible; ++j) a[k] += static_cast<double>(x.at(i, j)) * static_cast<double>(w1[j * 6 + k]);
            slope[k] = logistic(a[k]), a[k] = log_one_plus_exp(a[k]);
        }
        for (int h = 0; h < 3; ++h) {
            z[h] = static_cast<double>(c2[h]);
            for (int k = 0; k < 6; ++k) z[h] += a[k] * static_cast<double>(w2[k * 3 + h]);
            CHECK_NEAR(code.at(i, h), std::tanh(z[h]), 128 * eps<T>);
            CHECK_NEAR(of_sparse.at(i, h), std::tanh(z[h]), 128 * eps<T>);
            for (std::int64_t j = 0; j < visible; ++j) {
                double derivative = 0;
                for (int k = 0; k < 6; ++k) derivative += static_cast<double>(w1[j * 6 + k]) * slope[k] * static_cast<double>(w2[k * 3 + h]);
                derivative *= 1 - std::tanh(z[h]) * std::tanh(z[h]);
                squares += derivative * derivative;
            }
        }
        CHECK_NEAR(norm[static_cast<std::size_t>(i)], squares, 512 * eps<T> * (1 + squares));
        double total = 0;
        for (std::int64_t j = 8; j < 11; ++j) total += static_cast<double>(mean.at(i, j));
        CHECK_NEAR(total, 1, 8 * eps<T>);
        for (std::int64_t j = 0; j < 5; ++j) CHECK(mean.at(i, j) > 0 && mean.at(i, j) < 1);
    }
}

void failures_leave_the_last_epoch() {
    const AutoencoderModel model = autoencoder_model({visible, 6}, {}, Activation::relu, Activation::relu, true, {{Likelihood::poisson, 0, visible}});
    Numbers<float> x = data_of<float>(40, 67);
    const States<float> none(Matrix<const float>(nullptr, 0, visible));
    AutoencoderOptions options = defaults();
    options.update.rule = UpdateRule::momentum;
    Trained<float> trained(model, UpdateRule::momentum);
    Context context(3);
    autoencoder_train<float>(context, model, States<float>(x.view()), none, options, 2, trained.state, go_on);
    const std::vector<float> theta = trained.theta, kept = trained.kept;
    options.update.rate = 1e4;
    CHECK_THROWS(DivergenceError, "diverged in epoch 3", autoencoder_train<float>(context, model, States<float>(x.view()), none, options, 5, trained.state, go_on));
    CHECK(trained.theta == theta && trained.kept == kept && trained.state.epochs == 2 && trained.state.steps == 10);
    // A row far from all others is no divergence.
    options.update.rate = 1e-12, options.update.rule = UpdateRule::sgd, options.batch_size = 1;
    for (std::int64_t j = 0; j < visible; ++j) x.at(20, j) = 1e6f;
    const AutoencoderModel real = autoencoder_model({visible, 6}, {}, Activation::sigmoid, Activation::sigmoid, true, {{Likelihood::gaussian, 0, visible}});
    Trained<float> far(real, UpdateRule::sgd);
    autoencoder_train<float>(context, real, States<float>(x.view()), none, options, 1, far.state, go_on);
    CHECK(far.state.epochs == 1);
    context.set_interrupt([](double) { return true; });
    options = defaults(), options.update.rule = UpdateRule::momentum;
    bool interrupted = false;
    for (int pass = 0; pass < 100000 && !interrupted; ++pass) {
        const std::vector<float> before = trained.theta;
        try {
            autoencoder_train<float>(context, model, States<float>(data_of<float>(40, 67).view()), none, options, 1, trained.state, go_on);
        } catch (const Interrupted&) {
            interrupted = true;
            CHECK(trained.theta == before);
        }
    }
    CHECK(interrupted);
}

void refusals() {
    CHECK_THROWS(Refused, "tied weights need a decoder that mirrors the encoder", autoencoder_model({4, 3, 2}, {2}, Activation::relu, Activation::relu, true, {{Likelihood::bernoulli, 0, 4}}));
    CHECK_THROWS(Refused, "1 sizes; columns and at least one hidden layer", autoencoder_model({4}, {}, Activation::relu, Activation::relu, true, {{Likelihood::bernoulli, 0, 4}}));
    CHECK_THROWS(Refused, "layer 0 is 4 x 0 units", autoencoder_model({4, 0}, {}, Activation::relu, Activation::relu, true, {{Likelihood::bernoulli, 0, 4}}));
    CHECK_THROWS(Refused, "the likelihoods are of 3 columns, the data have 4", autoencoder_model({4, 2}, {}, Activation::relu, Activation::relu, true, {{Likelihood::bernoulli, 0, 3}}));
    const AutoencoderModel model = autoencoder_model({visible, 6}, {}, Activation::relu, Activation::relu, true, binary);
    Trained<double> trained(model, UpdateRule::adam);
    const Numbers<double> x = data_of<double>(5, 68), narrow(5, 4, 1);
    Context context(1);
    const States<double> none(Matrix<const double>(nullptr, 0, visible));
    const auto train = [&](const AutoencoderOptions& options, const Numbers<double>& rows) {
        autoencoder_train<double>(context, model, States<double>(rows.view()), none, options, 1, trained.state, go_on);
    };
    CHECK_THROWS(Refused, "X has 4 columns, the model has 13", train(defaults(), narrow));
    const auto with = [&](auto change) {
        AutoencoderOptions options = defaults();
        change(options);
        return options;
    };
    CHECK_THROWS(Refused, "batch_size=0", train(with([](auto& o) { o.batch_size = 0; }), x));
    CHECK_THROWS(Refused, "dropout=1 is not in [0, 1)", train(with([](auto& o) { o.dropout = 1; }), x));
    CHECK_THROWS(Refused, "exclude each other", train(with([](auto& o) { o.dropout = 0.5, o.contraction = 1; }), x));
    CHECK_THROWS(Refused, "schedule_epochs=0", train(with([](auto& o) { o.schedule_epochs = 0; }), x));
    CHECK_THROWS(Refused, "corruption_level=2", train(with([](auto& o) { o.corruption = Corruption::masking, o.corruption_level = 2; }), x));
    CHECK_THROWS(Refused, "the columns' limits", train(with([](auto& o) { o.corruption = Corruption::salt_and_pepper, o.low = nullptr; }), x));
    CHECK_THROWS(Refused, "a rate of -1", train(with([](auto& o) { o.update.rate = -1; }), x));
    trained.state.kept_since = 3;
    CHECK_THROWS(Refused, "kept since step 3 of 0", train(defaults(), x));
}

}  // namespace

void test_autoencoder() {
    gradients<float>();
    gradients<double>();
    training<float>();
    training<double>();
    use<float>();
    use<double>();
    failures_leave_the_last_epoch();
    refusals();
}

}  // namespace harmonium_test
