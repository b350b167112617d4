// The likelihoods' losses and the contractive penalty against plain loops in double, their gradients against central
// differences; the same bits from one thread and three.
#include <functional>
#include <stdexcept>

#include "check.hpp"
#include "harmonium/contraction.hpp"
#include "harmonium/error.hpp"
#include "harmonium/likelihood_loss.hpp"
#include "inputs.hpp"

namespace harmonium_test {

namespace {

using Refused = std::invalid_argument;

const OutputGroup groups[] = {{Likelihood::bernoulli, 0, 19}, {Likelihood::gaussian, 19, 3},    {Likelihood::laplace, 22, 18},
                              {Likelihood::categorical, 40, 4}, {Likelihood::categorical, 44, 1}, {Likelihood::poisson, 45, 17}};
constexpr std::int64_t n_groups = 6, columns = 62;

// -log p(x | z) of a row; the mean of x given z and the sizes of the loss's terms on the side.
double loss_of_row(const std::vector<double>& x, const std::vector<double>& z, std::vector<double>& mean, double& size) {
    double sum = 0;
    size = 0;
    const auto add = [&](double term) { sum += term, size += std::abs(term); };
    for (const OutputGroup& group : groups) {
        double most = -1e300, total = 0;
        for (std::int64_t j = group.first; j < group.first + group.count; ++j) most = std::max(most, z[static_cast<std::size_t>(j)]);
        for (std::int64_t j = group.first; j < group.first + group.count; ++j) total += std::exp(z[static_cast<std::size_t>(j)] - most);
        for (std::int64_t j = group.first; j < group.first + group.count; ++j) {
            const auto at = static_cast<std::size_t>(j);
            switch (group.likelihood) {
                case Likelihood::bernoulli: add(log_one_plus_exp(z[at])), add(-x[at] * z[at]), mean[at] = logistic(z[at]); break;
                case Likelihood::gaussian: add(0.5 * (z[at] - x[at]) * (z[at] - x[at])), add(0.5 * std::log(2 * M_PI)), mean[at] = z[at]; break;
                case Likelihood::laplace: add(std::abs(z[at] - x[at])), add(std::log(2.0)), mean[at] = z[at]; break;
                case Likelihood::poisson: add(std::exp(z[at])), add(-x[at] * z[at]), add(std::lgamma(x[at] + 1)), mean[at] = std::exp(z[at]); break;
                case Likelihood::categorical:
                    add(x[at] * (std::log(total) + most - z[at]));
                    size += x[at] * (std::abs(most) + std::abs(z[at]));
                    mean[at] = std::exp(z[at] - most) / total;
                    break;
            }
        }
    }
    return sum;
}

template <class T>
Numbers<T> data_of(std::int64_t n) {
    Numbers<T> x(n, columns);
    for (const OutputGroup& group : groups) {
        const Numbers<double> u(n, group.count, 30 + static_cast<std::uint64_t>(group.first));
        for (std::int64_t i = 0; i < n; ++i) {
            for (std::int64_t j = 0; j < group.count; ++j) {
                const double value = u.at(i, j);
                double of = value > 0 ? value : 0;
                if (group.likelihood == Likelihood::gaussian || group.likelihood == Likelihood::laplace) of = 3 * value;
                if (group.likelihood == Likelihood::categorical) of = j == i % group.count;
                if (group.likelihood == Likelihood::poisson) of = value > 0 ? std::floor(60 * value * value) : 0;
                x.at(i, group.first + j) = static_cast<T>(of);
            }
        }
    }
    return x;
}

template <class T>
void losses() {
    for (const std::int64_t n : {std::int64_t(1), std::int64_t(37)}) {
        const Numbers<T> x = data_of<T>(n), z(n, columns, 31, 5);
        const Sparse<T> sparse(x, true);
        for (const bool as_sparse : {false, true}) {
            const States<T> states = as_sparse ? States<T>(sparse.view()) : States<T>(x.view());
            Numbers<T> derivatives = z, again = z, means = z;
            std::vector<double> loss(static_cast<std::size_t>(n)), same(loss), plain(loss);
            Context one(1), three(3);
            likelihood_loss<T>(one, groups, n_groups, states, true, T(0.5), derivatives.view(), loss.data());
            likelihood_loss<T>(three, groups, n_groups, states, true, T(0.5), again.view(), same.data());
            CHECK(derivatives.data == again.data && loss == same);
            again = z;
            likelihood_loss<T>(three, groups, n_groups, states, false, T(0.5), again.view(), plain.data());
            CHECK(plain == loss);
            likelihood_mean<T>(three, groups, n_groups, means.view());
            for (std::int64_t i = 0; i < n; ++i) {
                std::vector<double> row(columns), natural(columns), mean(columns);
                for (std::int64_t j = 0; j < columns; ++j) {
                    row[static_cast<std::size_t>(j)] = static_cast<double>(x.at(i, j));
                    natural[static_cast<std::size_t>(j)] = static_cast<double>(z.at(i, j));
                }
                double size = 0;
                const double expected = loss_of_row(row, natural, mean, size);
                CHECK_NEAR(loss[static_cast<std::size_t>(i)], expected, 16 * eps<T> * size);
                for (std::int64_t j = 0; j < columns; ++j) {
                    const auto at = static_cast<std::size_t>(j);
                    const double bound = 24 * eps<T> * (std::abs(mean[at]) + std::abs(row[at]));
                    CHECK_NEAR(means.at(i, j), mean[at], bound);
                    const bool laplace = j >= groups[2].first && j < groups[3].first;
                    const double slope = laplace ? (natural[at] > row[at]) - (natural[at] < row[at]) : mean[at] - row[at];
                    CHECK_NEAR(derivatives.at(i, j), 0.5 * slope, bound);
                }
            }
        }
    }
}

// Outputs that are sure: nothing cancels, nothing overflows.
template <class T>
void sure_outputs() {
    Context context(1);
    const OutputGroup bernoulli{Likelihood::bernoulli, 0, 2}, choice{Likelihood::categorical, 0, 2}, poisson{Likelihood::poisson, 0, 2};
    const auto loss_of = [&](const OutputGroup& group, T x, T z) {
        Numbers<T> data(1, 2), natural(1, 2);
        data.at(0, 0) = x, data.at(0, 1) = T(1) - x, natural.at(0, 0) = z, natural.at(0, 1) = -z;
        double loss = 0;
        likelihood_loss<T>(context, &group, 1, States<T>(data.view()), true, T(1), natural.view(), &loss);
        CHECK(std::isfinite(natural.at(0, 0)) && std::isfinite(natural.at(0, 1)));
        return loss;
    };
    CHECK_NEAR(loss_of(bernoulli, T(1), T(40)), 2 * std::exp(-40.0), 16 * eps<T> * std::exp(-40.0));
    CHECK_NEAR(loss_of(bernoulli, T(0), T(1e6)), 2e6, 16 * eps<T> * 2e6);
    CHECK_NEAR(loss_of(choice, T(0), T(1e6)), 2e6, 16 * eps<T> * 2e6);
    CHECK(loss_of(choice, T(1), T(1e6)) <= 1e-30);
    CHECK(std::isfinite(loss_of(poisson, T(1), T(1e6))));
}

// norm(dh / dx)^2 of a row, J formed as the product of layers; layers[l].output holds f(z).
template <class T>
double penalty_of(const std::vector<Numbers<T>>& weights, const std::vector<std::vector<double>>& slopes) {
    std::vector<double> j(weights[0].data.begin(), weights[0].data.end());  // D x H, rows by inputs
    const std::int64_t inputs = weights[0].rows;
    for (std::size_t l = 0; l < weights.size(); ++l) {
        const std::int64_t width = weights[l].cols;
        for (std::int64_t i = 0; i < inputs * width; ++i) j[static_cast<std::size_t>(i)] *= slopes[l][static_cast<std::size_t>(i % width)];
        if (l + 1 == weights.size()) break;
        const Numbers<T>& next = weights[l + 1];
        std::vector<double> product(static_cast<std::size_t>(inputs * next.cols));
        for (std::int64_t i = 0; i < inputs; ++i) {
            for (std::int64_t k = 0; k < width; ++k) {
                for (std::int64_t c = 0; c < next.cols; ++c) {
                    product[static_cast<std::size_t>(i * next.cols + c)] +=
                        j[static_cast<std::size_t>(i * width + k)] * static_cast<double>(next.at(k, c));
                }
            }
        }
        j = product;
    }
    double sum = 0;
    for (const double value : j) sum += value * value;
    return sum;
}

// Of sigmoid layers, or tanh ones: a(z) and its slope.
double unit(bool is_tanh, double z) { return is_tanh ? std::tanh(z) : logistic(z); }
double unit_slope(bool is_tanh, double z) { return is_tanh ? 1 - std::tanh(z) * std::tanh(z) : logistic(z) * (1 - logistic(z)); }

template <class T>
struct Encoder {
    std::vector<Numbers<T>> weights, outputs, gradients, deltas;
    std::vector<Numbers<double>> z;
    bool is_tanh;

