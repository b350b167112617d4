#pragma once

#include "harmonium/autoencoder.hpp"

namespace harmonium::cuda {

// The functions of autoencoder.hpp wholly on the context's device. Rows, parameters and results are of the host's memory or of
// the device's; rows that do not fit there are streamed.
template <class T>
void autoencoder_train(Context& context, const AutoencoderModel& model, const States<T>& x, const States<T>& validation,
                       const AutoencoderOptions& options, std::int64_t n_epochs, AutoencoderState<T>& state,
                       const std::function<bool(const AutoencoderEpoch&)>& on_epoch);
template <class T>
double autoencoder_loss(Context& context, const AutoencoderModel& model, const States<T>& x, const AutoencoderOptions& options,
                        const T* theta, T* gradient);
template <class T>
void autoencoder_encode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, Matrix<T> code);
template <class T>
void autoencoder_decode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& code, Matrix<T> mean);
template <class T>
void autoencoder_score(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* loss);
template <class T>
void autoencoder_jacobian(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* norm);

}  // namespace harmonium::cuda
