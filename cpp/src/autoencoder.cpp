#include "harmonium/autoencoder.hpp"

#include <algorithm>

#include "cuda/autoencoder.cuh"
#include "cuda_state.hpp"
#include "dense_network.hpp"
#include "harmonium/error.hpp"

namespace harmonium {

AutoencoderModel autoencoder_model(const std::vector<std::int64_t>& encoder, const std::vector<std::int64_t>& decoder,
                                   Activation activation, Activation code_activation, bool tied, std::vector<OutputGroup> outputs) {
    require(encoder.size() >= 2, "autoencoder_model: ", encoder.size(), " sizes; columns and at least one hidden layer are needed");
    require(!tied || std::equal(decoder.begin(), decoder.end(), encoder.rbegin() + 1, encoder.rend() - 1),
            "autoencoder_model: tied weights need a decoder that mirrors the encoder");
    AutoencoderModel model;
    model.n_encoder = encoder.size() - 1;
    model.tied = tied;
    model.outputs = std::move(outputs);
    std::vector<std::int64_t> sizes = encoder;
    sizes.insert(sizes.end(), decoder.begin(), decoder.end());
    sizes.push_back(encoder[0]);
    std::int64_t next = 0;
    for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
        require(sizes[l] >= 1 && sizes[l + 1] >= 1, "autoencoder_model: layer ", l, " is ", sizes[l], " x ", sizes[l + 1], " units");
        AutoencoderLayer layer{sizes[l], sizes[l + 1], activation, next, next, false};
        if (l + 1 == model.n_encoder) layer.activation = code_activation;
        if (l + 2 == sizes.size()) layer.activation = Activation::identity;
        layer.transposed = tied && l >= model.n_encoder;
        if (layer.transposed) layer.weights = model.layers[sizes.size() - 2 - l].weights;
        else layer.bias = next + layer.inputs * layer.outputs;
        next = layer.bias + layer.outputs;
        model.layers.push_back(layer);
    }
    model.n_parameters = next;
    std::int64_t covered = 0;
    for (const OutputGroup& group : model.outputs) {
        require(group.count > 0 && group.first == covered, "autoencoder_model: a group begins at column ", group.first, " with ",
                group.count, " columns, the one before ends at ", covered);
        covered += group.count;
    }
    require(covered == encoder[0], "autoencoder_model: the likelihoods are of ", covered, " columns, the data have ", encoder[0]);
    return model;
}

void check_options(const char* who, const AutoencoderOptions& o) {
    require(o.corruption_level >= 0 && (o.corruption == Corruption::gaussian || o.corruption_level <= 1), who, ": corruption_level=",
            o.corruption_level);
    require(o.corruption != Corruption::salt_and_pepper || (o.low && o.high), who, ": salt and pepper need the columns' limits");
    require(o.dropout >= 0 && o.dropout < 1, who, ": dropout=", o.dropout, " is not in [0, 1)");
    require(o.contraction >= 0 && o.weight_decay >= 0, who, ": contraction=", o.contraction, ", weight_decay=", o.weight_decay,
            "; they are at least 0");
    require(o.contraction == 0 || o.dropout == 0, who, ": contraction and dropout exclude each other");
}

namespace {

constexpr std::int64_t rows_at_a_time = 500;

template <class T>
void check_columns(const char* who, const States<T>& x, std::int64_t columns) {
    require(x.cols() == columns, who, ": X has ", x.cols(), " columns, the model has ", columns);
    require(!x.is_bits(), who, ": X is dense or sparse rows");
}

// Calls body(rows of x, first row) piece by piece.
template <class T, class Body>
void over_rows(Context& context, const States<T>& x, const Body& body) {
    for (std::int64_t first = 0; first < x.rows(); first += rows_at_a_time) {
        context.poll(static_cast<double>(first) / static_cast<double>(x.rows()));
        body(x.rows_from(first, std::min(rows_at_a_time, x.rows() - first)), first);
    }
}

template <class T>
std::int64_t piece(const States<T>& x) {
    return std::min(rows_at_a_time, std::max<std::int64_t>(x.rows(), 1));
}

}  // namespace

template <class T>
void autoencoder_encode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, Matrix<T> code) {
    check_columns("autoencoder_encode", x, model.visible());
    require(code.rows == x.rows() && code.cols == model.code(), "autoencoder_encode: codes are ", code.rows, " x ", code.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::autoencoder_encode(context, model, theta, x, code);
    }
    DenseNetwork<T> network(context, model, piece(x), nullptr);
    over_rows(context, x, [&](const States<T>& rows, std::int64_t first) {
        network.forward(theta, rows, 0, model.n_encoder);
        const Matrix<T> h = network.output(model.n_encoder - 1, rows.rows());
        for (std::int64_t i = 0; i < h.rows; ++i) std::copy(h.row(i), h.row(i) + h.cols, code.row(first + i));
    });
}

