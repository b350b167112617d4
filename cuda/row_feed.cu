#include "row_feed.cuh"

#include "copy.cuh"
#include "launch.cuh"
#include "reduce.cuh"

namespace harmonium::cuda {

namespace {

constexpr std::int64_t block_bytes = std::int64_t(32) << 20;  // so large copies run at the bus's full rate

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
        const std::int64_t row = from.row(first + i);
        const auto store = [&](std::int64_t j, T value) {
            out.row(i)[j] = value;
            if (again) again.row(i)[j] = value;
        };
        for (std::int64_t j = threadIdx.x; j < out.cols; j += blockDim.x) store(j, from.value(row, j));
        if (!from.sparse.indptr) continue;
        __syncthreads();
        from.for_entries(row, threadIdx.x, blockDim.x, store);
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

// Rows of numbers at multiples of 16 bytes.
template <class T>
std::int64_t RowFeed<T>::stride() const {
    return (x_.cols() + 3) / 4 * 4;
}

template <class T>
RowFeed<T>::RowFeed(Context& context, const States<T>& x, std::int64_t batch_size, bool stay) : state_(use(context)), x_(x) {
    all_.rows = x.rows();
    if (x.rows() == 0) return;
    const void* begin = x.dense.data;
    if (x.is_bits()) begin = x.bits.data;
    if (x.is_sparse()) begin = x.sparse.indptr;
    if (on_device(begin)) {
        all_.bits = x.bits, all_.dense = x.dense, all_.sparse = x.sparse;
        return;
    }
    std::int64_t row_bytes = x.is_bits() ? x.bits.words() * 8 : stride() * static_cast<std::int64_t>(sizeof(T)), bytes = x.rows() * row_bytes;
    if (x.is_sparse()) {
        const std::int64_t entries = x.sparse.indptr[x.rows()] - x.sparse.indptr[0];
        bytes = (x.rows() + 1) * 8 + entries * (4 + (x.sparse.values ? static_cast<std::int64_t>(sizeof(T)) : 0));
        row_bytes = bytes / x.rows();
    }
    std::size_t free = 0, total = 0;
    CUDA_CHECK(cudaMemGetInfo(&free, &total));
    if (stay && static_cast<double>(bytes) <= resident_share * static_cast<double>(free)) {
        keep();
        return;
    }
    const std::int64_t batch_bytes = std::max<std::int64_t>(row_bytes, 1) * batch_size;
    const auto most = std::min(block_bytes, static_cast<std::int64_t>(free / 8));  // of two blocks, beside those of another feed
    block_rows_ = std::max<std::int64_t>(most / batch_bytes, 1) * batch_size;
    copies_ = std::make_unique<CopyStream>();
    for (int i = 0; i < 2; ++i) blocks_.push_back(std::make_unique<Block>());
}

// Rows of pageable memory: the driver copies them in pieces, and has read them when the stream has come so far.
template <class T>
void RowFeed<T>::keep() {
    const auto copy = [&](auto& to, const auto* from, std::int64_t count) {
        to = std::decay_t<decltype(to)>(static_cast<std::size_t>(count));
        if (count > 0) CUDA_CHECK(cudaMemcpyAsync(to.data(), from, static_cast<std::size_t>(count) * sizeof(*from), cudaMemcpyHostToDevice, state_.stream));
    };
    std::vector<std::int64_t> indptr;
    if (x_.is_sparse()) {
        const SparseRows<T>& from = x_.sparse;
        const std::int64_t first = from.indptr[0], entries = from.indptr[from.rows] - first;
        indptr.assign(from.indptr, from.indptr + from.rows + 1);
        for (std::int64_t& place : indptr) place -= first;
        copy(kept_.indptr, indptr.data(), from.rows + 1);
        copy(kept_.indices, from.indices + first, entries);
        if (from.values) copy(kept_.values, from.values + first, entries);
        all_.sparse = {kept_.indptr.data(), kept_.indices.data(), kept_.values.data(), from.rows, from.cols};
    } else if (x_.is_bits()) {
        const std::int64_t words = x_.bits.words();
        kept_.words = DeviceBuffer<std::uint64_t>(static_cast<std::size_t>(x_.rows() * words));
        copy_rows(state_, Matrix<const std::uint64_t>(x_.bits.data, x_.rows(), words, x_.bits.stride),
                  Matrix<std::uint64_t>(kept_.words.data(), x_.rows(), words));
        all_.bits = ConstBitMatrix(kept_.words.data(), x_.rows(), x_.cols());
    } else {
        kept_.values = DeviceBuffer<T>(static_cast<std::size_t>(x_.rows() * stride()));
        copy_rows(state_, x_.dense, Matrix<T>(kept_.values.data(), x_.rows(), x_.cols(), stride()));
        all_.dense = Matrix<const T>(kept_.values.data(), x_.rows(), x_.cols(), stride());
    }
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
    std::int64_t entries = 1, in_block = 0;
    for (std::int64_t i = 0; x_.is_sparse() && i < n; ++i) {
        if (i % block_rows_ == 0) in_block = 0;
        const std::int64_t row = order ? order[i] : i;
        in_block += x_.sparse.indptr[row + 1] - x_.sparse.indptr[row];
        entries = std::max(entries, in_block);
    }
    CUDA_CHECK(cudaStreamSynchronize(copies_->stream));
    CUDA_CHECK(cudaStreamSynchronize(state_.stream));
    const auto both = [](auto& host, auto& device, std::int64_t count) {
        host.reserve(static_cast<std::size_t>(count));
        device.reserve(static_cast<std::size_t>(count));
    };
    for (const auto& block : blocks_) {
        Rows<OnHost>& host = block->host;
        Rows<OnDevice>& device = block->device;
        if (x_.is_bits()) both(host.words, device.words, rows * x_.bits.words());
        if (x_.dense) both(host.values, device.values, rows * stride());
        if (!x_.is_sparse()) continue;
        both(host.indptr, device.indptr, rows + 1);
        both(host.indices, device.indices, entries);
        if (x_.sparse.values) both(host.values, device.values, entries);
    }
}

// Gathers rows [first, first + n) of the order into pinned memory and copies them on the stream of copies.
template <class T>
void RowFeed<T>::fill(const std::int64_t* order, std::int64_t first, std::int64_t n) {
    Block& block = *blocks_[static_cast<std::size_t>(first / block_rows_ % 2)];
    block.copied.wait();
    block.used.hold(copies_->stream);
    Rows<OnHost>& host = block.host;
    Rows<OnDevice>& device = block.device;
    const auto source = [&](std::int64_t i) { return order ? order[first + i] : first + i; };
    const auto copy = [&](auto& to, const auto& from, std::int64_t count) {
        if (count > 0) {
            CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), static_cast<std::size_t>(count) * sizeof(*from.data()), cudaMemcpyHostToDevice, copies_->stream));
        }
    };
    const auto gather = [&](auto* to, const auto& from, std::int64_t cols, std::int64_t stride) {
        for (std::int64_t i = 0; i < n; ++i, to += stride) std::copy(from.row(source(i)), from.row(source(i)) + cols, to);
    };
    block.view = RowBlock<T>();
    block.view.rows = n;
    if (x_.is_sparse()) {
        std::int64_t* indptr = host.indptr.data();
        indptr[0] = 0;
        for (std::int64_t i = 0; i < n; ++i) {
            const std::int64_t from = x_.sparse.indptr[source(i)], to = x_.sparse.indptr[source(i) + 1];
            std::copy(x_.sparse.indices + from, x_.sparse.indices + to, host.indices.data() + indptr[i]);
            if (x_.sparse.values) std::copy(x_.sparse.values + from, x_.sparse.values + to, host.values.data() + indptr[i]);
            indptr[i + 1] = indptr[i] + to - from;
        }
        copy(device.indptr, host.indptr, n + 1);
        copy(device.indices, host.indices, indptr[n]);
        if (x_.sparse.values) copy(device.values, host.values, indptr[n]);
        block.view.sparse = {device.indptr.data(), device.indices.data(), device.values.data(), n, x_.cols()};
    } else if (x_.is_bits()) {
        gather(host.words.data(), x_.bits, x_.bits.words(), x_.bits.words());
        copy(device.words, host.words, n * x_.bits.words());
        block.view.bits = ConstBitMatrix(device.words.data(), n, x_.cols());
    } else {
        gather(host.values.data(), x_.dense, x_.cols(), stride());
        copy(device.values, host.values, n * stride());
        block.view.dense = Matrix<const T>(device.values.data(), n, x_.cols(), stride());
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
