// The autoencoder: an encoder x -> h and a decoder h -> z of fully connected layers, trained to maximise log p(x | z).
// Rumelhart, Hinton, Williams 1986; with corrupted input a denoising one (Vincent et al. 2010), with a penalty on dh / dx a
// contractive one (Rifai et al. 2011), of many layers a deep one (Hinton, Salakhutdinov 2006).
#pragma once

#include <functional>
#include <vector>

#include "harmonium/corrupt.hpp"
#include "harmonium/dense.hpp"
#include "harmonium/update.hpp"

namespace harmonium {

// One layer; its parameters stand in one vector theta with those of all layers.
struct AutoencoderLayer {
    std::int64_t inputs = 0;
    std::int64_t outputs = 0;
    Activation activation = Activation::identity;
    std::int64_t weights = 0;  // where W begins in theta: inputs x outputs, outputs x inputs if transposed
    std::int64_t bias = 0;
    bool transposed = false;   // tied: W is the encoder's
};

struct AutoencoderModel {
    std::vector<AutoencoderLayer> layers;  // the encoder's, then the decoder's
    std::size_t n_encoder = 0;
    bool tied = false;
    std::vector<OutputGroup> outputs;
    std::int64_t n_parameters = 0;

    std::int64_t visible() const { return layers.front().inputs; }
    std::int64_t code() const { return layers[n_encoder].inputs; }
};

// encoder: D, H_1, ..., H_L; decoder: the sizes from there, without H_L and D. theta holds W_1, c_1, W_2, c_2, ... of the
// encoder, then of the decoder, without its weights where they are tied, for which it has to mirror the encoder. The last
// encoder layer has its own activation, the last decoder layer none. Throws std::invalid_argument.
AutoencoderModel autoencoder_model(const std::vector<std::int64_t>& encoder, const std::vector<std::int64_t>& decoder,
                                   Activation activation, Activation code_activation, bool tied, std::vector<OutputGroup> outputs);

// Of a step: constant, rate / t^power, or to a hundredth within so many epochs, by equal differences or equal ratios.
enum class RateSchedule { constant, inverse_scaling, linear, exponential };

struct AutoencoderOptions {
    Corruption corruption = Corruption::none;
    double corruption_level = 0.3;
    const double* low = nullptr;   // D values, the columns' limits, for salt and pepper
    const double* high = nullptr;
    double dropout = 0;            // share of hidden units left out of each step
    double contraction = 0;        // times the mean over rows of norm(dh / dx)^2, at the input as it is corrupted
    double weight_decay = 0;       // half of it times the squared weights is added to the loss
    Update update;                 // its rate is the first; steps are counted here
    RateSchedule schedule = RateSchedule::constant;
    double power = 0.5;
    std::int64_t schedule_epochs = 1;
    std::int64_t batch_size = 100;
    bool shuffle = true;
    std::uint64_t seed = 0;
};

// Everything that training changes, on the caller's memory.
template <class T>
struct AutoencoderState {
    T* theta = nullptr;        // n_parameters
    T* kept = nullptr;         // kept_by(rule) times as many, see update.hpp; zeros to begin with
    std::uint64_t steps = 0;
    std::uint64_t epochs = 0;
    std::uint64_t kept_since = 0;  // the steps before kept was zero: adam's t counts from there
    double rate_factor = 1;    // times the rate; on_epoch may change it
};

struct AutoencoderEpoch {
    std::uint64_t epoch = 0;     // from 1
    double loss = 0;             // mean over the epoch of -log p(x | z) and the contractive penalty, plus the decay's term at its end
    double validation_loss = 0;  // mean -log p(x | z) of validation rows that are not corrupted; NaN without
    double rate = 0;             // of its last step
};

// Passes over x (n x D, dense or sparse rows), batches in an order drawn from (seed, epoch). Row i of a batch draws as row i
// of (seed, step). The state changes only at the end of an epoch; then on_epoch is called, and true stops.
// validation: no rows, or rows whose loss each epoch reports. Throws std::invalid_argument, DivergenceError, Interrupted.
template <class T>
void autoencoder_train(Context& context, const AutoencoderModel& model, const States<T>& x, const States<T>& validation,
                       const AutoencoderOptions& options, std::int64_t n_epochs, AutoencoderState<T>& state,
                       const std::function<bool(const AutoencoderEpoch&)>& on_epoch);

// The loss over all of x, as training's with all rows in one batch: row i draws as row i of (seed, step 0), so that it is
// one function of theta. gradient: n_parameters values, or null.
template <class T>
double autoencoder_loss(Context& context, const AutoencoderModel& model, const States<T>& x, const AutoencoderOptions& options,
                        const T* theta, T* gradient);

// Of every row of x: the code h (n x H_L); the mean of x given h (n x D), for given codes; -log p(x | h) (n values); the
// squared Frobenius norm of dh / dx (n values).
template <class T>
void autoencoder_encode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, Matrix<T> code);
template <class T>
void autoencoder_decode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& code, Matrix<T> mean);
template <class T>
void autoencoder_score(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* loss);
template <class T>
void autoencoder_jacobian(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* norm);

}  // namespace harmonium
