#include "harmonium/weight_step.hpp"

#include <algorithm>

#include "cuda/update.cuh"
#include "cuda_state.hpp"
#include "harmonium/error.hpp"
#include "tiled_gemm.hpp"
#include "update_kernels.hpp"

namespace harmonium {

namespace {

// With what the rule keeps, a block of the gradient stays in the second-level cache. Dense products like blocks wide: what the
// rule keeps is met in long runs. A sparse product copies B's columns for every block: it likes them tall and narrow.
struct BlockShape {
    std::int64_t most_rows, cols;
};
template <class T>
constexpr BlockShape dense_block{72, 2048 / static_cast<std::int64_t>(sizeof(T))};
constexpr BlockShape sparse_block{480, 64};

// Rows of a block, whole tiles and about as many in the last one: fewer where there are threads for more blocks, and so that
// all of them have as many blocks, if that is to be had.
std::int64_t rows_of_block(const BlockShape& block, std::int64_t rows, std::int64_t strips, int threads) {
    constexpr std::int64_t tile = 12;
    const auto blocks_of = [&](std::int64_t height) { return std::max<std::int64_t>((rows + height - 1) / height, 1); };
    const std::int64_t fair = rows * strips / (4 * threads), most = std::min(block.most_rows, std::max(fair, tile) / tile * tile);
    std::int64_t height = most;
    while (height > tile && blocks_of(height) * strips % threads != 0) height -= tile;
    if (blocks_of(height) * strips % threads != 0) height = most;
    const std::int64_t at_once = blocks_of(height) * tile;  // rows of a tile in every block
    return std::max<std::int64_t>((rows + at_once - 1) / at_once, 1) * tile;
}

// Reads one byte of every line, in the order that the processor foresees.
template <class T>
void read_through(Matrix<const T> m) {
    const char* bytes = reinterpret_cast<const char*>(m.data);
    const std::int64_t n = ((m.rows - 1) * m.stride + m.cols) * static_cast<std::int64_t>(sizeof(T));
    int sum = 0;
    for (std::int64_t i = 0; i < n; i += 64) sum += bytes[i];
    asm volatile("" : : "r"(sum));  // or the compiler would leave it out
}

// Products read down columns: of what lies further out than the second-level cache every line would be waited for. Read in order
// first, as long as the last-level cache holds it all, it comes nearer in less time: 0.5 % of a batch of a deep network.
template <class T>
void bring_near(Context& context, const WeightStep<T>& step) {
    constexpr std::int64_t most = std::int64_t(16) << 20;
    std::int64_t bytes = 0;
    const auto over_dense = [&](const auto& body) {
        for (int t = 0; t < step.n_terms; ++t) {
            if (!step.terms[t].a_columns.indptr && step.terms[t].b.rows > 0) body(step.terms[t].a), body(step.terms[t].b);
        }
    };
    over_dense([&](Matrix<const T> m) { bytes += m.rows * m.cols * static_cast<std::int64_t>(sizeof(T)); });
    if (bytes > most) return;
    context.parallel_for(context.threads(), [&](std::int64_t, int) { over_dense([](Matrix<const T> m) { read_through(m); }); });
}

// Dense products are added up in registers, so many at a time.
constexpr int products_at_once = 2;

// block (at `top`, `left` of the gradient) = the sum of all terms there, the dense ones first, or added to it.
// in_place: B's strips are read where they lie; to copy them pays where many rows of A follow.
template <class T>
void multiply(const WeightStep<T>& step, std::int64_t top, std::int64_t left, bool accumulate, bool in_place, Matrix<T> block,
              T* scratch, const Ahead& ahead) {
    constexpr std::int64_t width = strip_cols<T>();
    const auto& kernels = tiled_gemm_kernels<T>();
    std::int64_t pieces = 0, done = 0;
    for (int t = 0; t < step.n_terms; ++t) {
        if (!step.terms[t].a_columns.indptr) pieces += (step.terms[t].a.rows + tiled_inner - 1) / tiled_inner;
    }
    StripProduct<T> wide[products_at_once];  // A's part and B's, of which strips are taken
    int n = 0;
    for (int t = 0; t < step.n_terms; ++t) {
        const GradientTerm<T>& term = step.terms[t];
        for (std::int64_t p = 0; !term.a_columns.indptr && p < term.a.rows; p += tiled_inner) {
            const std::int64_t k = std::min(tiled_inner, term.a.rows - p);
            wide[n++] = {Matrix<const T>(term.a.row(p) + top, k, block.rows, term.a.stride), term.b.rows_from(p, k)};
            if (n < products_at_once && done + n < pieces) continue;
            for (std::int64_t c = 0; c < block.cols; c += width) {
                StripProduct<T> products[products_at_once];
                for (int i = 0; i < n; ++i) {
                    const Matrix<const T>& b = wide[i].strip;
                    products[i] = {wide[i].a, Matrix<const T>(b.data + left + c, b.rows, width, b.stride)};
                    if (in_place && strip_lies_well(b, left + c)) continue;
                    T* packed = scratch + i * tiled_inner * width;
                    kernels.pack(b, false, left + c, packed);
                    products[i].strip = Matrix<const T>(packed, b.rows, width);
                }
                // Each fetches an equal share of what is wanted next.
                const std::int64_t first = ahead.rows * (done * block.cols + n * c) / (pieces * block.cols);
                const std::int64_t end = ahead.rows * (done * block.cols + n * std::min(c + width, block.cols)) / (pieces * block.cols);
                const Matrix<T> strip(block.data + c, block.rows, std::min(width, block.cols - c), block.stride);
                kernels.multiply(products, n, true, accumulate, strip, ahead.rows_from(first, end - first));
            }
            done += n;
            n = 0;
            accumulate = true;
        }
    }
    for (int t = 0; t < step.n_terms; ++t) {
        if (!step.terms[t].a_columns.indptr) continue;
        SparseRows<T> part = step.terms[t].a_columns;
        part.indptr += top;
        part.rows = block.rows;
        auto* splits = reinterpret_cast<std::int64_t*>(scratch + sparse_scratch<T>);
        sparse_splits(part, splits);
        kernels.multiply_sparse(part, splits, step.terms[t].b, left, accumulate, block, scratch);
        accumulate = true;
    }
    if (!accumulate) set_to_zero(block);
}

}  // namespace

template <class T>
void weight_step(Context& context, const WeightStep<T>& step) {
    const Matrix<T> shape = step.gradient ? step.gradient : step.weights;
    require(shape && (step.gradient || !step.accumulate), "weight_step: neither a gradient nor weights");
    require(!step.gradient || !step.weights || (step.gradient.rows == step.weights.rows && step.gradient.cols == step.weights.cols),
            "weight_step: the gradient is ", step.gradient.rows, " x ", step.gradient.cols, ", weights ", step.weights.rows, " x ",
            step.weights.cols);
    std::int64_t inner = 0;
    bool any_sparse = false;
    for (int t = 0; t < step.n_terms; ++t) {
        const GradientTerm<T>& term = step.terms[t];
        const bool sparse = term.a_columns.indptr != nullptr;
        const std::int64_t n = sparse ? term.a_columns.cols : term.a.rows, k = sparse ? term.a_columns.rows : term.a.cols;
        require(n == term.b.rows && k == shape.rows && term.b.cols == shape.cols, "weight_step: A is ", n, " x ", k, ", B ",
                term.b.rows, " x ", term.b.cols, ", the gradient ", shape.rows, " x ", shape.cols);
        inner = std::max(inner, n);
        any_sparse = any_sparse || sparse;
    }
    if constexpr (built_with_cuda) {
        if (context.cuda()) {
            require(!any_sparse, "weight_step: on a GPU A is dense");
            return cuda::weight_step(context, step);
        }
    }
    BlockShape most = any_sparse ? sparse_block : dense_block<T>;
    if (!any_sparse && inner > tiled_inner) most.most_rows /= 2;  // every piece reads and writes the block, with more of A beside it
    const std::int64_t strips = (shape.cols + most.cols - 1) / most.cols;
    const std::int64_t height = rows_of_block(most, shape.rows, strips, context.threads()), chunks = (shape.rows + height - 1) / height;
    const std::int64_t split_room = height * (sparse_tiles(inner) - 1) * 8 / static_cast<std::int64_t>(sizeof(T));
    const std::int64_t needed = std::max(products_at_once * tiled_inner * strip_cols<T>(), sparse_scratch<T> + split_room) + 16;
    const std::int64_t work = (needed + 15) / 16 * 16;  // the block begins on a cache line
    context.reserve_scratch(static_cast<std::size_t>(work + height * most.cols) * sizeof(T));
    const auto& kernels = update_kernels<T>();
    bring_near(context, step);
    context.parallel_for(strips * chunks, [&](std::int64_t task, int worker) {
        const std::int64_t left = task % strips * most.cols, cols = std::min(most.cols, shape.cols - left);
        const std::int64_t top = task / strips * height, rows = std::min(height, shape.rows - top);
        T* scratch = context.scratch<T>(worker);
        const Matrix<T> block = step.gradient ? Matrix<T>(step.gradient.row(top) + left, rows, cols, step.gradient.stride)
                                              : Matrix<T>(scratch + work, rows, cols, most.cols);
        Ahead ahead;
        const std::int64_t at = top * step.weights.stride + left;
        if (step.weights) {
            ahead = Ahead(Matrix<const T>(step.weights.data + at, rows, cols, step.weights.stride));
            if (step.first) ahead.add(step.first + at);
            if (step.second) ahead.add(step.second + at);
        }
        multiply(step, top, left, step.accumulate, !any_sparse, block, scratch, ahead);
        if (!step.weights) return;
        for (std::int64_t i = 0; step.decay != T(0) && i < rows; ++i) {
            kernels.decay(step.decay, cols, step.weights.row(top + i) + left, block.row(i));
        }
        kernels.update_block(step.update, rows, cols, block.data, block.stride, step.first ? step.first + at : nullptr,
                             step.second ? step.second + at : nullptr, step.weights.data + at, step.weights.stride);
    });
}
template void weight_step(Context&, const WeightStep<float>&);
template void weight_step(Context&, const WeightStep<double>&);

}  // namespace harmonium
