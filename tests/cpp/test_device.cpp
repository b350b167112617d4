// The ops on a GPU, or on the emulated one, against the same ops on the CPU.
#include <stdexcept>

#include "harmonium/bernoulli.hpp"
#include "harmonium/binary_gemm.hpp"
#include "harmonium/dictionary.hpp"
#include "harmonium/error.hpp"
#include "harmonium/gemm.hpp"
#include "harmonium/pack.hpp"
#include "harmonium/random.hpp"

#include "check.hpp"
#include "cuda/binary_gemm.cuh"
#include "on_device.hpp"

namespace harmonium_test {

namespace {

const Device gpu{Device::Kind::cuda, 0};

template <class T>
void test_uniform(std::int64_t rows, std::int64_t cols) {
    Context on_gpu(gpu), cpu;
    const Draw draw(std::uint64_t(7) << 40 | 3, Stream::user, (std::uint64_t(1) << 33) + 5);
    const std::uint32_t first_row = 0xFFFFFFF0u;
    Numbers<T> expected(rows, cols);
    uniform<T>(cpu, draw, first_row, expected.view());
    const OnDevice<T> out(on_gpu, expected.data.size());
    uniform<T>(on_gpu, draw, first_row, out.view(rows, cols));
    CHECK(out.on_host() == expected.data);
}

template <class T>
void test_bernoulli(std::int64_t rows, std::int64_t cols) {
    Context on_gpu(gpu), cpu;
    const Draw draw(11, Stream::hidden, 4);
    const Numbers<T> activation(rows, cols, 1, 6.0), bias(1, cols, 2);
    Numbers<T> p(rows, cols), u(rows, cols);
    bernoulli<T>(cpu, activation.view(), bias.data.data(), T(0.75), draw, 3, p.view(), BitMatrix());
    uniform<T>(cpu, draw, 3, u.view());
    const OnDevice<T> a(on_gpu, activation.data), b(on_gpu, bias.data), probability(on_gpu, p.data.size());
    const Bits none(rows, cols);
    const OnDevice<std::uint64_t> words(on_gpu, none.words.size());
    const BitMatrix bits(words.memory.data(), rows, cols);
    bernoulli<T>(on_gpu, a.view(rows, cols), b.memory.data(), T(0.75), draw, 3, probability.view(rows, cols), bits);
    Numbers<T> q(rows, cols);
    q.data = probability.on_host();
    Bits drawn(rows, cols);
    drawn.words = words.on_host();
    Bits expected(rows, cols);
    for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < cols; ++j) {
            CHECK_NEAR(q.at(i, j), p.at(i, j), 8 * eps<T> * p.at(i, j));  // 4 ulp each
            if (u.at(i, j) < q.at(i, j)) expected.set(i, j);
        }
    }
    CHECK(drawn.words == expected.words);  // the padding's bits too
    // In place, and without one of the outputs.
    bernoulli<T>(on_gpu, a.view(rows, cols), b.memory.data(), T(0.75), draw, 3, Matrix<T>(), bits);
    CHECK(words.on_host() == expected.words);
    bernoulli<T>(on_gpu, a.view(rows, cols), b.memory.data(), T(0.75), draw, 3, a.view(rows, cols), BitMatrix());
    CHECK(a.on_host() == q.data);
}

template <class T>
void test_gemm(std::int64_t m, std::int64_t n, std::int64_t k) {
    Context on_gpu(gpu), cpu;
    for (const bool transpose_a : {false, true}) {
        for (const bool transpose_b : {false, true}) {
            const Numbers<T> a(transpose_a ? k : m, transpose_a ? m : k, 1), b(transpose_b ? n : k, transpose_b ? k : n, 2), c(m, n, 3);
            for (const T beta : {T(0), T(0.5)}) {
                Numbers<T> expected = c;
                gemm<T>(cpu, T(2), a.view(), transpose_a, b.view(), transpose_b, beta, expected.view());
                const OnDevice<T> left(on_gpu, a.data), right(on_gpu, b.data), out(on_gpu, c.data);
                gemm<T>(on_gpu, T(2), left.view(a.rows, a.cols), transpose_a, right.view(b.rows, b.cols), transpose_b, beta, out.view(m, n));
                Numbers<T> actual(m, n);
                actual.data = out.on_host();
                // |a|, |b|, |c| <= 1: two sums of 2 k products, each within 2 k eps of itself.
                const double bound = 2 * (2 * static_cast<double>(k) + 2) * eps<T> * (2 * static_cast<double>(k) + 1);
                for (std::int64_t i = 0; i < m * n; ++i) CHECK_NEAR(actual.at(0, i), expected.at(0, i), bound);
            }
        }
    }
}

