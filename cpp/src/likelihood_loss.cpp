#include "harmonium/likelihood_loss.hpp"

#include <algorithm>

#include "cuda/likelihood_loss.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "likelihood_loss_kernels.hpp"

namespace harmonium {

namespace {

constexpr std::int64_t height = 16;  // rows of a task

void check_groups(const OutputGroup* groups, std::int64_t n_groups, std::int64_t cols) {
    std::int64_t next = 0;
    for (std::int64_t g = 0; g < n_groups; ++g) {
        require(groups[g].count > 0 && groups[g].first == next, "likelihood_loss: a group begins at column ", groups[g].first,
                " with ", groups[g].count, " columns, the one before ends at ", next);
        next += groups[g].count;
    }
    require(next == cols, "likelihood_loss: groups of ", next, " columns, z has ", cols);
}

}  // namespace

template <class T>
void likelihood_loss(Context& context, const OutputGroup* groups, std::int64_t n_groups, const States<T>& x, bool derivatives,
                     T scale, Matrix<T> z, double* loss) {
    require(x.rows() == z.rows && x.cols() == z.cols, "likelihood_loss: X is ", x.rows(), " x ", x.cols(), ", z ", z.rows, " x ",
            z.cols);
    require(!x.is_bits(), "likelihood_loss: X is dense or sparse rows");
    check_groups(groups, n_groups, z.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::likelihood_loss(context, groups, n_groups, x, derivatives, scale, z, loss);
    }
    if (x.is_sparse()) context.reserve_scratch(static_cast<std::size_t>(z.cols) * sizeof(T));
    context.parallel_for((z.rows + height - 1) / height, [&](std::int64_t task, int worker) {
        for (std::int64_t i = task * height; i < std::min(z.rows, (task + 1) * height); ++i) {
            const T* row;
            if (x.is_sparse()) {  // one row at a time is written out
                T* out = context.scratch<T>(worker);
                std::fill(out, out + z.cols, T(0));
                for (std::int64_t k = x.sparse.indptr[i]; k < x.sparse.indptr[i + 1]; ++k) {
                    out[x.sparse.indices[k]] = x.sparse.values ? x.sparse.values[k] : T(1);
                }
                row = out;
            } else {
                row = x.dense.row(i);
            }
            loss[i] = likelihood_loss_kernels<T>().loss(groups, n_groups, row, derivatives, scale, z.row(i));
        }
    });
}

template <class T>
void likelihood_mean(Context& context, const OutputGroup* groups, std::int64_t n_groups, Matrix<T> z) {
    check_groups(groups, n_groups, z.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::likelihood_mean(context, groups, n_groups, z);
    }
    context.parallel_for((z.rows + height - 1) / height, [&](std::int64_t task, int) {
        for (std::int64_t i = task * height; i < std::min(z.rows, (task + 1) * height); ++i) {
            likelihood_loss_kernels<T>().mean(groups, n_groups, z.row(i));
        }
    });
}

#define HARMONIUM_INSTANTIATE(T)                                                                                          \
    template void likelihood_loss(Context&, const OutputGroup*, std::int64_t, const States<T>&, bool, T, Matrix<T>, double*); \
    template void likelihood_mean(Context&, const OutputGroup*, std::int64_t, Matrix<T>);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
