#include "row_feed.cuh"

#include "launch.cuh"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

constexpr std::int64_t block_bytes = std::int64_t(32) << 20;  // so large copies run at the bus's full rate

template <class T>
std::int64_t padded(std::int64_t cols) {  // rows at multiples of 16 bytes
    return (cols + 3) / 4 * 4;
}

template <class T>
__global__ void set_place_kernel(Place<T>* place, Place<T> value) {
    *place = value;
}

// A block takes a row.
template <class T>
__global__ void gather_kernel(const Place<T>* place, std::int64_t batch_size, Matrix<T> out, Matrix<T> again) {
    const RowBlock<T> from = place->block;
    const std::int64_t first = place->batch * batch_size;
    for (std::int64_t i = blockIdx.x; i < out.rows; i += gridDim.x) {
        const std::int64_t at = first + i, row = from.order ? from.order[at] : at;
        const bool sparse = from.sparse.indptr != nullptr;
        for (std::int64_t j = threadIdx.x; j < out.cols; j += blockDim.x) {
            const T value = sparse ? T(0) : from.dense.row(row)[j];
            out.row(i)[j] = value;
            if (again) again.row(i)[j] = value;
        }
        if (!sparse) continue;
        __syncthreads();
        for (std::int64_t k = from.sparse.indptr[row] + threadIdx.x; k < from.sparse.indptr[row + 1]; k += blockDim.x) {
            const T value = from.sparse.values ? from.sparse.values[k] : T(1);
            out.row(i)[from.sparse.indices[k]] = value;
            if (again) again.row(i)[from.sparse.indices[k]] = value;
        }
    }
}

template <class T>
__global__ void finish_step_kernel(Place<T>* place, std::int64_t n, const double* first, double factor, const double* second, double* sums) {
    double sum = 0;
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += second ? first[i] + factor * second[i] : first[i];
    sum = block_sum(sum);
    if (threadIdx.x > 0) return;
    sums[place->done] = sum;
    ++place->batch, ++place->done, ++place->step;
}

}  // namespace

bool on_device(const void* pointer) {
    if (!pointer) return false;
    cudaPointerAttributes attributes{};
    CUDA_CHECK(cudaPointerGetAttributes(&attributes, pointer));
    return attributes.type == cudaMemoryTypeDevice;
}

template <class T>
RowFeed<T>::RowFeed(Context& context, const States<T>& x, std::int64_t batch_size) : state_(use(context)), x_(x) {
    all_.rows = x.rows();
    if (x.rows() == 0) return;
    if (on_device(x.is_sparse() ? static_cast<const void*>(x.sparse.indptr) : x.dense.data)) {
        all_.dense = x.dense, all_.sparse = x.sparse;
        return;
    }
    const std::int64_t entries = x.is_sparse() ? x.sparse.indptr[x.rows()] - x.sparse.indptr[0] : x.rows() * padded<T>(x.cols());
    const std::int64_t bytes = x.is_sparse() ? (x.rows() + 1) * 8 + entries * (4 + (x.sparse.values ? static_cast<std::int64_t>(sizeof(T)) : 0))
                                             : entries * static_cast<std::int64_t>(sizeof(T));
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    if (static_cast<double>(bytes) <= resident_share * static_cast<double>(free)) {
        keep();
        return;
    }
    const std::int64_t batch_bytes = std::max<std::int64_t>(bytes / x.rows(), 1) * batch_size;
    const auto most = std::min(block_bytes, static_cast<std::int64_t>(free / 8));  // of two blocks, beside those of another feed
    block_rows_ = std::max<std::int64_t>(most / batch_bytes, 1) * batch_size;
    copies_ = std::make_unique<CopyStream>();
    for (int i = 0; i < 2; ++i) blocks_.push_back(std::make_unique<Block>());
}

// Rows of pageable memory: the driver copies them in pieces, and has read them when the stream has come so far.
template <class T>
void RowFeed<T>::keep() {
    if (x_.is_sparse()) {
        const SparseRows<T>& from = x_.sparse;
        const std::int64_t first = from.indptr[0], entries = from.indptr[from.rows] - first;
        std::vector<std::int64_t> indptr(from.indptr, from.indptr + from.rows + 1);
        for (std::int64_t& place : indptr) place -= first;
        indptr_ = DeviceBuffer<std::int64_t>(indptr.size());
        indices_ = DeviceBuffer<std::int32_t>(static_cast<std::size_t>(entries));
        CUDA_CHECK(cudaMemcpyAsync(indptr_.data(), indptr.data(), indptr.size() * 8, cudaMemcpyHostToDevice, state_.stream));
        if (entries > 0) {
            CUDA_CHECK(cudaMemcpyAsync(indices_.data(), from.indices + first, static_cast<std::size_t>(entries) * 4, cudaMemcpyHostToDevice, state_.stream));
        }
        if (from.values && entries > 0) {
            values_ = DeviceBuffer<T>(static_cast<std::size_t>(entries));
            CUDA_CHECK(cudaMemcpyAsync(values_.data(), from.values + first, static_cast<std::size_t>(entries) * sizeof(T), cudaMemcpyHostToDevice, state_.stream));
        }
        all_.sparse = {indptr_.data(), indices_.data(), values_.data(), from.rows, from.cols};
        CUDA_CHECK(cudaStreamSynchronize(state_.stream));
        return;
    }
    const Matrix<const T>& from = x_.dense;
    const std::int64_t stride = padded<T>(from.cols);
    values_ = DeviceBuffer<T>(static_cast<std::size_t>(from.rows * stride));
    all_.dense = Matrix<const T>(values_.data(), from.rows, from.cols, stride);
    CUDA_CHECK(cudaMemcpy2DAsync(values_.data(), static_cast<std::size_t>(stride) * sizeof(T), from.data, static_cast<std::size_t>(from.stride) * sizeof(T),
                                 static_cast<std::size_t>(from.cols) * sizeof(T), static_cast<std::size_t>(from.rows), cudaMemcpyHostToDevice, state_.stream));
    CUDA_CHECK(cudaStreamSynchronize(state_.stream));
}

