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

// T_l = W_l C_l and C_l = S_l T_(l+1), from C_L = S_L down to T_1 = J; all are as wide as the last layer. Some rows of the
// batch are worked on together: their T_l (and C_l) stand side by side, so that one product serves them all.
// Where it is less work, G = W_1^T W_1 stands in for W_1: norm(J)^2 = sum of C_1 * (G C_1), and its gradient by W_1 is
// 2 W_1 times the sum over rows of C_1 C_1^T.
template <class T>
class Chain {
public:
    Chain(Context& context, const std::vector<ContractionLayer<T>>& layers, T* scratch)
        : context_(context), layers_(layers), width_(layers.back().weights.cols), most_(rows_at_once(layers)) {
        const Matrix<const T> w = layers[0].weights;
        const std::int64_t rows = layers[0].output.rows;
        // Its sums cancel more: only for training, where the gradient takes most of the work.
        if (layers[0].gradient && 2 * w.cols * width_ * rows + 2 * w.rows * w.cols < 3 * w.rows * width_ * rows) {
            gram_ = {scratch, w.cols, w.cols};
            outer_ = {scratch + w.cols * w.cols, w.cols, w.cols};
            gemm<T>(context_, T(1), w, true, w, false, T(0), gram_);
            std::fill_n(outer_.data, w.cols * w.cols, T(0));
        }
        T* next = scratch + 2 * w.cols * w.cols;
        for (const auto& layer : layers) {
            products_.push_back(next), next += std::max(layer.weights.rows, layer.weights.cols) * width_ * most_;
            scaled_.push_back(next), next += layer.weights.cols * width_ * most_;
            slopes_.push_back(next), next += layer.weights.cols * most_;
        }
        by_scaled_ = next;
    }

    static std::int64_t size(const std::vector<ContractionLayer<T>>& layers) {
        return 2 * layers[0].weights.cols * layers[0].weights.cols + rows_at_once(layers) * size_of_row(layers);
    }

    std::int64_t rows_at_once() const { return most_; }

    // penalty[i] = norm(J)^2 at `rows` rows of the batch from `first` on.
    void forward(std::int64_t first, std::int64_t rows, double* penalty) {
        const std::size_t last = layers_.size() - 1;
        for (std::size_t l = layers_.size(); l-- > 0;) {
            const auto& layer = layers_[l];
            const bool by_gram = l == 0 && gram_;
            const Matrix<T> product = side_by_side(products_[l], by_gram ? gram_.rows : layer.weights.rows, rows);
            const Matrix<T> scaled = side_by_side(scaled_[l], layer.weights.cols, rows);
            context_.parallel_for(rows, [&](std::int64_t i, int) {
                T* slopes = slopes_of(l, i);
                kernels_.slopes(layer.activation, layer.output.row(first + i), layer.weights.cols, slopes);
                if (l == last) kernels_.scale_columns(layer.weights, slopes, false, of_row(product, i));
                else kernels_.scale_rows(of_row(side_by_side(products_[l + 1], layer.weights.cols, rows), i), slopes, of_row(scaled, i));
            });
            if (l < last) gemm<T>(context_, T(1), by_gram ? Matrix<const T>(gram_) : layer.weights, false, scaled, false, T(0), product);
        }
        const Matrix<T> above = lowest(rows), below = gram_ ? side_by_side(scaled_[0], gram_.rows, rows) : above;
        context_.parallel_for(rows, [&](std::int64_t i, int) {
            penalty[i] = std::max(0.0, kernels_.dot(of_row(above, i), of_row(below, i)));
        });
    }

