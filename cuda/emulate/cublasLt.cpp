#include "cublasLt.h"

#include <cstring>
#include <vector>

#include "cuda_bf16.h"
#include "state.hpp"

struct cublasLtMatmulDescOpaque {
    cublasComputeType_t compute;
    cudaDataType_t scale;
    int transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
};
struct cublasLtMatrixLayoutOpaque {
    cudaDataType_t type;
    std::uint64_t rows, cols;
    std::int64_t ld;
};
struct cublasLtMatmulPreferenceOpaque {
    std::uint32_t alignment[4] = {256, 256, 256, 256};  // of a, b, c, d
};

namespace {

using Layout = cublasLtMatrixLayoutOpaque;

std::size_t bytes_of(const Layout& layout) {
    const std::size_t element = layout.type == CUDA_R_64F ? 8 : layout.type == CUDA_R_32F ? 4 : 2;
    if (!layout.rows || !layout.cols) return 0;
    return ((layout.cols - 1) * static_cast<std::size_t>(layout.ld) + layout.rows) * element;
}

float number(float x) { return x; }
double number(double x) { return x; }
float number(__nv_bfloat16 x) { return __bfloat162float(x); }

// op(A) as rows of k numbers, op(B) as columns of k: columns in memory, as BLAS has them.
template <class From, class T>
std::vector<T> along_inner(const void* data, const Layout& layout, bool inner_is_rows) {
    const auto* from = static_cast<const From*>(data);
    const std::uint64_t k = inner_is_rows ? layout.rows : layout.cols, outer = inner_is_rows ? layout.cols : layout.rows;
    const auto ld = static_cast<std::uint64_t>(layout.ld);
    std::vector<T> out(k * outer);
    for (std::uint64_t i = 0; i < outer; ++i) {
        for (std::uint64_t j = 0; j < k; ++j) out[i * k + j] = number(from[inner_is_rows ? i * ld + j : j * ld + i]);
    }
    return out;
}

template <class From, class T>
void multiply(const cublasLtMatmulDescOpaque& desc, T alpha, const void* a, const Layout& la, const void* b, const Layout& lb,
              T beta, const T* c, const Layout& lc, T* d, const Layout& ld) {
    const std::vector<T> left = along_inner<From, T>(a, la, desc.transpose_a == CUBLAS_OP_T);
    const std::vector<T> right = along_inner<From, T>(b, lb, desc.transpose_b == CUBLAS_OP_N);
    const std::uint64_t k = desc.transpose_a == CUBLAS_OP_T ? la.rows : la.cols;
    for (std::uint64_t j = 0; j < ld.cols; ++j) {
        for (std::uint64_t i = 0; i < ld.rows; ++i) {
            T sum = 0;
            for (std::uint64_t l = 0; l < k; ++l) sum += left[i * k + l] * right[j * k + l];
            T& out = d[j * static_cast<std::uint64_t>(ld.ld) + i];
            out = beta == T(0) ? alpha * sum : alpha * sum + beta * c[j * static_cast<std::uint64_t>(lc.ld) + i];
        }
    }
}

bool on_device(const void* pointer, std::size_t bytes) {
    using namespace harmonium_emulate;
    if (!bytes) return true;
    const Memory* memory = find(state().device, pointer);
    return memory && memory == find(state().device, static_cast<const char*>(pointer) + bytes - 1);
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
    return status == CUBLAS_STATUS_INVALID_VALUE ? "CUBLAS_STATUS_INVALID_VALUE"
           : status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_EXECUTION_FAILED";
}
std::size_t cublasLtGetVersion() { return 130000; }
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) { return *handle = nullptr, CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t scale) {
    return *desc = new cublasLtMatmulDescOpaque{compute, scale}, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return delete desc, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              std::size_t bytes) {
    std::int32_t operation;
    if (bytes != sizeof operation) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&operation, value, sizeof operation);
    (attribute == CUBLASLT_MATMUL_DESC_TRANSA ? desc->transpose_a : desc->transpose_b) = operation;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, std::uint64_t rows, std::uint64_t cols,
                                          std::int64_t ld) {
    if (static_cast<std::uint64_t>(ld) < rows) return CUBLAS_STATUS_INVALID_VALUE;
    return *layout = new Layout{type, rows, cols, ld}, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return delete layout, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
    return *p = new cublasLtMatmulPreferenceOpaque, CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return delete p, CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t which, const void* value,
                                                    std::size_t bytes) {
    if (which == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return CUBLAS_STATUS_SUCCESS;
    if (bytes != sizeof(std::uint32_t)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(p->alignment + (which - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES), value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t p, int,
                                              cublasLtMatmulHeuristicResult_t results[], int* found) {
    *found = 0;
    const bool ta = desc->transpose_a == CUBLAS_OP_T, tb = desc->transpose_b == CUBLAS_OP_T;
    if ((ta ? a->rows : a->cols) != (tb ? b->cols : b->rows) || (ta ? a->cols : a->rows) != d->rows ||
        (tb ? b->rows : b->cols) != d->cols || c->rows != d->rows || c->cols != d->cols || a->type != b->type) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    // The tensor cores take rows of bfloat16 at addresses that are multiples of 16 bytes.
    if (a->type == CUDA_R_16BF && (a->ld % 8 || b->ld % 8)) return CUBLAS_STATUS_NOT_SUPPORTED;
    results[0] = cublasLtMatmulHeuristicResult_t{};
    for (int i = 0; i < 4; ++i) results[0].algo.data[i] = p->alignment[i];
    *found = 1;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a, cublasLtMatrixLayout_t la,
                              const void* b, cublasLtMatrixLayout_t lb, const void* beta, const void* c, cublasLtMatrixLayout_t lc,
                              void* d, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t* algo, void* workspace,
                              std::size_t workspace_bytes, cudaStream_t stream) {
    // An algorithm is for addresses as aligned as the preference had said.
    const void* addresses[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i) {
        if (reinterpret_cast<std::uintptr_t>(addresses[i]) % algo->data[i]) return CUBLAS_STATUS_INVALID_VALUE;
    }
    {
        const std::lock_guard<std::recursive_mutex> lock(harmonium_emulate::state().mutex);
        if (!on_device(a, bytes_of(*la)) || !on_device(b, bytes_of(*lb)) || !on_device(c, bytes_of(*lc)) ||
            !on_device(d, bytes_of(*ld)) || !on_device(workspace, workspace_bytes)) {
            return CUBLAS_STATUS_INVALID_VALUE;
        }
    }
    double factors[2];
    std::memcpy(factors, alpha, desc->scale == CUDA_R_64F ? 8 : 4);
    std::memcpy(factors + 1, beta, desc->scale == CUDA_R_64F ? 8 : 4);
    const auto work = [=, desc = *desc, la = *la, lb = *lb, lc = *lc, ld = *ld] {
        if (desc.scale == CUDA_R_64F) {
            multiply<double, double>(desc, factors[0], a, la, b, lb, factors[1], static_cast<const double*>(c), lc, static_cast<double*>(d), ld);
            return cudaSuccess;
        }
        float s, t;
        std::memcpy(&s, factors, 4);
        std::memcpy(&t, factors + 1, 4);
        const auto* from = static_cast<const float*>(c);
        auto* to = static_cast<float*>(d);
        if (la.type == CUDA_R_32F) multiply<float, float>(desc, s, a, la, b, lb, t, from, lc, to, ld);
        else multiply<__nv_bfloat16, float>(desc, s, a, la, b, lb, t, from, lc, to, ld);
        return cudaSuccess;
    };
    return harmonium_emulate::submit("cublasLtMatmul", stream, work) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
