// Restricted Boltzmann machines with units of any type (exponential family harmoniums: Welling, Rosen-Zvi, Hinton 2005):
//   E(v, h) = E_v(v) + E_h(h) - v^T W h, where a layer's term is, with biases b,
//   -b x for bernoulli, categorical and count units, (x - b)^2 / 2 for gaussian, x^2 / 2 - b x (x >= 0) for relu units;
//   of a bag of N words the hidden biases count N times (Salakhutdinov and Hinton 2009, eq. 3).
// Gaussian units have variance 1 here: the caller divides data by their standard deviation, and W and b are of such data.
#pragma once

#include "harmonium/rbm.hpp"
#include "harmonium/units.hpp"

namespace harmonium {

template <class T>
struct UnitRbm {
    Layer visible;
    Layer hidden;
    Matrix<T> weights;          // D x H
    T* visible_bias = nullptr;  // b, D
    T* hidden_bias = nullptr;   // c, H
};

// Data: states of the visible layer, and the number of words of each row where it is a bag.
template <class T>
struct UnitData {
    States<T> states;
    const T* exposure = nullptr;
};

// The other layer's mean given states of one.
template <class T>
void rbm_probability(Context& context, const UnitRbm<T>& model, const UnitData<T>& given, bool of_visible, Matrix<T> out);

// Alternating draws v -> h -> v, n_steps times, as rbm_gibbs of rbm.hpp.
//   mask, values: n x D; where mask is set v is kept at values. No data: nothing is kept. v: n x D receives the last states.
//   exposure of start: the number of words that each row's bag has, start may hold any number then.
template <class T>
void rbm_gibbs(Context& context, const UnitRbm<T>& model, const UnitData<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, Matrix<const T> values, Matrix<T> v);

// F(v) = -log integral exp(-E(v, h)) dh, in nats. out: n values.
template <class T>
void rbm_free_energy(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out);

// sum over units, choices or words of log p(this one | all others), exact (Besag 1975); of gaussian units by the trapezoidal
// rule. out: n values.
template <class T>
void rbm_pseudo_log_likelihood(Context& context, const UnitRbm<T>& model, const UnitData<T>& v, double* out);

constexpr std::int64_t max_layer_states = std::int64_t(1) << 25;

// How many states a layer of bernoulli and categorical units has; 0: not enumerable, or more than max_layer_states.
std::int64_t count_states(const Layer& layer);

// For states first, first + 1, ... of the hidden (or visible) layer, count values each: the layer's own part of -E, and the
// log of the other layer's integral given them, a bag of words' for one word. log Z is the log of the sum of the exponentials
// of their sums (of a bag of N words: of N times the sum).
template <class T>
void rbm_enumerate(Context& context, const UnitRbm<T>& model, bool hidden, std::int64_t first, std::int64_t count,
                   double* own, double* others);

// Annealed importance sampling as rbm_anneal of rbm_likelihood.hpp; exposure: n_runs numbers of words, null: 1.
//   start: n_runs states at betas.front, no rows: drawn from the base model. v: receives the last states; no data: not wanted.
template <class T>
void rbm_anneal(Context& context, const UnitRbm<T>& model, const double* base, const double* betas, std::int64_t n_betas,
                const UnitData<T>& start, std::uint64_t seed, std::int64_t n_runs, double* log_weights, Matrix<T> v = {});

// Gibbs sampling with parallel tempering, hidden units bernoulli, between the model and independent units with biases `base`.
//   v: n_chains x D, receives the model's last states; swaps: n_temperatures - 1 shares of swaps that were accepted.
template <class T>
void rbm_temper(Context& context, const UnitRbm<T>& model, const T* base, std::int64_t n_temperatures, std::int64_t n_steps,
                std::uint64_t seed, Matrix<T> v, double* swaps);

struct UnitRbmOptions : RbmOptions {
    bool exact = false;               // the model's means by enumeration of a layer instead of Gibbs sampling
    double l1 = 0;                    // times sign(W), subtracted from its gradient
    double sparsity_cost = 0;         // times (target - mean activity), added to each unit's activity in the gradient
    double sparsity_target = 0;       // (Lee, Ekanadham, Ng 2008, by the cross-entropy of Hinton 2010, sec. 11)
    double fast_rate = 0;             // of fast weights, which the chains see added to W and which decay by 19/20 a step
                                      // (Tieleman and Hinton 2009); 0: none
    std::int64_t n_temperatures = 1;  // of parallel tempering (Desjardins et al. 2010) from the model, in equal steps, to
                                      // independent units with the data's means; neighbours are swapped after every Gibbs
                                      // step; hidden units bernoulli
    bool learn_variance = false;      // of gaussian visible units, from those over all rows; of constant ones it stays 1
};

template <class T>
struct UnitRbmState : RbmState<T> {
    Layer visible;
    Layer hidden;
    Matrix<T> unit_chains;         // (n_temperatures n_chains) x H, the coldest first: in the place of `chains`; exact: drawn
                                   // from the model at the end of every epoch
    T* visible_scale = nullptr;    // D: standard deviations that training data are divided by, moved with learn_variance
    double* swaps = nullptr;       // n_temperatures - 1: how many of the epoch's swaps between neighbours were accepted, 0 to 1
};

template <class T>
struct UnitTrainingData {
    States<T> states;
    const T* weight = nullptr;     // of each row, at least 0, on any scale; null: 1
    ConstBitMatrix observed;       // of binary layers: units that are known; the others start as in states. No data: all
};

// As rbm_train of rbm.hpp. Biases start at the data's: logit or log of smoothed means, for gaussian units the means. RbmEpoch's
// pseudo_log_likelihood is minus the mean squared error of mean(v | mean(h | v)) on at most 128 rows, of a bag per word.
// Steps for bags of words are divided by their mean number of words; chains' bags have the sizes of the batch's, by weight. A missing unit is drawn given the others of its row,
// n_gibbs_steps times each time that the row is met (from its state before: a chain for every row and call).
// With a GPU's context X and the state are the host's; an epoch runs on the GPU.
template <class T>
void rbm_train(Context& context, const UnitTrainingData<T>& x, const UnitRbmOptions& options, std::int64_t n_epochs,
               UnitRbmState<T>& state, const std::function<bool(const RbmEpoch&)>& on_epoch);

}  // namespace harmonium
