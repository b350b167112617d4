#include "cublas.cuh"

#include <cublasLt.h>
#include <dlfcn.h>

#include <mutex>

#include "harmonium/device.hpp"
#include "harmonium/error.hpp"
#include "state.cuh"

namespace harmonium {

namespace {
std::string& chosen_path() {
    static std::string path;
    return path;
}
}  // namespace

void set_cublas_path(const std::string& path) { chosen_path() = path; }

namespace cuda {

namespace {

#if defined(HARMONIUM_EMULATE)
constexpr std::int64_t workspace_bytes = 4096;  // emulated products use none, and guarding its pages takes time
#else
constexpr std::int64_t workspace_bytes = std::int64_t(32) << 20;  // what NVIDIA advises for Hopper
#endif

#define HARMONIUM_CUBLAS_FUNCTIONS(X)                                                                               \
    X(cublasLtGetStatusString) X(cublasLtCreate) X(cublasLtMatmulDescCreate) X(cublasLtMatmulDescDestroy)           \
    X(cublasLtMatmulDescSetAttribute) X(cublasLtMatrixLayoutCreate) X(cublasLtMatrixLayoutDestroy)                  \
    X(cublasLtMatmulPreferenceCreate) X(cublasLtMatmulPreferenceDestroy) X(cublasLtMatmulPreferenceSetAttribute)    \
    X(cublasLtMatmulAlgoGetHeuristic) X(cublasLtMatmul)

struct Library {
    std::string missing;
#define HARMONIUM_DECLARE(name) decltype(&::name) name = nullptr;
    HARMONIUM_CUBLAS_FUNCTIONS(HARMONIUM_DECLARE)
#undef HARMONIUM_DECLARE
    cublasLtHandle_t handle[64] = {};  // one for each device, kept for good
    std::mutex mutex;

    Library() {
#if defined(HARMONIUM_EMULATE)
#define HARMONIUM_TAKE(name) name = &::name;
        HARMONIUM_CUBLAS_FUNCTIONS(HARMONIUM_TAKE)
#undef HARMONIUM_TAKE
#else
        const std::string name = chosen_path().empty() ? "libcublasLt.so.13" : chosen_path();
        void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (!library) {
            missing = message("cuBLAS cannot be loaded (", dlerror(), "); pip install nvidia-cublas");
            return;
        }
#define HARMONIUM_TAKE(function)                                                       \
    function = reinterpret_cast<decltype(function)>(dlsym(library, #function));        \
    if (!function) missing = message(name, " has no function " #function);
        HARMONIUM_CUBLAS_FUNCTIONS(HARMONIUM_TAKE)
#undef HARMONIUM_TAKE
#endif
    }
};

Library& library() {
    static Library one;
    return one;
}

void check(cublasStatus_t status, const char* call, const char* file, int line) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    throw std::runtime_error(message(file, ":", line, ": ", call, ": ", library().cublasLtGetStatusString(status)));
}
#define CUBLAS_CHECK(call) check(library().call, #call, __FILE__, __LINE__)

cublasLtHandle_t handle_of(int device) {
    Library& lib = library();
    if (!lib.missing.empty()) throw std::runtime_error(lib.missing);
    require(device >= 0 && device < 64, "device ", device, " is out of range");
    const std::lock_guard<std::mutex> lock(lib.mutex);
    if (!lib.handle[device]) CUBLAS_CHECK(cublasLtCreate(&lib.handle[device]));
    return lib.handle[device];
}

}  // namespace

// What the address is a multiple of, in bytes, up to what cuBLAS takes for granted unless it is told.
static std::uint32_t alignment_of(const void* pointer) {
    const auto bits = reinterpret_cast<std::uintptr_t>(pointer) | 256;
    return static_cast<std::uint32_t>(bits & ~(bits - 1));
}

// cuBLAS counts along columns: C^T = op(B)^T op(A)^T is computed, whose columns are our rows.
struct Plan {
    cublasLtMatmulDesc_t description = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};

