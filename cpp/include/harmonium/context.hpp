// Where work runs: the threads of one call, and scratch memory that lasts as long as the call.
// Threads live as long as their Context, so two callers never share a pool and fork() never meets a stray one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "harmonium/device.hpp"

namespace harmonium {

namespace cuda {
struct State;
}

// Used where a Context is made without a number: set_default_threads if called, else HARMONIUM_NUM_THREADS, else
// OMP_NUM_THREADS, else the CPUs this process may run on.
int default_threads();
void set_default_threads(int threads);  // 0: back to the environment

class Context {
public:
    explicit Context(int threads = 0);
    // On a GPU every op's views are of that GPU's memory, and ops are queued on one stream. Throws std::runtime_error that
    // says why the GPU cannot be used.
    explicit Context(Device device, int threads = 0);
    ~Context();
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;

    int threads() const;
    Device device() const;
    // What cuda/ keeps for this context: its stream, scratch and plans; nullptr on a CPU.
    cuda::State* cuda() const { return cuda_; }
    // Returns when all that is queued on the GPU is done, and throws what went wrong there; at once on a CPU.
    void synchronize();

    // Ten times a second, between tasks, the test is handed the share of the work that is done as poll() last said it. At
    // a true answer the remaining tasks are left out, and parallel_for or poll throws Interrupted. The test must not throw.
    void set_interrupt(std::function<bool(double done)> test);
    void poll(double done);

    // Runs body(task, worker) for every task in [0, tasks). A worker has its share, always the same one, and then takes
    // what others have left: which worker runs a task is not fixed, results must not depend on it. It must not throw.
    template <class Body>
    void parallel_for(std::int64_t tasks, const Body& body) {
        run(tasks, [](const void* b, std::int64_t task, int worker) { (*static_cast<const Body*>(b))(task, worker); },
            &body);
    }

    // 64-byte aligned, kept and grown between calls; call before parallel_for, once for all workers. Contents are lost
    // when it grows.
    void reserve_scratch(std::size_t bytes_per_worker);
    template <class T>
    T* scratch(int worker) {
        return static_cast<T*>(scratch_of(worker));
    }

private:
    void run(std::int64_t tasks, void (*call)(const void*, std::int64_t, int), const void* body);
    void* scratch_of(int worker);

    struct Implementation;
    std::unique_ptr<Implementation> self_;
    cuda::State* cuda_ = nullptr;
};

}  // namespace harmonium
