// The emulated GPU itself: what kernels may use gives the right values, and mistakes are found.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

#include "check.hpp"
#include "cuda/emulate/control.hpp"
#include "cuda/launch.cuh"
#include "harmonium/error.hpp"
#include "on_device.hpp"

namespace harmonium_test {

namespace {

using cuda::launch;

// Sums of a block by warp shuffles and shared memory, of all blocks by atomics.
void sum_kernel(const float* x, std::int64_t n, float* sum, unsigned* signs) {
    __shared__ float of_warp[32];
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    float value = i < n ? x[i] : 0.0f;
    const unsigned negative = __ballot_sync(0xFFFFFFFFu, value < 0);
    for (int distance = 16; distance; distance /= 2) value += __shfl_down_sync(0xFFFFFFFFu, value, distance);
    if (threadIdx.x % 32 == 0) {
        of_warp[threadIdx.x / 32] = value;
        atomicAdd(signs, __popc(negative));
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        value = threadIdx.x < blockDim.x / 32 ? of_warp[threadIdx.x] : 0.0f;
        for (int distance = 16; distance; distance /= 2) value += __shfl_xor_sync(0xFFFFFFFFu, value, distance);
        if (threadIdx.x == 0) atomicAdd(sum, value);
    }
    __syncthreads();  // of_warp is the next block's
}

void reverse_kernel(int* x) {
    int* shared = cuda::dynamic_shared<int>();
    shared[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

void diverging_kernel(int) {
    if (threadIdx.x < 16) __syncthreads();
    else __syncthreads();
}
void leaving_kernel(int) {
    if (threadIdx.x == 5) return;
    __syncthreads();
}
void lone_lanes_kernel(int* x) {
    if (threadIdx.x < 16) x[0] = __shfl_sync(0x0000FFFFu, 1, 20);
}
void past_the_end_kernel(float* x, std::int64_t n) { x[n + threadIdx.x] = 1; }

// Whether body() ends the process with this signal.
template <class Body>
bool dies_of(int signal, const Body& body) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

void test_kernels(Context& context) {
    const cudaStream_t stream = cuda::use(context).stream;
    Numbers<float> x(1, 1000);
    double expected = 0;
    unsigned negative = 0;
    for (int i = 0; i < 1000; ++i) {
        x.data[static_cast<std::size_t>(i)] = static_cast<float>(i % 7 - 3);  // sums without rounding
        expected += i % 7 - 3, negative += i % 7 < 3;
    }
    for (const bool reversed : {false, true}) {
        harmonium_emulate::set_last_block_first(reversed);
        const OnDevice<float> from(context, x.data), sum(context, std::vector<float>{0});
        const OnDevice<unsigned> signs(context, std::vector<unsigned>{0});
        launch(stream, sum_kernel, 4, 256, 0, from.memory.data(), 1000, sum.memory.data(), signs.memory.data());
        CHECK(sum.on_host()[0] == static_cast<float>(expected));
        CHECK(signs.on_host()[0] == negative);
    }
    harmonium_emulate::set_last_block_first(false);
    std::vector<int> order(1024);
    for (int i = 0; i < 1024; ++i) order[static_cast<std::size_t>(i)] = i;
    const OnDevice<int> ints(context, order);
    launch(stream, reverse_kernel, 1, 1024, 100 << 10, ints.memory.data());
    CHECK(ints.on_host() == std::vector<int>(order.rbegin(), order.rend()));
    CHECK_THROWS(std::runtime_error, "test_emulation.cpp", launch(stream, reverse_kernel, 1, 1024, 300 << 10, ints.memory.data()));
    CHECK_THROWS(std::runtime_error, "a block of 2048 threads", launch(stream, reverse_kernel, 1, 2048, 0, ints.memory.data()));

    // A graph runs as often as it is launched, not when it is captured.
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    launch(stream, reverse_kernel, 1, 1024, 4096, ints.memory.data());
    CHECK_THROWS(std::runtime_error, "while a stream is captured", cuda::DeviceBuffer<int>(1));
    CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(ints.on_host()[0] == 1023);
    CUDA_CHECK(cudaGraphInstantiate(&executable, graph));
    for (int i = 0; i < 3; ++i) CUDA_CHECK(cudaGraphLaunch(executable, stream));
    CHECK(ints.on_host()[0] == 0);
    CUDA_CHECK(cudaGraphExecDestroy(executable));
    CUDA_CHECK(cudaGraphDestroy(graph));
}

void test_mistakes(Context& context) {
    const cudaStream_t stream = cuda::use(context).stream;
    const OnDevice<int> ints(context, std::vector<int>(64));
    const auto fails = [&](const char* part, void (*kernel)(int)) {
        launch(stream, kernel, 1, 64, 0, 0);
        CHECK_THROWS(std::runtime_error, part, context.synchronize());
        CHECK_THROWS(std::runtime_error, "LaunchFailure", context.synchronize());  // a dead device stays dead
        harmonium_emulate::reset();
    };
    fails("have diverged", diverging_kernel);
    fails("has ended", leaving_kernel);
    launch(stream, lone_lanes_kernel, 1, 64, 0, ints.memory.data());
    CHECK_THROWS(std::runtime_error, "a lane that the mask leaves out", context.synchronize());
    harmonium_emulate::reset();
    std::vector<float> on_host(4);
    CHECK_THROWS(std::runtime_error, "host memory", launch(stream, past_the_end_kernel, 1, 1, 0, on_host.data(), 0));
    const OnDevice<float> four(context, on_host);
    CHECK(dies_of(SIGSEGV, [&] {
        launch(stream, past_the_end_kernel, 1, 1, 0, four.memory.data(), 4);
        context.synchronize();
    }));
    CHECK(dies_of(SIGSEGV, [&] { std::printf("%g", static_cast<double>(four.memory.data()[0])); }));

    // Queued work is done when somebody waits for it, and not before.
    const cuda::HostBuffer<float> pinned(4);
    pinned.data()[0] = 5;
    CUDA_CHECK(cudaMemcpyAsync(pinned.data(), four.memory.data(), 16, cudaMemcpyDeviceToHost, stream));
    CHECK(pinned.data()[0] == 5);
    context.synchronize();
    CHECK(pinned.data()[0] == 0);

    harmonium_emulate::set_memory_limit(harmonium_emulate::memory_in_use() + 100);
    CHECK_THROWS(OutOfDeviceMemory, "104 bytes more were asked for", cuda::DeviceBuffer<double>(13));
    harmonium_emulate::set_memory_limit(std::size_t(2) << 30);
    harmonium_emulate::fail_call(2, cudaErrorLaunchFailure);
    CHECK_THROWS(std::runtime_error, "injected into cudaStreamSynchronize", context.synchronize());
    harmonium_emulate::reset();
    harmonium_emulate::set_devices(1, 7);
    CHECK(cuda_status() == "off: emulated GPU has compute capability 7.0, 8.0 or later is needed");
    CHECK_THROWS(std::runtime_error, "compute capability 7.0", Context(Device{Device::Kind::cuda, 0}));
    harmonium_emulate::set_devices(0, 9);
    CHECK(cuda_status() == "off: the driver finds no GPU");
    harmonium_emulate::set_devices(1, 9);
    CHECK(cuda_available());
}

}  // namespace

void test_emulation() {
    Context context(Device{Device::Kind::cuda, 0});
    test_kernels(context);
    test_mistakes(context);
}

}  // namespace harmonium_test
