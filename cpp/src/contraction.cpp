#include "harmonium/contraction.hpp"

#include <algorithm>

#include "contraction_kernels.hpp"
#include "cuda/contraction.cuh"
#include "cuda_state.hpp"
#include "even_blocks.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"

namespace harmonium {

namespace {

template <class T>
void one_layer(Context& context, const ContractionLayer<T>& layer, T scale, double* penalty, T* scratch) {
    const Matrix<const T> w = layer.weights, a = layer.output;
    T* norms = scratch;
    T* squares = scratch + w.cols;
    const auto& kernels = contraction_kernels<T>();
    const EvenBlocks cols(w.cols, 128);
    context.parallel_for(cols.count, [&](std::int64_t j, int) {
        const std::int64_t first = cols.first(j), count = cols.size(j);
        kernels.column_squares(Matrix<const T>(w.data + first, w.rows, count, w.stride), norms + first);
        if (layer.delta) {
            kernels.slope_squares(layer.activation, Matrix<const T>(a.data + first, a.rows, count, a.stride), 2 * scale, squares + first);
        }
    });
    context.parallel_for(a.rows, [&](std::int64_t i, int) {
        penalty[i] = kernels.row(layer.activation, a.row(i), norms, 2 * scale, w.cols, layer.delta ? layer.delta.row(i) : nullptr);
    });
    if (!layer.gradient) return;
    const EvenBlocks rows(w.rows, 64);
    context.parallel_for(rows.count, [&](std::int64_t i, int) {
        kernels.scale_columns(w.rows_from(rows.first(i), rows.size(i)), squares, true,
                              layer.gradient.rows_from(rows.first(i), rows.size(i)));
    });
}

// T_l = W_l C_l and C_l = S_l T_(l+1), from C_L = S_L down to T_1 = J; all are as wide as the last layer.
template <class T>
class Chain {
public:
    Chain(Context& context, const std::vector<ContractionLayer<T>>& layers, T* scratch)
        : context_(context), layers_(layers), width_(layers.back().weights.cols) {
        T* next = scratch;
        std::int64_t tallest = 0;
        for (const auto& layer : layers) {
            products_.push_back({next, layer.weights.rows, width_}), next += layer.weights.rows * width_;
            scaled_.push_back({next, layer.weights.cols, width_}), next += layer.weights.cols * width_;
            slopes_.push_back(next), next += layer.weights.cols;
            tallest = std::max({tallest, layer.weights.rows, layer.weights.cols});
        }
        by_product_ = next;
        by_scaled_ = next + tallest * width_;
    }

    static std::int64_t size(const std::vector<ContractionLayer<T>>& layers) {
        const std::int64_t width = layers.back().weights.cols;
        std::int64_t total = 0, tallest = 0;
        for (const auto& layer : layers) {
            total += (layer.weights.rows + layer.weights.cols) * width + layer.weights.cols;
            tallest = std::max({tallest, layer.weights.rows, layer.weights.cols});
        }
        return total + 2 * tallest * width;
    }

    // norm(J)^2 at a row.
    double forward(std::int64_t row) {
        for (std::size_t l = layers_.size(); l-- > 0;) {
            const auto& layer = layers_[l];
            kernels_.slopes(layer.activation, layer.output.row(row), layer.weights.cols, slopes_[l]);
            if (l + 1 == layers_.size()) {
                kernels_.scale_columns(layer.weights, slopes_[l], false, products_[l]);
            } else {
                kernels_.scale_rows(products_[l + 1], slopes_[l], scaled_[l]);
                gemm<T>(context_, T(1), layer.weights, false, scaled_[l], false, T(0), products_[l]);
            }
        }
        double sum = 0;
        for (std::int64_t i = 0; i < products_[0].rows; ++i) {
            for (std::int64_t k = 0; k < width_; ++k) {
                const auto value = static_cast<double>(products_[0].row(i)[k]);
                sum += value * value;
            }
        }
        return sum;
    }

    void backward(std::int64_t row, T scale) {
        const std::size_t last = layers_.size() - 1;
        Matrix<T> by_product(by_product_, products_[0].rows, width_);
        for (std::int64_t i = 0; i < by_product.rows * width_; ++i) by_product.data[i] = 2 * scale * products_[0].data[i];
        for (std::size_t l = 0; l < last; ++l) {
            const auto& layer = layers_[l];
            gemm<T>(context_, T(1), by_product, false, scaled_[l], true, T(1), layer.gradient);
            const Matrix<T> by_scaled(by_scaled_, layer.weights.cols, width_);
            gemm<T>(context_, T(1), layer.weights, true, by_product, false, T(0), by_scaled);
            kernels_.row_dots(by_scaled, products_[l + 1], layer.delta.row(row));
            by_product = Matrix<T>(by_product_, layer.weights.cols, width_);
            kernels_.scale_rows(by_scaled, slopes_[l], by_product);
        }
        const auto& top = layers_[last];
        kernels_.scale_columns(by_product, slopes_[last], true, top.gradient);
        kernels_.column_dots(by_product, top.weights, top.delta.row(row));
        for (const auto& layer : layers_) {
            kernels_.times_curvatures(layer.activation, layer.output.row(row), layer.weights.cols, layer.delta.row(row));
        }
    }

private:
    Context& context_;
    const std::vector<ContractionLayer<T>>& layers_;
    const ContractionKernels<T>& kernels_ = contraction_kernels<T>();
    std::int64_t width_;
    std::vector<Matrix<T>> products_, scaled_;
    std::vector<T*> slopes_;
    T* by_product_ = nullptr;
    T* by_scaled_ = nullptr;
};

}  // namespace

template <class T>
void contraction(Context& context, const std::vector<ContractionLayer<T>>& layers, T scale, double* penalty, T* scratch) {
    require(!layers.empty(), "contraction: no layers");
    const std::int64_t rows = layers[0].output.rows;
    for (std::size_t l = 0; l < layers.size(); ++l) {
        const auto& layer = layers[l];
        require(layer.output.rows == rows && layer.output.cols == layer.weights.cols &&
                    (l == 0 || layer.weights.rows == layers[l - 1].weights.cols),
                "contraction: layer ", l, " has weights ", layer.weights.rows, " x ", layer.weights.cols, " and outputs ",
                layer.output.rows, " x ", layer.output.cols);
        require(static_cast<bool>(layer.gradient) == static_cast<bool>(layers[0].delta) &&
                    static_cast<bool>(layer.delta) == static_cast<bool>(layers[0].delta),
                "contraction: gradients are wanted of all layers or of none");
    }
    if constexpr (built_with_cuda) {
        if (context.cuda()) return cuda::contraction(context, layers, scale, penalty, scratch);
    }
    if (layers.size() == 1) return one_layer(context, layers[0], scale, penalty, scratch);
    Chain<T> chain(context, layers, scratch);
    for (std::int64_t i = 0; i < rows; ++i) {
        penalty[i] = chain.forward(i);
        if (layers[0].delta) chain.backward(i, scale);
    }
}

template <class T>
std::int64_t contraction_scratch(const std::vector<ContractionLayer<T>>& layers) {
    return layers.size() == 1 ? 2 * layers[0].weights.cols : Chain<T>::size(layers);
}

#define HARMONIUM_INSTANTIATE(T)                                                                             \
    template void contraction(Context&, const std::vector<ContractionLayer<T>>&, T, double*, T*);            \
    template std::int64_t contraction_scratch(const std::vector<ContractionLayer<T>>&);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium
