// The Bernoulli restricted Boltzmann machine (Smolensky's harmonium, 1986):
//   E(v, h) = -b.v - c.h - v^T W h,  v in {0,1}^D, h in {0,1}^H,
//   p(h_j = 1 | v) = sigmoid(c_j + (v^T W)_j),  p(v_i = 1 | h) = sigmoid(b_i + (W h)_i).
#pragma once

#include <cstdint>
#include <functional>

#include "harmonium/context.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

template <class T>
struct Rbm {
    Matrix<T> weights;         // D x H
    T* visible_bias = nullptr;  // b, D
    T* hidden_bias = nullptr;   // c, H

    std::int64_t visible() const { return weights.rows; }
    std::int64_t hidden() const { return weights.cols; }
};

// cd: contrastive divergence, the model's states start from the data (Hinton 2002).
// pcd: persistent chains that live on from step to step (Tieleman 2008).
enum class Method { cd, pcd };

// How the rate falls: not at all, as 1 / (1 + travelled / annealing), or to a hundredth within so many passes, by equal
// differences or equal ratios.
enum class Schedule { constant, hyperbolic, linear, exponential };

struct RbmOptions {
    Method method = Method::pcd;
    std::int64_t n_gibbs_steps = 1;
    std::int64_t batch_size = 100;
    double learning_rate = 0.05;
    Schedule schedule = Schedule::constant;
    double annealing = 1000;           // of the hyperbolic schedule
    std::int64_t schedule_passes = 1;  // of the other two; the rate stays at the hundredth beyond
    double averaging = 0;       // the model is the mean of all steps' parameters, step t weighing t^averaging; 0: the last's
    double momentum = 0;
    double weight_decay = 0;
    bool centering = true;
    double offset_rate = 0.01;  // share of the newest batch in the offsets' running means
    bool shuffle = true;
    bool draw_data = false;     // numbers in the data are probabilities that bits are drawn from, anew in every pass
    std::uint64_t seed = 0;
    // A single weight of this size alone saturates a unit for good: training has left the range where it means anything.
    double divergence_limit = 1000;
};

// Everything that training changes, on the caller's memory: what is here resumes training bit for bit.
template <class T>
struct RbmState {
    Rbm<T> model;
    Rbm<T> last;                  // with averaging, the parameters after the last step; no data without
    T* visible_offset = nullptr;  // mu, D: running mean of the data (kept also without centring)
    T* hidden_offset = nullptr;   // lambda, H: running mean of p(h | data)
    Matrix<T> weight_velocity;    // D x H, D, H; no data where momentum is 0
    T* visible_velocity = nullptr;
    T* hidden_velocity = nullptr;
    // D bits, or null: columns that training reads as 1 - x, chosen where it begins: those that are mostly 1, with centring.
    // All parameters are then of these columns. Learning from 1 - X is so the same as from X, and few ones are fast.
    std::uint64_t* mirrored = nullptr;
    BitMatrix chains;             // n_chains x H: the persistent chains' hidden states, any number; with cd, states drawn
                                  // from the model of the epoch's last batch of so many rows
    std::uint64_t steps = 0;      // gradient steps and passes over data done
    std::uint64_t epochs = 0;
    double travelled = 0;         // the learning rates of all steps so far, added up
    std::uint64_t averaged = 0;   // steps that the model is a mean of; 0: training starts from the model, not from last
    bool initialised = false;     // false: rbm_train begins by filling in everything above
};

struct RbmEpoch {
    std::uint64_t epoch = 0;               // from 1
    double pseudo_log_likelihood = 0;      // estimated from at most 128 rows and 64 units, always the same; nats a row
    double hidden_activity = 0;            // mean of p(h | data) over the epoch
    double weight_rms = 0;
};

// Trains for so many passes over x (n x D). Batches come in an order drawn from (seed, epoch), or as they stand without
// shuffle or where one batch holds all; the last one may be short, its gradient is the mean over its rows.
// Parameters start at: W uniform with standard deviation 0.01, c = 0, b = logit of the first batch's smoothed mean
// (Hinton, "A practical guide to training RBMs", 2010, sec. 8).
// The state changes only at the end of an epoch, all of it together; then on_epoch is called, and true stops training.
// With a GPU's context the state is the host's all the same: an epoch runs on the GPU as a whole and draws what the CPU draws
// given the same probabilities. Bits or dense rows in that GPU's memory stay there; the host's go there once if half of the
// free memory holds them, else batch by batch. Numbers between 0 and 1 take float32 products.
// Throws std::invalid_argument, OutOfDeviceMemory, DivergenceError, Interrupted (from context.poll): the state is then the last epoch's.
template <class T>
void rbm_train(Context& context, const States<T>& x, const RbmOptions& options, std::int64_t n_epochs, RbmState<T>& state,
               const std::function<bool(const RbmEpoch&)>& on_epoch);

// Alternating draws v -> h -> v, n_steps times; row i of v draws as row i of (seed, step).
//   start: n x D states of v, or n x H states of h with from_hidden (the first half step then draws v from them).
//   mask, values: n x D bits; where mask is set v is kept at values. No data: nothing is kept.
//   v: n x D receives the last states.
// With a GPU's context everything here is the host's all the same: chains stay on the GPU from the first state to the last and
// draw what the CPU draws given the same probabilities; as many at a time as half of the free memory holds.
template <class T>
void rbm_gibbs(Context& context, const Rbm<T>& model, const States<T>& start, bool from_hidden, std::int64_t n_steps,
               std::uint64_t seed, ConstBitMatrix mask, ConstBitMatrix values, BitMatrix v);

// p(h = 1 | v) for states of v (n x D), or p(v = 1 | h) for states of h (n x H). With a GPU's context rows are streamed through it.
template <class T>
void rbm_hidden_probability(Context& context, const Rbm<T>& model, const States<T>& v, Matrix<T> out);
template <class T>
void rbm_visible_probability(Context& context, const Rbm<T>& model, const States<T>& h, Matrix<T> out);

}  // namespace harmonium