// Views that begin anywhere in memory, which cuBLAS's kernels for whole cache lines do not take.
void test_gemm_of_views() {
    Context on_gpu(gpu), cpu;
    const Numbers<float> a(9, 12, 1), b(12, 10, 2);
    for (const std::int64_t first : {0, 1, 2, 4}) {
        Numbers<float> expected(9 - first, 10);
        const Numbers<float> whole(9, 11);
        const auto part = [&](const float* data) { return Matrix<const float>(data + first, 9 - first, 12 - first, 12); };
        gemm<float>(cpu, 1.0f, part(a.data.data()), false, b.view().rows_from(first, 12 - first), false, 0.0f, expected.view());
        const OnDevice<float> left(on_gpu, a.data), right(on_gpu, b.data), out(on_gpu, whole.data);
        const Matrix<float> into(out.memory.data() + first, 9 - first, 10, 11);
        gemm<float>(on_gpu, 1.0f, part(left.memory.data()), false, Matrix<const float>(right.view(12, 10)).rows_from(first, 12 - first), false, 0.0f, into);
        const std::vector<float> all = out.on_host();
        for (std::int64_t i = 0; i < 9 - first; ++i) {
            for (std::int64_t j = 0; j < 10; ++j) {
                CHECK_NEAR(all[static_cast<std::size_t>(i * 11 + j + first)], expected.at(i, j), 24 * eps<float> * 12);
            }
        }
    }
}

template <class T>
void test_sparse_gemm(std::int64_t n, std::int64_t k, std::int64_t m) {
    Context cpu(1), on_gpu(gpu);
    Numbers<T> x = Bits(n, k, 1, 0.3).numbers<T>();
    for (const bool with_values : {false, true}) {
        if (with_values) for (T& value : x.data) value *= T(0.7);
        const Sparse<T> a(x, with_values);
        const OnDevice<std::int64_t> indptr(on_gpu, a.indptr);
        const OnDevice<std::int32_t> indices(on_gpu, a.indices);
        const OnDevice<T> values(on_gpu, a.values);
        const SparseRows<T> there{indptr.memory.data(), indices.memory.data(), values.memory.data(), n, k};
        for (const bool transposed : {false, true}) {
            for (const bool accumulate : {false, true}) {
                const Numbers<T> b(transposed ? m : k, transposed ? k : m, 2);
                Numbers<T> expected(n, m, 3);
                const OnDevice<T> right(on_gpu, b.data), out(on_gpu, expected.data);
                binary_gemm<T>(on_gpu, there, right.view(b.rows, b.cols), transposed, accumulate, out.view(n, m));
                binary_gemm<T>(cpu, a.view(), b.view(), transposed, accumulate, expected.view());
                const std::vector<T> actual = out.on_host();
                // Sums of at most k + 1 numbers below 1, on both sides.
                for (std::size_t i = 0; i < actual.size(); ++i) CHECK_NEAR(actual[i], expected.data[i], 2.0 * static_cast<double>((k + 1) * (k + 1)) * eps<T>);
            }
        }
    }
}

// States by numbers with |b| <= 1 against sums in double; one part fewer loses 2^-17 of each number, and nothing more.
template <class T>
void test_binary_gemm(std::int64_t n, std::int64_t k, std::int64_t m) {
    Context on_gpu(gpu);
    const Bits a(n, k, 1, 0.4);
    const OnDevice<std::uint64_t> words(on_gpu, a.words);
    const ConstBitMatrix bits(words.memory.data(), n, k);
    for (const bool accumulate : {false, true}) {
        for (const int form : {0, 1, 2}) {  // A B, A B^T, A^T B
            const std::int64_t rows = form == 2 ? k : n, inner = form == 2 ? n : k;
            const Numbers<T> b(form == 1 ? m : inner, form == 1 ? inner : m, 2), c(rows, m, 3);
            for (const int parts : {3, 2}) {
                const OnDevice<T> right(on_gpu, b.data), out(on_gpu, c.data);
                const Matrix<const T> factor = right.view(b.rows, b.cols);
                const Matrix<T> to = out.view(rows, m);
                if (parts == 2 && form == 2) cuda::binary_gemm_tn<T>(on_gpu, bits, factor, accumulate, to, parts);
                else if (parts == 2) cuda::binary_gemm<T>(on_gpu, bits, factor, form == 1, accumulate, to, parts);
                else if (form == 2) binary_gemm_tn<T>(on_gpu, bits, factor, accumulate, to, {});
                else binary_gemm<T>(on_gpu, bits, factor, form == 1, accumulate, to);
                const std::vector<T> actual = out.on_host();
                const auto terms = static_cast<double>(inner);
                const double bound = 3 * terms * eps<T> * terms + 2 * eps<T> + (parts == 2 ? terms * 0x1p-17 : 0.0);
                double apart = 0;
                for (std::int64_t i = 0; i < rows; ++i) {
                    for (std::int64_t j = 0; j < m; ++j) {
                        double expected = accumulate ? static_cast<double>(c.at(i, j)) : 0;
                        for (std::int64_t l = 0; l < inner; ++l) {
                            if (form == 2 ? a.at(l, i) : a.at(i, l)) expected += static_cast<double>(form == 1 ? b.at(j, l) : b.at(l, j));
                        }
                        const auto value = static_cast<double>(actual[static_cast<std::size_t>(i * m + j)]);
                        CHECK_NEAR(value, expected, bound);
                        apart = std::max(apart, std::abs(value - expected));
                    }
                }
                if (parts == 2 && sizeof(T) == 4 && inner > 30) CHECK(apart > 0x1p-21);  // two parts are not three
            }
        }
    }
}

