// Handles of CUDA that free themselves: a captured graph, an event, a stream.
#pragma once

#include <utility>

#include "check.cuh"

namespace harmonium::cuda {

class Graph {
public:
    Graph() = default;
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    ~Graph() {
        if (executable_) CUDA_IGNORE(cudaGraphExecDestroy(executable_));
    }

    // What body() queues on the stream is kept, not run. It must not allocate or wait.
    template <class Body>
    void capture(cudaStream_t stream, const Body& body) {
        cudaGraph_t graph = nullptr;
        CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        try {
            body();
        } catch (...) {
            CUDA_IGNORE(cudaStreamEndCapture(stream, &graph));
            if (graph) CUDA_IGNORE(cudaGraphDestroy(graph));
            throw;
        }
        CUDA_CHECK(cudaStreamEndCapture(stream, &graph));
        const cudaError_t error = cudaGraphInstantiate(&executable_, graph);
        CUDA_IGNORE(cudaGraphDestroy(graph));
        if (error != cudaSuccess) throw_cuda_error(error, "cudaGraphInstantiate", __FILE__, __LINE__);
    }
    void launch(cudaStream_t stream) const { CUDA_CHECK(cudaGraphLaunch(executable_, stream)); }
    explicit operator bool() const { return executable_ != nullptr; }

private:
    cudaGraphExec_t executable_ = nullptr;
};

class Event {
public:
    Event() { CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    ~Event() { CUDA_IGNORE(cudaEventDestroy(event_)); }

    void record(cudaStream_t stream) { CUDA_CHECK(cudaEventRecord(event_, stream)); }
    void wait() const { CUDA_CHECK(cudaEventSynchronize(event_)); }
    void hold(cudaStream_t stream) const { CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }  // its later work, until the event

private:
    cudaEvent_t event_ = nullptr;
};

class CopyStream {
public:
    CopyStream() { CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
    CopyStream(const CopyStream&) = delete;
    CopyStream& operator=(const CopyStream&) = delete;
    ~CopyStream() {
        CUDA_IGNORE(cudaStreamSynchronize(stream));
        CUDA_IGNORE(cudaStreamDestroy(stream));
    }

    cudaStream_t stream = nullptr;
};

}  // namespace harmonium::cuda
