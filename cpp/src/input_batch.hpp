// A batch of rows as an autoencoder trains on it: what is to be reconstructed, and what the encoder sees.
#pragma once

#include <algorithm>
#include <vector>

#include "aligned.hpp"
#include "harmonium/compress.hpp"
#include "harmonium/corrupt.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

template <class T>
class InputBatch {
public:
    InputBatch(Context& context, const States<T>& x, std::int64_t capacity, Corruption corruption, double level,
               const double* low, const double* high, const std::vector<OutputGroup>& groups)
        : context_(context), x_(x), corruption_(corruption), level_(static_cast<T>(level)), groups_(groups) {
        const std::int64_t cols = x.cols();
        if (x.dense) target_.resize(capacity * cols);
        if (corruption != Corruption::none) input_.resize(capacity * cols);
        std::int64_t room = 0;
        if (x.is_sparse()) {
            // The fullest rows may meet in one batch.
            std::vector<std::int64_t> full(x.rows());
            for (std::int64_t i = 0; i < x.rows(); ++i) full[i] = x.sparse.indptr[i + 1] - x.sparse.indptr[i];
            std::sort(full.rbegin(), full.rend());
            for (std::int64_t i = 0; i < std::min(capacity, x.rows()); ++i) room += full[i];
            given_.reserve(capacity, room);
        }
        room = std::max(room, compress_places(most_of(capacity), cols));
        rows_.reserve(capacity, room);
        columns_.reserve(cols, room);
        if (corruption == Corruption::salt_and_pepper) {
            low_.assign(low, low + cols);
            high_.assign(high, high + cols);
        }
    }

    // Rows order[first], order[first + 1], ..., or first, first + 1, ... without order. They draw as rows first_row, ... of draw.
    void gather(const std::int64_t* order, std::int64_t first, std::int64_t n, const Draw& draw, std::int64_t first_row = 0) {
        const std::int64_t cols = x_.cols();
        const auto source = [&](std::int64_t i) { return order ? order[first + i] : first + i; };
        if (x_.dense && corruption_ == Corruption::none) {  // sparse rows are not copied first
            const bool sparse = order ? compress_if_sparse(x_.dense, order + first, n)
                                      : compress_if_sparse(x_.dense.rows_from(first, n), nullptr, n);
            if (sparse) {
                target_states_ = input_states_;
                return;
            }
        }
        if (x_.dense) {
            for (std::int64_t i = 0; i < n; ++i) {
                const T* from = x_.dense.row(source(i));
                std::copy(from, from + cols, target_.data() + i * cols);
            }
            target_states_ = Matrix<const T>(target_.data(), n, cols);
        } else {
            given_.indptr[0] = 0;
            for (std::int64_t i = 0; i < n; ++i) {
                std::int64_t to = given_.indptr[i];
                const SparseRows<T>& from = x_.sparse;
                for (std::int64_t k = from.indptr[source(i)]; k < from.indptr[source(i) + 1]; ++k, ++to) {
                    given_.indices[to] = from.indices[k];
                    given_.values[to] = from.values ? from.values[k] : T(1);
                }
                given_.indptr[i + 1] = to;
            }
            target_states_ = SparseRows<T>{given_.indptr.data(), given_.indices.data(), given_.values.data(), n, cols};
        }
        see(n, draw, first_row);
    }

    const States<T>& target() const { return target_states_; }
    const States<T>& input() const { return input_states_; }
    const SparseRows<T>& columns() const { return columns_view_; }  // of a sparse input

private:
    // Beyond this share of entries that are not 0 the dense product is faster.
    static constexpr double most_dense = 0.4;

    struct Sparse {
        std::vector<std::int64_t> indptr;
        std::vector<std::int32_t> indices;
        AlignedVector<T> values;

        void reserve(std::int64_t rows, std::int64_t entries) {
            indptr.resize(rows + 1);
            indices.resize(entries + 16);
            values.resize(entries + 16);
        }
    };

    void see(std::int64_t n, const Draw& draw, std::int64_t first_row) {
        const std::int64_t cols = x_.cols();
        if (corruption_ == Corruption::none) {
            input_states_ = target_states_;
            if (x_.is_sparse()) keep_columns(target_states_.sparse);
            return;
        }
        const Matrix<T> seen(input_.data(), n, cols);
        if (x_.dense) {
            std::copy(target_.data(), target_.data() + n * cols, input_.data());
        } else {
            std::fill(input_.data(), input_.data() + n * cols, T(0));
            const SparseRows<T>& given = target_states_.sparse;
            for (std::int64_t i = 0; i < n; ++i) {
                for (std::int64_t k = given.indptr[i]; k < given.indptr[i + 1]; ++k) seen.row(i)[given.indices[k]] = given.values[k];
            }
        }
        corrupt<T>(context_, corruption_, level_, draw, static_cast<std::uint32_t>(first_row), low_.data(), high_.data(), groups_.data(),
                   static_cast<std::int64_t>(groups_.size()), seen);
        if (!compress_if_sparse(seen, nullptr, n)) input_states_ = seen;
    }

    std::int64_t most_of(std::int64_t rows) const {
        return static_cast<std::int64_t>(most_dense * static_cast<double>(rows * x_.cols()));
    }

    // Whether what the encoder sees, these rows, is sparse.
    bool compress_if_sparse(Matrix<const T> from, const std::int64_t* order, std::int64_t n) {
        const SparseRows<T> rows = compress(from, order, n, most_of(n), rows_.indptr.data(), rows_.indices.data(), rows_.values.data());
        if (!rows.indptr) return false;
        input_states_ = rows;
        keep_columns(rows);
        return true;
    }

    void keep_columns(const SparseRows<T>& rows) {
        columns_view_ = sparse_columns(rows, columns_.indptr.data(), columns_.indices.data(), columns_.values.data());
    }

    Context& context_;
    const States<T>& x_;
    Corruption corruption_;
    T level_;
    const std::vector<OutputGroup>& groups_;
    std::vector<T> low_, high_;
    AlignedVector<T> target_, input_;
    Sparse given_, rows_, columns_;
    States<T> target_states_, input_states_;
    SparseRows<T> columns_view_;
};

}  // namespace harmonium