    Encoder(const std::vector<std::int64_t>& sizes, std::int64_t rows, bool is_tanh_) : is_tanh(is_tanh_) {
        for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
            weights.emplace_back(sizes[l], sizes[l + 1], 40 + l);
            z.emplace_back(rows, sizes[l + 1], 50 + l, 2);
            outputs.emplace_back(rows, sizes[l + 1]);
            gradients.emplace_back(sizes[l], sizes[l + 1]);
            deltas.emplace_back(rows, sizes[l + 1]);
        }
    }
    std::vector<double> run(int threads, double scale, bool with_gradient) {
        std::vector<ContractionLayer<T>> layers(weights.size());
        for (std::size_t l = 0; l < layers.size(); ++l) {
            for (std::size_t i = 0; i < z[l].data.size(); ++i) outputs[l].data[i] = static_cast<T>(unit(is_tanh, z[l].data[i]));
            layers[l].weights = weights[l].view(), layers[l].output = outputs[l].view();
            layers[l].activation = is_tanh ? Activation::tanh : Activation::sigmoid;
            std::fill(gradients[l].data.begin(), gradients[l].data.end(), T(0));
            if (with_gradient) layers[l].gradient = gradients[l].view(), layers[l].delta = deltas[l].view();
        }
        std::vector<double> penalty(static_cast<std::size_t>(z[0].rows));
        std::vector<T> scratch(static_cast<std::size_t>(contraction_scratch(layers)));
        Context context(threads);
        contraction<T>(context, layers, static_cast<T>(scale), penalty.data(), scratch.data());
        return penalty;
    }
    double expected(std::int64_t i) const {
        std::vector<std::vector<double>> slopes;
        for (const auto& of : z) {
            slopes.emplace_back();
            for (std::int64_t j = 0; j < of.cols; ++j) slopes.back().push_back(unit_slope(is_tanh, of.at(i, j)));
        }
        return penalty_of(weights, slopes);
    }
    double expected_sum() const {
        double sum = 0;
        for (std::int64_t i = 0; i < z[0].rows; ++i) sum += expected(i);
        return sum;
    }
};

template <class T>
void penalties() {
    // One row; more than stand side by side; layers that narrow, widen, and are one unit wide.
    const std::vector<std::int64_t> encoders[] = {{1, 1}, {9, 5}, {9, 5, 4}, {6, 11, 3}, {7, 6, 1, 5}};
    for (const auto& sizes : encoders) {
        for (const std::int64_t rows : {std::int64_t(1), std::int64_t(70)}) {
            Encoder<T> encoder(sizes, rows, true);
            const std::vector<double> penalty = encoder.run(1, 0.5, true);
            const std::vector<Numbers<T>> gradients = encoder.gradients, deltas = encoder.deltas;
            CHECK(encoder.run(3, 0.5, true) == penalty);
            for (std::size_t l = 0; l < gradients.size(); ++l) {
                CHECK(encoder.gradients[l].data == gradients[l].data && encoder.deltas[l].data == deltas[l].data);
            }
            double size = 1;
            for (std::size_t l = 0; l + 1 < sizes.size(); ++l) size *= static_cast<double>(sizes[l] * sizes[l + 1]);  // weights below 1
            const std::vector<double> plain = encoder.run(3, 0.5, false);
            for (std::int64_t i = 0; i < rows; ++i) {
                const auto at = static_cast<std::size_t>(i);
                CHECK_NEAR(penalty[at], encoder.expected(i), 64 * eps<T> * size);
                CHECK_NEAR(plain[at], penalty[at], 64 * eps<T> * size);
            }
        }
    }
}

void penalty_gradients() {
    const std::vector<std::int64_t> encoders[] = {{5, 4}, {5, 4, 3}, {3, 6, 2}, {4, 3, 2, 4}};
    const double h = 1e-5;
    for (const auto& sizes : encoders) {
        for (const bool is_tanh : {false, true}) {
            Encoder<double> encoder(sizes, 3, is_tanh);
            encoder.run(1, 0.5, true);
            const auto differ = [&](double& place) {
                const double value = place;
                place = value + h;
                const double above = encoder.expected_sum();
                place = value - h;
                const double below = encoder.expected_sum();
                place = value;
                return 0.5 * (above - below) / (2 * h);
            };
            for (std::size_t l = 0; l < encoder.weights.size(); ++l) {
                for (std::size_t i = 0; i < encoder.weights[l].data.size(); ++i) {
                    CHECK_NEAR(encoder.gradients[l].data[i], differ(encoder.weights[l].data[i]), 1e-7);
                }
                for (std::size_t i = 0; i < encoder.z[l].data.size(); ++i) {
                    CHECK_NEAR(encoder.deltas[l].data[i], differ(encoder.z[l].data[i]), 1e-7);
                }
            }
        }
    }
}

void refusals() {
    Context context(1);
    Numbers<double> x(3, 4), z(3, 4), w(4, 5);
    double loss[3];
    const auto of = [&](std::vector<OutputGroup> given) {
        likelihood_loss<double>(context, given.data(), static_cast<std::int64_t>(given.size()), States<double>(x.view()), true, 1.0, z.view(), loss);
    };
    CHECK_THROWS(Refused, "groups of 3 columns, z has 4", of({{Likelihood::bernoulli, 0, 3}}));
    CHECK_THROWS(Refused, "a group begins at column 2 with 2 columns, the one before ends at 1",
                 of({{Likelihood::bernoulli, 0, 1}, {Likelihood::poisson, 2, 2}}));
    CHECK_THROWS(Refused, "a group begins at column 0 with 0 columns", of({{Likelihood::bernoulli, 0, 0}, {Likelihood::poisson, 0, 4}}));
    const OutputGroup all{Likelihood::bernoulli, 0, 5};
    CHECK_THROWS(Refused, "X is 3 x 4, z 4 x 5", likelihood_loss<double>(context, &all, 1, States<double>(x.view()), true, 1.0, w.view(), loss));
    CHECK_THROWS(Refused, "contraction: no layers", contraction<double>(context, {}, 1.0, loss, loss));
    ContractionLayer<double> layer;
    layer.weights = w.view(), layer.output = z.view();
    CHECK_THROWS(Refused, "layer 0 has weights 4 x 5 and outputs 3 x 4", contraction<double>(context, {layer}, 1.0, loss, loss));
}

}  // namespace

void test_losses() {
    losses<float>();
    losses<double>();
    sure_outputs<float>();
    sure_outputs<double>();
    penalties<float>();
    penalties<double>();
    penalty_gradients();
    refusals();
}

}  // namespace harmonium_test
