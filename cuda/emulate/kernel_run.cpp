#include "kernel_run.hpp"

#include <algorithm>
#include <sstream>
#include <string>

#include "fiber.hpp"
#include "state.hpp"

#if defined(__x86_64__)
asm(R"(
.text
.globl harmonium_emulate_switch
.hidden harmonium_emulate_switch
.type harmonium_emulate_switch, @function
harmonium_emulate_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size harmonium_emulate_switch, .-harmonium_emulate_switch
)");
#endif

namespace harmonium_emulate {

__thread Indices indices;

namespace {

enum class At { unstarted, running, block_barrier, warp_operation, end };

struct Thread {
    At at = At::unstarted;
    Fiber* fiber = nullptr;
    Place place{};
    unsigned mask = 0;
    std::uint64_t value = 0;
    std::uint64_t brought[32];
};

// Threads run one after the other on one fiber; one that has to wait keeps it, and the rest go on with another. A kernel
// without barriers is then a plain loop.
class Runner {
public:
    cudaError_t run(const Launch& launch, const std::function<void()>& body) {
        launch_ = &launch;
        body_ = &body;
        count_ = launch.block.x * launch.block.y * launch.block.z;
        threads_.resize(count_);
        shared_.resize(launch.shared_bytes / 16 + 1);
        indices.block_size = {launch.block.x, launch.block.y, launch.block.z};
        indices.grid_size = {launch.grid.x, launch.grid.y, launch.grid.z};
        const std::uint64_t blocks = std::uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
        for (std::uint64_t b = 0; b < blocks; ++b) {
            // No order of blocks is promised.
            const std::uint64_t i = state().last_block_first ? blocks - 1 - b : b;
            indices.block = {static_cast<unsigned>(i % launch.grid.x), static_cast<unsigned>(i / launch.grid.x % launch.grid.y),
                             static_cast<unsigned>(i / launch.grid.x / launch.grid.y)};
            std::memset(shared_.data(), 0xFF, launch.shared_bytes);  // NaN: shared memory begins undefined
            if (!run_block()) {
                for (auto& thread : threads_) thread = Thread();
                idle_.clear();
                for (const auto& fiber : fibers_) idle_.push_back(fiber.get());
                return fail(cudaErrorLaunchFailure, "emulated kernel: " + error_);
            }
        }
        return cudaSuccess;
    }

    void* shared() { return shared_.data(); }
    Thread& self() { return threads_[current_]; }
    unsigned number() const { return current_; }

    void wait(At at, Place place, unsigned mask, std::uint64_t value) {
        Thread& thread = self();
        thread.at = at, thread.place = place, thread.mask = mask, thread.value = value;
        thread.fiber->leave();
    }

    // From a thread: the kernel ends here.
    void stop(const std::string& why, Place place) {
        std::ostringstream text;
        text << why << " at " << place.file << ':' << place.line << ", block (" << indices.block.x << ", " << indices.block.y
             << ", " << indices.block.z << "), thread " << current_;
        error_ = text.str();
        stopped_ = true;
        self().fiber->leave();
    }

private:
    static void run_threads();

    void enter(unsigned t) {
        current_ = t;
        const dim3& size = launch_->block;
        indices.thread = {t % size.x, t / size.x % size.y, t / size.x / size.y};
        threads_[t].at = At::running;
    }

    bool run_block() {
        for (Thread& thread : threads_) thread.at = At::unstarted;
        stopped_ = false;
        next_ = 0;
        while (next_ < count_ && !stopped_) {
            if (idle_.empty()) {
                fibers_.push_back(std::make_unique<Fiber>());
                idle_.push_back(fibers_.back().get());
            }
            running_ = idle_.back();
            idle_.pop_back();
            running_->start(&run_threads);
        }
        while (!stopped_) {
            std::vector<unsigned> ready;
            for (unsigned warp = 0; warp < count_; warp += 32) release_warp(warp, ready);
            if (ready.empty()) {
                unsigned ended = 0;
                for (const Thread& thread : threads_) ended += thread.at == At::end;
                if (ended == count_) return true;
                if (!release_block(ready)) return false;
            }
            for (const unsigned t : ready) {
                enter(t);
                running_ = threads_[t].fiber;
                running_->resume();
                if (stopped_) return false;
            }
        }
        return false;
    }