void test_transpose(std::int64_t rows, std::int64_t cols) {
    Context on_gpu(gpu), cpu;
    const Bits bits(rows, cols, 11, 0.4);
    Bits expected(cols, rows);
    transpose_bits(cpu, bits.view(), expected.view());
    const OnDevice<std::uint64_t> there(on_gpu, bits.words), out(on_gpu, expected.words.size());
    transpose_bits(on_gpu, {there.memory.data(), rows, cols}, {out.memory.data(), cols, rows});
    CHECK(out.on_host() == expected.words);
}

template <class T>
void test_code_statistics() {
    const std::int64_t n = 40, atoms = 13, features = 9;
    Context on_gpu(gpu), cpu;
    const Numbers<T> x(n, features, 12), values(n, atoms, 13);
    const Bits used(n, atoms, 14, 0.3);
    std::vector<std::int64_t> begin{0};
    std::vector<std::int32_t> index;
    std::vector<T> value;
    for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t k = 0; k < atoms; ++k) {
            if (used.view().bit(i, k)) index.push_back(static_cast<std::int32_t>(k)), value.push_back(values.at(i, k));
        }
        begin.push_back(static_cast<std::int64_t>(index.size()));
    }
    Numbers<double> a(atoms, atoms, 15), b(atoms, features, 16);
    const OnDevice<std::int64_t> begin_there(on_gpu, begin);
    const OnDevice<std::int32_t> index_there(on_gpu, index);
    const OnDevice<T> value_there(on_gpu, value), x_there(on_gpu, x.data);
    const OnDevice<double> a_there(on_gpu, a.data), b_there(on_gpu, b.data);
    code_statistics<T>(on_gpu, {begin_there.memory.data(), index_there.memory.data(), value_there.memory.data(), n, atoms},
                       x_there.view(n, features), 0.5, 0.25, a_there.view(atoms, atoms), b_there.view(atoms, features));
    code_statistics<T>(cpu, {begin.data(), index.data(), value.data(), n, atoms}, x.view(), 0.5, 0.25, a.view(), b.view());
    const std::vector<double> actual_a = a_there.on_host(), actual_b = b_there.on_host();
    for (std::size_t i = 0; i < actual_a.size(); ++i) CHECK_NEAR(actual_a[i], a.data[i], 2 * n * eps<double>);
    for (std::size_t i = 0; i < actual_b.size(); ++i) CHECK_NEAR(actual_b[i], b.data[i], 2 * n * eps<double>);
}

}  // namespace

void test_device() {
    for (const auto& [n, k, m] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>(1, 1, 1), {3, 70, 5}, {40, 33, 65}}) {
        test_binary_gemm<float>(n, k, m);
        test_binary_gemm<double>(n, k, m);
        test_sparse_gemm<float>(n, k, m);
        test_sparse_gemm<double>(n, k, m);
    }
    for (const auto& [rows, cols] : {std::pair<std::int64_t, std::int64_t>(1, 1), {3, 64}, {70, 130}, {2, 5000}, {66000, 3}}) {
        test_uniform<float>(rows, cols);
        test_uniform<double>(rows, cols);
        test_bernoulli<float>(rows, cols);
        test_bernoulli<double>(rows, cols);
    }
    for (const std::int64_t k : {0, 1, 33, 200}) {
        test_gemm<float>(17, 29, k);
        test_gemm<double>(40, 8, k);
    }
    test_gemm_of_views();
    test_transpose(1, 1), test_transpose(70, 130), test_transpose(64, 3), test_transpose(129, 300);
    test_code_statistics<float>();
    test_code_statistics<double>();
    Context on_gpu(gpu);
    CHECK_THROWS(std::invalid_argument, "no CUDA kernel", on_gpu.parallel_for(1, [](std::int64_t, int) {}));
    // Whatever they would read is on the GPU.
    const OnDevice<float> numbers(on_gpu, 12);
    const std::vector<std::int64_t> none(3);
    const SparseRows<float> codes{none.data(), nullptr, numbers.memory.data(), 2, 0};
    CHECK_THROWS(std::invalid_argument, "binary_gemm of panels: it has no CUDA kernel",
                 binary_gemm<float>(on_gpu, States<float>(codes), Panels<const float>(), false, false, Panels<float>(numbers.memory.data(), 2, 0)));
    CHECK_THROWS(std::runtime_error, "there is no GPU 63", Context(Device{Device::Kind::cuda, 63}));
    CHECK_THROWS(OutOfDeviceMemory, "streamed in batches", cuda::DeviceBuffer<char>(std::size_t(1) << 50));
}

}  // namespace harmonium_test
