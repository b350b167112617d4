#include "harmonium/context.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "cuda_state.hpp"
#include "harmonium/error.hpp"

namespace harmonium {

namespace {

std::atomic<int> chosen_threads{0};

int from_environment(const char* name) {
    const char* text = std::getenv(name);
    const int value = text ? std::atoi(text) : 0;  // OMP_NUM_THREADS may be a list "4,2": atoi reads its head
    return value > 0 ? value : 0;
}

inline void pause_cpu() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Regions of an epoch follow each other within microseconds, or a tenth of a millisecond where a batch is gathered between
// them: to be woken would take as long. So a worker spins, then lets others have its core as long as they want it, then sleeps.
constexpr int spins_before_yield = 2000, yields_before_sleep = 500;

}  // namespace

int default_threads() {
    if (const int chosen = chosen_threads.load()) return chosen;
    if (const int own = from_environment("HARMONIUM_NUM_THREADS")) return own;
    if (const int omp = from_environment("OMP_NUM_THREADS")) return omp;
    const unsigned cpus = std::thread::hardware_concurrency();
    return cpus > 0 ? static_cast<int>(cpus) : 1;
}

void set_default_threads(int threads) {
    require(threads >= 0, "set_default_threads: ", threads, " threads; 0 means as many as the environment says");
    chosen_threads.store(threads);
}

struct Context::Implementation {
    struct FreeAligned {
        void operator()(void* p) const { ::operator delete(p, std::align_val_t{64}); }
    };

    Device device;
    int threads = 1;
    std::vector<std::thread> workers;
    std::size_t scratch_bytes = 0;
    std::vector<std::unique_ptr<void, FreeAligned>> scratch;

    // A worker's share of the tasks. It is the same in every region with as many tasks: what a task wrote is still in
    // that core's cache when the next region reads it. Whoever is done early takes from the others' shares.
    struct alignas(64) Share {
        std::atomic<std::int64_t> next{0};
        std::int64_t end = 0;
    };
    std::vector<Share> shares;

    // One region at a time: region counts them, busy counts workers still inside.
    std::atomic<std::uint64_t> region{0};
    std::atomic<int> busy{0};
    void (*call)(const void*, std::int64_t, int) = nullptr;
    const void* body = nullptr;
    bool stop = false;
    std::mutex mutex;
    std::condition_variable wake;

    std::function<bool(double)> interrupt;
    double done = 0;
    std::atomic<bool> interrupted{false};
    std::chrono::steady_clock::time_point asked = std::chrono::steady_clock::now();

    void take_tasks(int worker) {
        for (int i = 0; i < threads; ++i) {
            Share& share = shares[static_cast<std::size_t>((worker + i) % threads)];
            for (std::int64_t task = share.next.fetch_add(1); task < share.end; task = share.next.fetch_add(1)) {
                if (interrupted.load(std::memory_order_relaxed)) return;
                call(body, task, worker);
                if (worker == 0) ask();
            }
        }
    }

    // On the caller's thread: the test is asked ten times a second.
    void ask() {
        if (!interrupt || interrupted) return;
        const auto now = std::chrono::steady_clock::now();
        if (now - asked < std::chrono::milliseconds(100)) return;
        asked = now;
        if (interrupt(done)) interrupted = true;
    }

    void work(int worker) {
        std::uint64_t seen = 0;
        for (;;) {
            for (int spin = 0; region.load(std::memory_order_acquire) == seen; ++spin) {
                if (spin < spins_before_yield) {
                    pause_cpu();
                } else if (spin < spins_before_yield + yields_before_sleep) {
                    std::this_thread::yield();
                } else {
                    std::unique_lock<std::mutex> lock(mutex);
                    wake.wait(lock, [&] { return region.load() != seen; });
                }
            }
            seen = region.load(std::memory_order_acquire);
            if (stop) return;
            take_tasks(worker);
            busy.fetch_sub(1, std::memory_order_release);
        }
    }

    void open_region() {
        { std::lock_guard<std::mutex> lock(mutex); region.fetch_add(1); }
        wake.notify_all();
    }

    void start_workers() {
        while (static_cast<int>(workers.size()) + 1 < threads) {
            workers.emplace_back([this, worker = static_cast<int>(workers.size()) + 1] { work(worker); });
        }
    }
};

Context::Context(int threads) : self_(std::make_unique<Implementation>()) {
    require(threads >= 0, "Context: ", threads, " threads");
    self_->threads = threads > 0 ? threads : default_threads();
    self_->shares = std::vector<Implementation::Share>(static_cast<std::size_t>(self_->threads));
}

Context::Context(Device device, int threads) : Context(threads) {
    self_->device = device;
    if (device.kind == Device::Kind::cuda) cuda_ = cuda::open_state(device.index);
}

Context::~Context() {
    cuda::close_state(cuda_);
    self_->stop = true;
    self_->open_region();
    for (auto& worker : self_->workers) worker.join();
}

int Context::threads() const { return self_->threads; }
Device Context::device() const { return self_->device; }
void Context::synchronize() {
    if (cuda_) cuda::synchronize(*cuda_);
}

void Context::set_interrupt(std::function<bool(double)> test) { self_->interrupt = std::move(test); }

void Context::poll(double done) {
    self_->done = done;
    self_->ask();
    if (self_->interrupted) throw Interrupted();
}

void Context::reserve_scratch(std::size_t bytes_per_worker) {
    require(!cuda_, "this operation has no CUDA kernel; its arrays must be on the CPU");
    if (bytes_per_worker <= self_->scratch_bytes) return;
    self_->scratch.clear();
    self_->scratch_bytes = 0;
    for (int worker = 0; worker < self_->threads; ++worker) {
        self_->scratch.emplace_back(::operator new(bytes_per_worker, std::align_val_t{64}));
    }
    self_->scratch_bytes = bytes_per_worker;
}

void* Context::scratch_of(int worker) { return self_->scratch[static_cast<std::size_t>(worker)].get(); }

void Context::run(std::int64_t tasks, void (*call)(const void*, std::int64_t, int), const void* body) {
    require(!cuda_, "this operation has no CUDA kernel; its arrays must be on the CPU");
    if (self_->threads == 1 || tasks <= 1) {
        for (std::int64_t task = 0; task < tasks && !self_->interrupted; ++task) {
            call(body, task, 0);
            self_->ask();
        }
        if (self_->interrupted) throw Interrupted();
        return;
    }
    self_->start_workers();
    self_->call = call;
    self_->body = body;
    for (int worker = 0; worker < self_->threads; ++worker) {
        self_->shares[static_cast<std::size_t>(worker)].next.store(tasks * worker / self_->threads);
        self_->shares[static_cast<std::size_t>(worker)].end = tasks * (worker + 1) / self_->threads;
    }
    self_->busy.store(static_cast<int>(self_->workers.size()));
    self_->open_region();
    self_->take_tasks(0);
    for (int spin = 0; self_->busy.load(std::memory_order_acquire) > 0; ++spin) {
        // Past a while some worker has lost its core: let it have ours.
        spin < spins_before_yield ? pause_cpu() : std::this_thread::yield();
    }
    if (self_->interrupted) throw Interrupted();
}

}  // namespace harmonium
