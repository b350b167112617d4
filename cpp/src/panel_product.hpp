// One panel of states times a matrix: the piece of work that binary_gemm, layer and rbm_update hand to a thread.
#pragma once

#include "binary_gemm_kernels.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// op(B) for a B in rows or in panels, of which a panel at a time is brought into a form that kernels read.
template <class T>
struct Factor {
    Matrix<const T> rows;
    Panels<const T> panels;
    bool transposed = false;

    Factor(Matrix<const T> rows_, bool transposed_) : rows(rows_), transposed(transposed_) {}
    Factor(Panels<const T> panels_, bool transposed_) : panels(panels_), transposed(transposed_) {}

    std::int64_t own_rows() const { return panels ? panels.rows : rows.rows; }
    std::int64_t own_cols() const { return panels ? panels.cols : rows.cols; }
    std::int64_t inner() const { return transposed ? own_cols() : own_rows(); }
    std::int64_t outer() const { return transposed ? own_rows() : own_cols(); }
    std::int64_t panel_count() const { return (outer() + 63) / 64; }
    std::int64_t panel_cols(std::int64_t p) const { return Panels<T>(nullptr, 0, outer()).panel_cols(p); }

    // Panel p of op(B), inner() rows; a view of B where that is possible, else a copy in scratch.
    std::int64_t scratch_size() const { return (inner() + 15) / 16 * 16 * 64; }
    Matrix<const T> panel(std::int64_t p, T* scratch) const;
};

// What panel_product needs of a worker's scratch, in elements.
template <class T>
std::int64_t panel_product_scratch(const Factor<T>& b);

// acc (a.rows x panel_cols(p)) = panel p of A op(B), or added to acc.
template <class T>
void panel_product(const States<T>& a, const Factor<T>& b, std::int64_t p, bool accumulate, Matrix<T> acc, T* scratch);

// Rows that one task takes: enough to share the cost of tables, few enough for the accumulators to stay in cache.
constexpr std::int64_t rows_per_task = rows_per_multiply;

}  // namespace harmonium
