// A dictionary made ready for coding, and the memory that coding needs; kept by whoever codes again and again.
#pragma once

#include "aligned.hpp"
#include "harmonium/lasso.hpp"
#include "lasso_kernels.hpp"

namespace harmonium {

template <class T>
class LassoSolver {
public:
    // Rows that can always be coded at a time.
    static constexpr std::int64_t block = 256;

    LassoSolver(Context& context, const LassoOptions& options) : context_(context), options_(options) {}

    // rows: how many will be coded with it, which decides whether D D^T pays; masked: whether entries are missing.
    void set_dictionary(Matrix<const T> dictionary, std::int64_t rows, bool masked);

    // Rows that can be coded at a time: the more, the fewer memory pages two threads touch first at once.
    std::int64_t most_rows() const { return most_rows_; }

    // As lasso(), for at most so many rows, all arguments starting at the first of them. Returns rows left above tol.
    std::int64_t encode(Matrix<const T> x, LassoPenalty alpha, Matrix<const std::uint8_t> observed, Matrix<T> codes,
                        double* gaps, std::int32_t* n_iter, double* objectives = nullptr);

private:
    void prepare(Matrix<const T> x, Matrix<const std::uint8_t> observed, std::int64_t first, std::int64_t last);
    void set_penalty(const double* alpha, std::int64_t stride, double* own, double* inverse) const;
    LassoScratch<double> carve(void* memory) const;
    std::int64_t scratch_bytes() const;

    Context& context_;
    LassoOptions options_;
    std::int64_t atoms_ = 0, features_ = 0, capacity_ = 0, most_rows_ = block;
    bool masked_ = false, with_gram_ = false;
    double lipschitz_ = 0;
    AlignedVector<double> dictionary_, gram_, x_, observed_, correlations_, codes_, penalty_;
    AlignedVector<unsigned char> left_;  // of each row: above tol
};

}  // namespace harmonium
