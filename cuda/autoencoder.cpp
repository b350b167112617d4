#include "autoencoder.cuh"

#include "autoencoder_network.cuh"
#include "copy.cuh"

namespace harmonium::cuda {

namespace {

constexpr std::int64_t rows_at_a_time = 2048;

// A model's parameters on the device, and rows that go through its layers piece by piece.
template <class T>
class Passes {
public:
    Passes(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, const AutoencoderOptions* options = nullptr)
        : context_(context), state(use(context)), layout(model), piece(std::min(rows_at_a_time, std::max<std::int64_t>(x.rows(), 1))),
          parameters_(state, layout), network(context, model, layout, piece, options), batch(context, model, x.cols(), piece, options),
          rows_(x.rows()), feed_(context, x, piece) {
        layout.copy(state, true, parameters_.data(), const_cast<T*>(theta));
    }

    const T* theta() const { return parameters_.data(); }

    // Calls body(n, first) with rows first, ..., first + n - 1 in the batch, as rows of those numbers of step 0; then waits.
    template <class Body>
    void over(const Body& body) {
        feed_.over(nullptr, rows_, [&](const RowBlock<T>& block, std::int64_t start) {
            for (std::int64_t row = 0; row < block.rows; row += piece) {
                const std::int64_t n = std::min(piece, block.rows - row), first = start + row;
                context_.poll(static_cast<double>(first) / static_cast<double>(rows_));
                set_place(state, batch.place(), Place<T>{block, row / piece, first / piece, 0});
                batch.gather(piece, n, static_cast<std::uint32_t>(first));
                body(n, first);
            }
        });
        CUDA_CHECK(cudaStreamSynchronize(state.stream));
    }

private:
    Context& context_;

public:
    State& state;
    ParameterLayout layout;
    std::int64_t piece;

private:
    Parameters<T> parameters_;

public:
    Network<T> network;
    Batch<T> batch;

private:
    std::int64_t rows_;
    RowFeed<T> feed_;
};

}  // namespace

template <class T>
void autoencoder_encode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, Matrix<T> code) {
    Passes<T> passes(context, model, theta, x);
    passes.over([&](std::int64_t n, std::int64_t first) {
        passes.network.forward(passes.theta(), passes.batch.input(n), 0, model.n_encoder);
        copy_rows(passes.state, passes.network.output(model.n_encoder - 1, n), code.rows_from(first, n));
    });
}

template <class T>
void autoencoder_decode(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& code, Matrix<T> mean) {
    Passes<T> passes(context, model, theta, code);
    passes.over([&](std::int64_t n, std::int64_t first) {
        const std::size_t last = model.layers.size() - 1;
        passes.network.forward(passes.theta(), passes.batch.input(n), model.n_encoder, last + 1);
        cuda::likelihood_mean<T>(context, model.outputs.data(), static_cast<std::int64_t>(model.outputs.size()), passes.network.output(last, n));
        copy_rows(passes.state, passes.network.output(last, n), mean.rows_from(first, n));
    });
}

template <class T>
void autoencoder_score(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* loss) {
    Passes<T> passes(context, model, theta, x);
    passes.over([&](std::int64_t n, std::int64_t first) {
        passes.network.forward(passes.theta(), passes.batch.input(n), 0, model.layers.size());
        passes.network.losses(passes.batch.target(n), false, T(1));
        copy_numbers<double>(passes.state, passes.network.loss(), n, loss + first);
    });
}

template <class T>
void autoencoder_jacobian(Context& context, const AutoencoderModel& model, const T* theta, const States<T>& x, double* norm) {
    Passes<T> passes(context, model, theta, x);
    const DeviceBuffer<double> norms(static_cast<std::size_t>(passes.piece));
    passes.over([&](std::int64_t n, std::int64_t first) {
        passes.network.forward(passes.theta(), passes.batch.input(n), 0, model.n_encoder);
        passes.network.jacobian_norms(passes.theta(), nullptr, n, T(1), norms.data());
        copy_numbers<double>(passes.state, norms.data(), n, norm + first);
    });
}

template <class T>
double autoencoder_loss(Context& context, const AutoencoderModel& model, const States<T>& x, const AutoencoderOptions& options,
                        const T* theta, T* gradient) {
    Passes<T> passes(context, model, theta, x, &options);
    Network<T>& network = passes.network;
    const Parameters<T> own = gradient ? Parameters<T>(passes.state, passes.layout) : Parameters<T>();
    const DeviceBuffer<double> sums(static_cast<std::size_t>((x.rows() + passes.piece - 1) / passes.piece));
    const T scale = T(1) / static_cast<T>(x.rows());
    passes.over([&](std::int64_t n, std::int64_t first) {
        const NetworkDraws draws{nullptr, static_cast<std::uint32_t>(first)};
        const Matrix<const T> input = passes.batch.input(n);
        network.forward(passes.theta(), input, 0, model.layers.size(), draws);
        network.losses(passes.batch.target(n), gradient != nullptr, scale);
        if (network.contracts()) network.contract(passes.theta(), own.data(), n, scale);
        if (gradient) {
            network.backward(passes.theta(), n, draws);
            network.store_gradient(input, first > 0, own.data());
        }
        finish_step(passes.state, passes.batch.place(), n, network.loss(), options.contraction, network.penalty(), sums.data());
    });
    std::vector<double> parts(sums.size());
    copy_numbers<double>(passes.state, sums.data(), static_cast<std::int64_t>(parts.size()), parts.data());
    double squares = 0;
    for (std::size_t l = 0; options.weight_decay > 0 && l < network.matrices(); ++l) {
        const ParameterLayout::Layer& at = passes.layout[l];
        squares += cuda::add_decay<T>(context, static_cast<T>(options.weight_decay), at.rows * at.stride, passes.theta() + at.weights,
                                gradient ? own.data() + at.weights : nullptr);
    }
    if (gradient) passes.layout.copy(passes.state, false, own.data(), gradient);
    CUDA_CHECK(cudaStreamSynchronize(passes.state.stream));
    double sum = 0;
    for (const double part : parts) sum += part;
    return sum / static_cast<double>(x.rows()) + 0.5 * options.weight_decay * squares;
}

#define HARMONIUM_INSTANTIATE(T)                                                                                             \
    template void autoencoder_encode(Context&, const AutoencoderModel&, const T*, const States<T>&, Matrix<T>);              \
    template void autoencoder_decode(Context&, const AutoencoderModel&, const T*, const States<T>&, Matrix<T>);              \
    template void autoencoder_score(Context&, const AutoencoderModel&, const T*, const States<T>&, double*);                 \
    template void autoencoder_jacobian(Context&, const AutoencoderModel&, const T*, const States<T>&, double*);              \
    template double autoencoder_loss(Context&, const AutoencoderModel&, const States<T>&, const AutoencoderOptions&, const T*, T*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
