#include <chrono>
#include <cstring>
#include <sstream>

#include "kernel_run.hpp"
#include "state.hpp"

using namespace harmonium_emulate;

struct CUevent_st {
    cudaStream_t stream = nullptr;
    std::uint64_t position = 0;
    Recording recording;
};
struct CUgraph_st {
    Recording recording;
};
struct CUgraphExec_st {
    Recording recording;
};

namespace harmonium_emulate {

namespace {

cudaStream_t or_default(cudaStream_t stream) {
    static CUstream_st default_stream;
    state().streams.insert(&default_stream);
    return reinterpret_cast<std::uintptr_t>(stream) > 2 ? stream : &default_stream;  // 1, 2: cudaStreamLegacy, PerThread
}

// Work waits in its stream until somebody waits for it: who forgets to wait finds it undone. Kernels fail here.
cudaError_t drain(cudaStream_t stream, std::uint64_t until) {
    const DeviceOpen open;
    while (stream->dropped + stream->done < until && stream->done < stream->queue.size()) {
        const Work work = stream->queue[stream->done++];
        if (const cudaError_t error = work()) return state().sticky = error;
    }
    if (stream->done == stream->queue.size()) {
        stream->dropped += stream->done;
        stream->queue.clear();
        stream->done = 0;
    }
    return state().sticky;
}

cudaError_t drain(cudaStream_t stream) { return drain(stream, ~std::uint64_t(0)); }

}  // namespace

State& state() {
    static State* one = new State;  // never destroyed: streams may outlive static objects
    return *one;
}

cudaError_t fail(cudaError_t error, const std::string& detail) {
    state().detail = detail;
    return state().last = error;
}

Call::Call(const char* name, bool allowed_in_capture) : lock_(state().mutex) {
    State& s = state();
    if (++s.calls == s.fail_at) {
        error = fail(s.fail_with, std::string("injected into ") + name);
        if (error == cudaErrorLaunchFailure || error == cudaErrorIllegalAddress) s.sticky = error;
    } else if (s.sticky) {
        error = s.sticky;
    } else if (s.captures && !allowed_in_capture) {
        error = fail(cudaErrorStreamCaptureUnsupported, std::string(name) + " while a stream is captured");
    }
}

cudaError_t drain_all() {
    for (const auto stream : state().streams) {
        if (const cudaError_t error = drain(stream)) return error;
    }
    return cudaSuccess;
}

cudaError_t submit(const char* name, cudaStream_t stream, Work work) {
    const Call call(name, true);
    if (call.error) return call.error;
    stream = or_default(stream);
    (stream->recording ? *stream->recording : stream->queue).push_back(std::move(work));
    return cudaSuccess;
}

void set_devices(int count, int major) { state().device_count = count, state().major = major; }
void fail_call(std::uint64_t n, int error) {
    state().fail_at = n ? state().calls + n : 0;
    state().fail_with = static_cast<cudaError_t>(error);
}
std::uint64_t calls() { return state().calls; }
void set_last_block_first(bool reversed) { state().last_block_first = reversed; }
void reset() {
    State& s = state();
    s.sticky = s.last = cudaSuccess;
    s.fail_at = 0;
    s.captures = 0;
    for (const auto stream : s.streams) stream->queue.clear(), stream->done = 0, stream->recording.reset();
}

}  // namespace harmonium_emulate

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
        case cudaSuccess: return "cudaSuccess";
        case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
        case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
        case cudaErrorInvalidConfiguration: return "cudaErrorInvalidConfiguration";
        case cudaErrorInsufficientDriver: return "cudaErrorInsufficientDriver";
        case cudaErrorNoDevice: return "cudaErrorNoDevice";
        case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
        case cudaErrorNotReady: return "cudaErrorNotReady";
        case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
        case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
        case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
        default: return "cudaErrorUnknown";
    }
}
const char* cudaGetErrorString(cudaError_t error) {
    static thread_local std::string text;
    text = cudaGetErrorName(error);
    if (error && !state().detail.empty()) text += " (" + state().detail + ")";
    return text.c_str();
}
cudaError_t cudaPeekAtLastError() { return state().sticky ? state().sticky : state().last; }
cudaError_t cudaGetLastError() {
    const cudaError_t error = cudaPeekAtLastError();
    state().last = cudaSuccess;
    return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = state().device_count;
    return *count ? cudaSuccess : fail(cudaErrorNoDevice, "");
}
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int device) {
    const Call call("cudaSetDevice", true);
    return call.error ? call.error : device < state().device_count ? cudaSuccess : fail(cudaErrorInvalidDevice, "");
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device) {
    const Call call("cudaGetDeviceProperties", true);
    if (call.error) return call.error;
    if (device >= state().device_count) return fail(cudaErrorInvalidDevice, "");
    *p = cudaDeviceProp{};
    std::strcpy(p->name, "emulated GPU");
    p->totalGlobalMem = state().limit;
    p->sharedMemPerBlock = 48 << 10, p->sharedMemPerBlockOptin = 227 << 10, p->sharedMemPerMultiprocessor = 228 << 10;
    p->major = state().major, p->minor = 0, p->multiProcessorCount = 4, p->warpSize = 32;
    p->maxThreadsPerBlock = 1024, p->maxThreadsPerMultiProcessor = 2048, p->l2CacheSize = 50 << 20;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* version) { return *version = 13000, cudaSuccess; }