    ~Plan() {
        if (a) library().cublasLtMatrixLayoutDestroy(a);
        if (b) library().cublasLtMatrixLayoutDestroy(b);
        if (c) library().cublasLtMatrixLayoutDestroy(c);
        if (description) library().cublasLtMatmulDescDestroy(description);
    }

    void make(cublasLtHandle_t handle, Product product, std::int64_t m, std::int64_t n, std::int64_t k, const Operand& left,
              const Operand& right, const void* out_data, std::int64_t c_stride) {
        const bool wide = product == Product::f64;
        const cudaDataType_t type = wide ? CUDA_R_64F : product == Product::f32 ? CUDA_R_32F : CUDA_R_16BF;
        const cudaDataType_t out = wide ? CUDA_R_64F : CUDA_R_32F;
        CUBLAS_CHECK(cublasLtMatmulDescCreate(&description, wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, out));
        const std::int32_t first = right.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, second = left.transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
        CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first));
        CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(description, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second));
        layout(a, type, right, k, n);
        layout(b, type, left, m, k);
        CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&c, out, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(m), c_stride));
        cublasLtMatmulPreference_t preference = nullptr;
        CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
        const std::size_t most = static_cast<std::size_t>(workspace_bytes);
        cublasLtMatmulHeuristicResult_t result{};
        int found = 0;
        cublasStatus_t status = library().cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                                               &most, sizeof most);
        const std::pair<cublasLtMatmulPreferenceAttributes_t, std::uint32_t> aligned[] = {
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(right.data)}, {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(left.data)},
            {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(out_data)}, {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(out_data)}};
        for (const auto& [which, bytes] : aligned) {
            if (status == CUBLAS_STATUS_SUCCESS) status = library().cublasLtMatmulPreferenceSetAttribute(preference, which, &bytes, sizeof bytes);
        }
        if (status == CUBLAS_STATUS_SUCCESS) {
            status = library().cublasLtMatmulAlgoGetHeuristic(handle, description, a, b, c, c, preference, 1, &result, &found);
        }
        library().cublasLtMatmulPreferenceDestroy(preference);
        check(status == CUBLAS_STATUS_SUCCESS && !found ? CUBLAS_STATUS_NOT_SUPPORTED : status, "cublasLtMatmulAlgoGetHeuristic",
              __FILE__, __LINE__);
        algorithm = result.algo;
    }

private:
    static void layout(cublasLtMatrixLayout_t& made, cudaDataType_t type, const Operand& x, std::int64_t rows, std::int64_t cols) {
        if (x.transposed) std::swap(rows, cols);  // as it lies in memory: rows of `cols` elements
        CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&made, type, static_cast<std::uint64_t>(cols), static_cast<std::uint64_t>(rows), x.stride));
    }
};

void multiply(State& state, Product product, std::int64_t m, std::int64_t n, std::int64_t k, double alpha, const Operand& a,
              const Operand& b, double beta, void* c, std::int64_t c_stride) {
    const cublasLtHandle_t handle = handle_of(state.index);
    auto& plan = state.plans.known[{product, m, n, k, a.stride, b.stride, c_stride, a.transposed, b.transposed,
                                    alignment_of(a.data), alignment_of(b.data), alignment_of(c)}];
    if (!plan) {
        auto fresh = std::make_shared<Plan>();
        fresh->make(handle, product, m, n, k, a, b, c, c_stride);
        plan = std::move(fresh);
    }
    void* workspace = state.scratch<unsigned char>(Scratch::workspace, workspace_bytes);
    const float factors[] = {static_cast<float>(alpha), static_cast<float>(beta)};
    const bool wide = product == Product::f64;
    const void *alpha_at = wide ? static_cast<const void*>(&alpha) : factors, *beta_at = wide ? static_cast<const void*>(&beta) : factors + 1;
    CUBLAS_CHECK(cublasLtMatmul(handle, plan->description, alpha_at, b.data, plan->a, a.data, plan->b, beta_at, c, plan->c, c, plan->c,
                                &plan->algorithm, workspace, static_cast<std::size_t>(workspace_bytes), state.stream));
}

const std::string& cublas_missing() { return library().missing; }

}  // namespace cuda
}  // namespace harmonium