template <class T>
RowBlock<T> RowFeed<T>::in_order(const std::int64_t* order, std::int64_t n) {
    RowBlock<T> block = all_;
    block.rows = n;
    if (!order) return block;
    order_.reserve(static_cast<std::size_t>(n));
    CUDA_CHECK(cudaMemcpyAsync(order_.data(), order, static_cast<std::size_t>(n) * 8, cudaMemcpyHostToDevice, state_.stream));
    CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    block.order = order_.data();
    return block;
}

// Memory for the fullest block of this order.
template <class T>
void RowFeed<T>::reserve(const std::int64_t* order, std::int64_t n) {
    const std::int64_t rows = std::min(block_rows_, n);
    std::int64_t most = rows * padded<T>(x_.cols());
    if (x_.is_sparse()) {
        most = 1;
        std::int64_t in_block = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            if (i % block_rows_ == 0) in_block = 0;
            const std::int64_t row = order ? order[i] : i;
            in_block += x_.sparse.indptr[row + 1] - x_.sparse.indptr[row];
            most = std::max(most, in_block);
        }
    }
    CUDA_CHECK(cudaStreamSynchronize(copies_->stream));
    CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    for (const auto& block : blocks_) {
        if (!x_.is_sparse() || x_.sparse.values) {
            block->host_values.reserve(static_cast<std::size_t>(most));
            block->values.reserve(static_cast<std::size_t>(most));
        }
        if (!x_.is_sparse()) continue;
        block->host_indptr.reserve(static_cast<std::size_t>(rows + 1));
        block->indptr.reserve(static_cast<std::size_t>(rows + 1));
        block->host_indices.reserve(static_cast<std::size_t>(most));
        block->indices.reserve(static_cast<std::size_t>(most));
    }
}

// Gathers rows [first, first + n) of the order into pinned memory and copies them on the stream of copies.
template <class T>
void RowFeed<T>::fill(const std::int64_t* order, std::int64_t first, std::int64_t n) {
    Block& block = *blocks_[static_cast<std::size_t>(first / block_rows_ % 2)];
    block.copied.wait();
    block.used.hold(copies_->stream);
    const auto source = [&](std::int64_t i) { return order ? order[first + i] : first + i; };
    const auto copy = [&](auto& to, const auto& from, std::int64_t count) {
        if (count > 0) {
            CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(count) * sizeof(*from.data()), cudaMemcpyHostToDevice, copies_->stream));
        }
    };
    block.view = RowBlock<T>();
    block.view.rows = n;
    if (x_.is_sparse()) {
        std::int64_t* indptr = block.host_indptr.data();
        indptr[0] = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t from = x_.sparse.indptr[source(i)], to = x_.sparse.indptr[source(i) + 1];
            std::copy(x_.sparse.indices + from, x_.sparse.indices + to, block.host_indices.data() + indptr[i]);
            if (x_.sparse.values) std::copy(x_.sparse.values + from, x_.sparse.values + to, block.host_values.data() + indptr[i]);
            indptr[i + 1] = indptr[i] + to - from;
        }
        copy(block.indptr, block.host_indptr, n + 1);
        copy(block.indices, block.host_indices, indptr[n]);
        if (x_.sparse.values) copy(block.values, block.host_values, indptr[n]);
        block.view.sparse = {block.indptr.data(), block.indices.data(), block.values.data(), n, x_.cols()};
    } else {
        const std::int64_t stride = padded<T>(x_.cols());
        for (std::int64_t i = 0; i < n; ++i) {
            const T* from = x_.dense.row(source(i));
            std::copy(from, from + x_.cols(), block.host_values.data() + i * stride);
        }
        copy(block.values, block.host_values, n * stride);
        block.view.dense = Matrix<const T>(block.values.data(), n, x_.cols(), stride);
    }
    block.copied.record(copies_->stream);
}

template <class T>
void set_place(State& state, Place<T>* place, const Place<T>& value) {
    launch(state.stream, set_place_kernel<T>, 1, 1, 0, place, value);
}
template <class T>
void gather(State& state, const Place<T>* place, std::int64_t batch_size, Matrix<T> out, Matrix<T> again) {
    launch(state.stream, gather_kernel<T>, blocks_for(out.rows, 1), 256, 0, place, batch_size, out, again);
}
template <class T>
void finish_step(State& state, Place<T>* place, std::int64_t n, const double* first, double factor, const double* second, double* sums) {
    launch(state.stream, finish_step_kernel<T>, 1, 256, 0, place, n, first, factor, second, sums);
}

#define HARMONIUM_INSTANTIATE(T)                                                                     \
    template class RowFeed<T>;                                                                       \
    template void set_place(State&, Place<T>*, const Place<T>&);                                     \
    template void gather(State&, const Place<T>*, std::int64_t, Matrix<T>, Matrix<T>);               \
    template void finish_step(State&, Place<T>*, std::int64_t, const double*, double, const double*, double*);
HARMONIUM_INSTANTIATE(float)
HARMONIUM_INSTANTIATE(double)
#undef HARMONIUM_INSTANTIATE

}  // namespace harmonium::cuda
