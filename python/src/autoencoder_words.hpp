// What Python calls by words, as the core's values.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "binding.hpp"
#include "harmonium/autoencoder.hpp"

namespace harmonium_python {

template <class Value>
Value named(const char* what, const std::string& name, std::initializer_list<std::pair<const char*, Value>> known) {
    for (const auto& [word, value] : known) {
        if (name == word) return value;
    }
    throw std::invalid_argument(message(what, "=\"", name, "\" is not known"));
}

inline Activation activation_of(const std::string& name) {
    return named<Activation>("activation", name, {{"identity", Activation::identity}, {"sigmoid", Activation::sigmoid}, {"tanh", Activation::tanh},
                                                  {"relu", Activation::relu}, {"softplus", Activation::softplus}});
}
inline Likelihood likelihood_of(const std::string& name) {
    return named<Likelihood>("likelihood", name, {{"bernoulli", Likelihood::bernoulli}, {"gaussian", Likelihood::gaussian}, {"laplace", Likelihood::laplace},
                                                  {"categorical", Likelihood::categorical}, {"poisson", Likelihood::poisson}});
}
inline Corruption corruption_of(const std::string& name) {
    return named<Corruption>("corruption", name, {{"none", Corruption::none}, {"masking", Corruption::masking}, {"gaussian", Corruption::gaussian},
                                                  {"salt_and_pepper", Corruption::salt_and_pepper}});
}
inline UpdateRule rule_of(const std::string& name) {
    return named<UpdateRule>("solver", name, {{"sgd", UpdateRule::sgd}, {"momentum", UpdateRule::momentum}, {"nesterov", UpdateRule::nesterov},
                                              {"adagrad", UpdateRule::adagrad}, {"rmsprop", UpdateRule::rmsprop}, {"adam", UpdateRule::adam}});
}

using Groups = std::vector<std::pair<std::string, std::int64_t>>;  // likelihood, columns

inline std::vector<OutputGroup> outputs_of(const Groups& groups) {
    std::vector<OutputGroup> outputs;
    std::int64_t first = 0;
    for (const auto& [likelihood, count] : groups) {
        outputs.push_back({likelihood_of(likelihood), first, count});
        first += count;
    }
    return outputs;
}

}  // namespace harmonium_python
