#include "likelihood_loss.cuh"

#include "dense.cuh"
#include "launch.cuh"
#include "output_groups.cuh"
#include "reduce.cuh"
#include "state.cuh"

namespace harmonium::cuda {

namespace {

constexpr unsigned threads = 128;  // of the block that takes a row

// This thread's share of a group's loss: columns are strided over the block.
template <Likelihood likelihood, class T>
__device__ double loss_of_values(const T* x, std::int64_t n, bool derivatives, T scale, T* z) {
    double sum = 0;
    for (std::int64_t j = threadIdx.x; j < n; j += threads) {
        T derivative;
        sum += static_cast<double>(loss_of<likelihood>(x[j], z[j], derivative));
        if (derivatives) z[j] = scale * derivative;
        if (likelihood != Likelihood::poisson || x[j] != T(0)) sum += loss_constant<likelihood>(static_cast<double>(x[j]));
    }
    return sum;
}

template <class T>
__device__ T greatest(const T* z, std::int64_t n) {
    T most = z[0];
    for (std::int64_t j = threadIdx.x % 32; j < n; j += 32) most = z[j] > most ? z[j] : most;
    return warp_max(most);
}

// By one warp; lane 0 gets the loss.
template <class T>
__device__ double loss_of_choice(const T* x, std::int64_t n, bool derivatives, T scale, T* z) {
    const unsigned lane = threadIdx.x % 32;
    const T most = greatest(z, n);
    double chosen = 0, total = 0;
    for (std::int64_t j = lane; j < n; j += 32) {
        const T d = z[j] - most, e = exp(d);
        chosen += static_cast<double>(x[j] * d);
        total += static_cast<double>(e);
        z[j] = e;
    }
    total = warp_sum(total);
    chosen = warp_sum(chosen);
    const T inverse = T(1.0 / total);
    for (std::int64_t j = lane; derivatives && j < n; j += 32) z[j] = scale * (z[j] * inverse - x[j]);
    return lane == 0 ? log(total) - chosen : 0.0;
}

// Choices go to the block's warps in turns, values to all threads.
template <class T>
__global__ void loss_kernel(OutputGroups groups, Matrix<const T> x, bool derivatives, T scale, Matrix<T> z, bool first, double* loss) {
    for (std::int64_t i = blockIdx.x; i < z.rows; i += gridDim.x) {
        double sum = 0;
        for (int g = 0; g < groups.count; ++g) {
            const OutputGroup& group = groups.group[g];
            const T* of = x.row(i) + group.first;
            T* at = z.row(i) + group.first;
            switch (group.likelihood) {
                case Likelihood::bernoulli: sum += loss_of_values<Likelihood::bernoulli>(of, group.count, derivatives, scale, at); break;
                case Likelihood::gaussian: sum += loss_of_values<Likelihood::gaussian>(of, group.count, derivatives, scale, at); break;
                case Likelihood::laplace: sum += loss_of_values<Likelihood::laplace>(of, group.count, derivatives, scale, at); break;
                case Likelihood::poisson: sum += loss_of_values<Likelihood::poisson>(of, group.count, derivatives, scale, at); break;
                case Likelihood::categorical:
                    if (threadIdx.x / 32 == static_cast<unsigned>(g) % (threads / 32)) {
                        sum += loss_of_choice(of, group.count, derivatives, scale, at);
                    }
            }
        }
        sum = block_sum(sum);
        if (threadIdx.x == 0) loss[i] = first ? sum : loss[i] + sum;
    }
}

template <class T>
__global__ void mean_kernel(OutputGroups groups, Matrix<T> out) {
    for (std::int64_t i = blockIdx.x; i < out.rows; i += gridDim.x) {
        for (int g = 0; g < groups.count; ++g) {
            const std::int64_t n = groups.group[g].count;
            T* z = out.row(i) + groups.group[g].first;
            const Likelihood likelihood = groups.group[g].likelihood;
            if (likelihood == Likelihood::bernoulli) {
                for (std::int64_t j = threadIdx.x; j < n; j += threads) z[j] = sigmoid(z[j]);
            } else if (likelihood == Likelihood::poisson) {
                for (std::int64_t j = threadIdx.x; j < n; j += threads) z[j] = exp(z[j]);
            } else if (likelihood == Likelihood::categorical && threadIdx.x / 32 == static_cast<unsigned>(g) % (threads / 32)) {
                const T most = greatest(z, n);
                double total = 0;
                for (std::int64_t j = threadIdx.x % 32; j < n; j += 32) {
                    z[j] = exp(z[j] - most);
                    total += static_cast<double>(z[j]);
                }
                const T inverse = T(1.0 / warp_sum(total));
                for (std::int64_t j = threadIdx.x % 32; j < n; j += 32) z[j] *= inverse;
            }
        }
    }
}

}  // namespace

template <class T>
void likelihood_loss(Context& context, const OutputGroup* groups, std::int64_t n_groups, const States<T>& x, bool derivatives,
                     T scale, Matrix<T> z, double* loss) {
    State& state = use(context);
    if (z.rows == 0) return;
    const Matrix<const T> dense = write_out(context, x);
    over_groups(groups, n_groups, [&](const OutputGroups& part, bool first) {
        launch(state.stream, loss_kernel<T>, blocks_for(z.rows, 1), threads, 0, part, dense, derivatives, scale, z, first, loss);
    });
}

template <class T>
void likelihood_mean(Context& context, const OutputGroup* groups, std::int64_t n_groups, Matrix<T> z) {
    State& state = use(context);
    if (z.rows == 0) return;
    over_groups(groups, n_groups, [&](const OutputGroups& part, bool) {
        launch(state.stream, mean_kernel<T>, blocks_for(z.rows, 1), threads, 0, part, z);
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                          \
    template void likelihood_loss(Context&, const OutputGroup*, std::int64_t, const States<T>&, bool, T, Matrix<T>, double*); \
    template void likelihood_mean(Context&, const OutputGroup*, std::int64_t, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
