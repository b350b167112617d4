#include "harmonium/shrink.hpp"

#include "cuda/shrink.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "shrink_kernels.hpp"

namespace harmonium {

template <class T>
void shrink(Context& context, Matrix<const T> x, const T* a, bool positive, Matrix<T> out) {
    require(out.rows == x.rows && out.cols == x.cols, "shrink: X is ", x.rows, " x ", x.cols, ", out ", out.rows, " x ", out.cols);
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::shrink<T>(context, x, a, positive, out);
    }
    for (std::int64_t j = 0; j < x.cols; ++j) require(a[j] >= 0, "shrink: threshold ", j, " is ", a[j], ", it must not be negative");
    const auto kernel = positive ? shrink_kernels<T>().positive : shrink_kernels<T>().any;
    context.parallel_for(x.rows, [&](std::int64_t i, int) { kernel(x.row(i), a, x.cols, out.row(i)); });
}
template void shrink(Context&, Matrix<const float>, const float*, bool, Matrix<float>);
template void shrink(Context&, Matrix<const double>, const double*, bool, Matrix<double>);

}  // namespace harmonium
