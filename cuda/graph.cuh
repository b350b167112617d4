// Handles of CUDA that free themselves: a captured graph, an event, a stream; and steps that are replayed.
#pragma once

#include <cstdint>
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

// A step that is queued again and again: directly at first, which plans products and takes scratch memory, from then on as a
// graph. The host is at most 128 steps ahead of the device: Ctrl-C is answered within them.
class Replay {
public:
    template <class Body>
    void queue(cudaStream_t stream, const Body& body) {
        if (!warm_) {
            body();
            warm_ = true;
        } else {
            if (!graph_) graph_.capture(stream, body);
            graph_.launch(stream);
        }
        keep_pace(stream);
    }
    // A step of another kind in between.
    template <class Body>
    void once(cudaStream_t stream, const Body& body) {
        body();
        keep_pace(stream);
    }

private:
    void keep_pace(cudaStream_t stream) {
        if (++queued_ % 64) return;
        pace_[1 - queued_ / 64 % 2].wait();
        pace_[queued_ / 64 % 2].record(stream);
    }

    bool warm_ = false;
    std::uint64_t queued_ = 0;
    Graph graph_;
    Event pace_[2];
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