    void release_warp(unsigned first, std::vector<unsigned>& ready) {
        const unsigned lanes = std::min(32u, count_ - first);
        for (unsigned i = 0; i < lanes; ++i) {
            const Thread& one = threads_[first + i];
            if (one.at != At::warp_operation) continue;
            bool complete = (lanes == 32 || one.mask >> lanes == 0) && (one.mask >> i & 1);
            for (unsigned j = 0; j < lanes && complete; ++j) {
                const Thread& other = threads_[first + j];
                complete = !(one.mask >> j & 1) || (other.at == At::warp_operation && other.mask == one.mask && same(one.place, other.place));
            }
            if (!complete) continue;
            const unsigned mask = one.mask;
            std::uint64_t brought[32] = {};
            for (unsigned j = 0; j < lanes; ++j) brought[j] = mask >> j & 1 ? threads_[first + j].value : 0;
            for (unsigned j = 0; j < lanes; ++j) {
                if (!(mask >> j & 1)) continue;
                std::memcpy(threads_[first + j].brought, brought, sizeof brought);
                threads_[first + j].at = At::running;
                ready.push_back(first + j);
            }
        }
    }

    bool release_block(std::vector<unsigned>& ready) {
        std::uint64_t any = 0;
        for (unsigned t = 0; t < count_; ++t) {
            const Thread& thread = threads_[t];
            if (thread.at != At::block_barrier || !same(thread.place, threads_[0].place)) {
                error_ = "threads have diverged: ";
                describe(0);
                error_ += "; ";
                describe(t == 0 && count_ > 1 ? 1 : t);
                return false;
            }
            any |= thread.value;
        }
        for (unsigned t = 0; t < count_; ++t) {
            threads_[t].value = any;
            ready.push_back(t);
        }
        return true;
    }

    void describe(unsigned t) {
        const Thread& thread = threads_[t];
        std::ostringstream text;
        text << "thread " << t << " of block (" << indices.block.x << ", " << indices.block.y << ", " << indices.block.z << ") ";
        if (thread.at == At::end) text << "has ended";
        else if (thread.at == At::block_barrier) text << "waits for the block at " << thread.place.file << ':' << thread.place.line;
        else text << "waits for lanes 0x" << std::hex << thread.mask << std::dec << " of its warp at " << thread.place.file << ':' << thread.place.line;
        error_ += text.str();
    }

    static bool same(Place a, Place b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

    const Launch* launch_ = nullptr;
    const std::function<void()>* body_ = nullptr;
    unsigned count_ = 0, next_ = 0, current_ = 0;
    bool stopped_ = false;
    std::string error_;
    std::vector<Thread> threads_;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> idle_;
    Fiber* running_ = nullptr;
    struct alignas(16) Unit { char bytes[16]; };
    std::vector<Unit> shared_;
};

Runner& runner() {
    static thread_local Runner one;
    return one;
}

void Runner::run_threads() {
    Runner& r = runner();
    Fiber* fiber = r.running_;
    while (r.next_ < r.count_) {
        r.enter(r.next_++);
        r.self().fiber = fiber;
        (*r.body_)();
        r.self().at = At::end;
    }
    r.idle_.push_back(fiber);
    fiber->leave();
}

}  // namespace

cudaError_t run(const Launch& launch, const std::function<void()>& thread) { return runner().run(launch, thread); }

void* dynamic_shared() { return runner().shared(); }

void block_barrier(Place place) { runner().wait(At::block_barrier, place, 0, 0); }

bool block_or(Place place, bool value) {
    runner().wait(At::block_barrier, place, 0, value);
    return runner().self().value != 0;
}

int lane() { return static_cast<int>(runner().number() % 32); }

const std::uint64_t* warp_exchange(Place place, unsigned mask, std::uint64_t value) {
    if (!(mask >> lane() & 1)) runner().stop("a lane that its own mask leaves out", place);
    runner().wait(At::warp_operation, place, mask, value);
    return runner().self().brought;
}

void require_in_mask(Place place, unsigned mask, int source) {
    if (!(mask >> source & 1)) runner().stop("a value from a lane that the mask leaves out", place);
}

}  // namespace harmonium_emulate
