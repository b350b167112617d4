// Matrix products by cuBLASLt, which is loaded when the first product is asked for: a module that links it would not
// import where it is missing.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

namespace harmonium::cuda {

struct State;

// bf16: A and B in bfloat16, C and the sums in float32. f32: float32 throughout, never TF32.
enum class Product { f32, f64, bf16 };

// Row-major, in elements; op transposes on request.
struct Operand {
    const void* data;
    std::int64_t stride;
    bool transposed;
};

struct Plan;
struct ProductPlans {
    using Key = std::tuple<Product, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, bool, bool, std::uint32_t, std::uint32_t, std::uint32_t>;
    std::map<Key, std::shared_ptr<Plan>> known;
};

// C = alpha op(A) op(B) + beta C, op(A): m x k, op(B): k x n, C: m x n, on the state's stream; m, n, k > 0.
// What cuBLASLt proposes for a shape is asked once for each State.
void multiply(State& state, Product product, std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const Operand& a,
              const Operand& b, double beta, void* c, std::int64_t c_stride);

// "" where the library can be loaded, else why not.
const std::string& cublas_missing();

}  // namespace harmonium::cuda