template <class T>
void autoencoder_decode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& code, Matrix<T> mean) {
    check_columns("autoencoder_decode", code, model.code());
    require(mean.rows == code.rows() && mean.cols == model.visible(), "autoencoder_decode: means are ", mean.rows, " x ", mean.cols);
    require(!code.is_sparse(), "autoencoder_decode: codes are dense");
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::autoencoder_decode(context, model, theta, code, mean);
    }
    DenseNetwork<T> network(context, model, piece(code), nullptr);
    over_rows(context, code, [&](const States<T>& rows, std::int64_t first) {
        network.forward(theta, rows, model.n_encoder, model.layers.size());
        const Matrix<T> z = network.output(model.layers.size() - 1, rows.rows());
        likelihood_mean<T>(context, model.outputs.data(), static_cast<std::int64_t>(model.outputs.size()), z);
        for (std::int64_t i = 0; i < z.rows; ++i) std::copy(z.row(i), z.row(i) + z.cols, mean.row(first + i));
    });
}

template <class T>
void autoencoder_score(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* loss) {
    check_columns("autoencoder_score", x, model.visible());
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::autoencoder_score(context, model, theta, x, loss);
    }
    DenseNetwork<T> network(context, model, piece(x), nullptr);
    over_rows(context, x, [&](const States<T>& rows, std::int64_t first) {
        network.forward(theta, rows, 0, model.layers.size());
        network.add_up(rows, rows.rows(), false, T(1));
        std::copy(network.losses(), network.losses() + rows.rows(), loss + first);
    });
}

template <class T>
void autoencoder_jacobian(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* norm) {
    check_columns("autoencoder_jacobian", x, model.visible());
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::autoencoder_jacobian(context, model, theta, x, norm);
    }
    DenseNetwork<T> network(context, model, piece(x), nullptr);
    std::vector<T> scratch(contraction_scratch(network.contracted(theta, nullptr, 0)));
    over_rows(context, x, [&](const States<T>& rows, std::int64_t first) {
        network.forward(theta, rows, 0, model.n_encoder);
        contraction<T>(context, network.contracted(theta, nullptr, rows.rows()), T(1), norm + first, scratch.data());
    });
}

template <class T>
double autoencoder_loss(Context& context, const AutoencoderModel& model, const States<T>& x, const AutoencoderOptions& options,
                        const T* theta, T* gradient) {
    check_columns("autoencoder_loss", x, model.visible());
    require(x.rows() > 0, "autoencoder_loss: X has 0 rows");
    check_options("autoencoder_loss", options);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::autoencoder_loss(context, model, x, options, theta, gradient);
    }
    const std::int64_t n = x.rows(), capacity = piece(x);
    DenseNetwork<T> network(context, model, capacity, &options);
    InputBatch<T> batch(context, x, capacity, options.corruption, options.corruption_level, options.low, options.high, model.outputs);
    double sum = 0;
    for (std::int64_t first = 0; first < n; first += capacity) {
        context.poll(static_cast<double>(first) / static_cast<double>(n));
        batch.gather(nullptr, first, std::min(capacity, n - first), {options.seed, Stream::corruption, 0}, first);
        const typename DenseNetwork<T>::Place place{0, static_cast<std::uint32_t>(first)};
        sum += network.loss(theta, batch.input(), batch.target(), T(1) / static_cast<T>(n), place, first > 0, gradient);
        if (gradient) network.store_gradient(theta, batch, place, first > 0, gradient);
    }
    double loss = sum / static_cast<double>(n);
    if (options.weight_decay > 0) loss += weight_decay<T>(context, model, options.weight_decay, theta, gradient);
    return loss;
}

template <class T>
double weight_decay(Context& context, const AutoencoderModel& model, double decay, const T* theta, T* gradient) {
    double squares = 0;
    for (std::size_t l = 0; l < (model.tied ? model.n_encoder : model.layers.size()); ++l) {
        const AutoencoderLayer& layer = model.layers[l];
        squares += add_decay<T>(context, static_cast<T>(decay), layer.inputs * layer.outputs, theta + layer.weights,
                                gradient ? gradient + layer.weights : nullptr);
    }
    return 0.5 * decay * squares;
}

#define HARMONIUM_INSTANTIATE(T)                                                                                             \
    template void autoencoder_encode(Context&, const AutoencoderModel&, const T*, const States<T>&, Matrix<T>);              \
    template void autoencoder_decode(Context&, const AutoencoderModel&, const T*, const States<T>&, Matrix<T>);              \
    template void autoencoder_score(Context&, const AutoencoderModel&, const T*, const States<T>&, double*);                 \
    template void autoencoder_jacobian(Context&, const AutoencoderModel&, const T*, const States<T>&, double*);              \
    template double autoencoder_loss(Context&, const AutoencoderModel&, const States<T>&, const AutoencoderOptions&, const T*, T*); \
    template double weight_decay(Context&, const AutoencoderModel&, double, const T*, T*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