cudaError_t cudaDeviceSynchronize() {
    const Call call("cudaDeviceSynchronize");
    return call.error ? call.error : drain_all();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
    const Call call("cudaStreamCreate", true);
    if (call.error) return call.error;
    state().streams.insert(*stream = new CUstream_st);
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    const Call call("cudaStreamDestroy", true);
    const cudaError_t error = call.error ? call.error : drain(stream);
    state().streams.erase(stream);
    delete stream;
    return error;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    const Call call("cudaStreamSynchronize");
    return call.error ? call.error : drain(or_default(stream));
}
cudaError_t cudaStreamQuery(cudaStream_t stream) { return cudaStreamSynchronize(stream); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
    const Call call("cudaEventCreate", true);
    if (call.error) return call.error;
    *event = new CUevent_st;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    const Call call("cudaEventRecord", true);
    if (call.error) return call.error;
    event->stream = or_default(stream);
    event->recording = event->stream->recording;
    event->position = event->stream->dropped + event->stream->queue.size();
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    const Call call("cudaStreamWaitEvent", true);
    if (call.error || !event->stream) return call.error;
    stream = or_default(stream);
    if (event->recording) {
        stream->recording = event->recording;  // the stream joins the capture
    } else if (!stream->recording && stream != event->stream) {
        stream->queue.push_back([from = event->stream, position = event->position] { return drain(from, position); });
    }
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    const Call call("cudaEventSynchronize");
    return call.error || !event->stream ? call.error : drain(event->stream, event->position);
}
cudaError_t cudaEventQuery(cudaEvent_t event) { return cudaEventSynchronize(event); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) { return *milliseconds = 0, cudaSuccess; }

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
    const Call call("cudaStreamBeginCapture", true);
    if (call.error) return call.error;
    if (!stream || stream->recording) return fail(cudaErrorStreamCaptureUnsupported, "the default stream, or one that is captured already");
    stream->recording = std::make_shared<std::vector<Work>>();
    ++state().captures;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Call call("cudaStreamEndCapture", true);
    *graph = nullptr;
    if (call.error || !stream->recording) return call.error ? call.error : fail(cudaErrorStreamCaptureUnsupported, "nothing is captured");
    const Recording recording = stream->recording;
    for (const auto one : state().streams) {
        if (one->recording == recording) one->recording.reset();
    }
    --state().captures;
    *graph = new CUgraph_st{recording};
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    const Call call("cudaGraphInstantiate", true);
    if (call.error) return call.error;
    *executable = new CUgraphExec_st{graph->recording};
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return delete graph, cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return delete executable, cudaSuccess; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    return submit("cudaGraphLaunch", stream, [recording = executable->recording]() -> cudaError_t {
        for (const Work& work : *recording) {
            if (const cudaError_t error = work()) return error;
        }
        return cudaSuccess;
    });
}