    // Of the same rows, after forward.
    void backward(std::int64_t first, std::int64_t rows, T scale) {
        const std::size_t last = layers_.size() - 1;
        Matrix<T> by_product = lowest(rows);
        context_.parallel_for(by_product.rows, [&](std::int64_t h, int) {
            for (std::int64_t j = 0; j < by_product.cols; ++j) by_product.row(h)[j] *= 2 * scale;
        });
        for (std::size_t l = 0; l < last; ++l) {
            const auto& layer = layers_[l];
            const Matrix<T> scaled = side_by_side(scaled_[l], layer.weights.cols, rows);
            Matrix<T> by_scaled = by_product;  // as G C_1 is already
            if (l == 0 && gram_) {
                gemm<T>(context_, T(1), scaled, false, scaled, true, T(1), outer_);
            } else {
                by_scaled = side_by_side(by_scaled_, layer.weights.cols, rows);
                gemm<T>(context_, T(1), by_product, false, scaled, true, T(1), layer.gradient);
                gemm<T>(context_, T(1), layer.weights, true, by_product, false, T(0), by_scaled);
            }
            by_product = side_by_side(products_[l + 1], layer.weights.cols, rows);
            context_.parallel_for(rows, [&](std::int64_t i, int) {
                kernels_.row_dots(of_row(by_scaled, i), of_row(by_product, i), layer.delta.row(first + i));
                kernels_.scale_rows(of_row(by_scaled, i), slopes_of(l, i), of_row(by_product, i));  // the product is done with
            });
        }
        const auto& top = layers_[last];
        const EvenBlocks blocks(top.weights.rows, 64);
        context_.parallel_for(blocks.count, [&](std::int64_t b, int) {
            for (std::int64_t i = 0; i < rows; ++i) {
                kernels_.scale_columns(of_row(by_product, i).rows_from(blocks.first(b), blocks.size(b)), slopes_of(last, i), true,
                                       top.gradient.rows_from(blocks.first(b), blocks.size(b)));
            }
        });
        context_.parallel_for(rows, [&](std::int64_t i, int) {
            kernels_.column_dots(of_row(by_product, i), top.weights, top.delta.row(first + i));
            for (const auto& layer : layers_) {
                kernels_.times_curvatures(layer.activation, layer.output.row(first + i), layer.weights.cols, layer.delta.row(first + i));
            }
        });
    }

    // After the last rows.
    void finish(T scale) {
        if (gram_) gemm<T>(context_, 2 * scale, layers_[0].weights, false, outer_, false, T(1), layers_[0].gradient);
    }

private:
    static std::int64_t size_of_row(const std::vector<ContractionLayer<T>>& layers) {
        const std::int64_t width = layers.back().weights.cols;
        std::int64_t total = 0, tallest = 0;
        for (const auto& layer : layers) {
            total += (std::max(layer.weights.rows, layer.weights.cols) + layer.weights.cols) * width + layer.weights.cols;
            tallest = std::max({tallest, layer.weights.rows, layer.weights.cols});
        }
        return total + 2 * tallest * width;  // of which the second is the GPU's
    }
    // By the layers alone: it says in what order gradients are added up.
    static std::int64_t rows_at_once(const std::vector<ContractionLayer<T>>& layers) {
        constexpr std::int64_t bytes = std::int64_t(1) << 24;
        return std::clamp<std::int64_t>(bytes / static_cast<std::int64_t>(sizeof(T)) / size_of_row(layers), 1, 64);
    }

    Matrix<T> side_by_side(T* data, std::int64_t height, std::int64_t rows) const { return {data, height, rows * width_}; }
    Matrix<T> lowest(std::int64_t rows) const { return side_by_side(products_[0], gram_ ? gram_.rows : layers_[0].weights.rows, rows); }
    Matrix<T> of_row(Matrix<T> all, std::int64_t i) const { return {all.data + i * width_, all.rows, width_, all.stride}; }
    T* slopes_of(std::size_t layer, std::int64_t i) const { return slopes_[layer] + i * layers_[layer].weights.cols; }

    Context& context_;
    const std::vector<ContractionLayer<T>>& layers_;
    const ContractionKernels<T>& kernels_ = contraction_kernels<T>();
    std::int64_t width_, most_;
    std::vector<T*> products_, scaled_, slopes_;
    T* by_scaled_ = nullptr;
    Matrix<T> gram_, outer_;
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
    for (std::int64_t first = 0; first < rows; first += chain.rows_at_once()) {
        const std::int64_t count = std::min(chain.rows_at_once(), rows - first);
        chain.forward(first, count, penalty + first);
        if (layers[0].delta) chain.backward(first, count, scale);
    }
    chain.finish(scale);
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
