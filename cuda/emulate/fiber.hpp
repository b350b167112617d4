// A stack to run on, and the switch to and from it.
#pragma once

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#include <cstddef>
#include <cstdint>
#include <new>

#if defined(__x86_64__)
// Saves what a call must keep, stores the stack pointer in *from and goes on where `to` was saved.
extern "C" void harmonium_emulate_switch(void** from, void* to);
#endif

namespace harmonium_emulate {

class Fiber {
public:
    Fiber() {
        memory_ = static_cast<char*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
        if (memory_ == MAP_FAILED) throw std::bad_alloc();
        mprotect(memory_, guard, PROT_NONE);  // an overflow must not run into the next stack
    }
    ~Fiber() { munmap(memory_, bytes); }
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Runs entry(), which never returns, from its beginning, until leave().
    void start(void (*entry)()) {
#if defined(__x86_64__)
        auto* top = reinterpret_cast<std::uint64_t*>(memory_ + bytes);
        *--top = 0;  // entry() finds the stack as after a call
        *--top = reinterpret_cast<std::uint64_t>(entry);
        top -= 6;
        own_ = top;
#else
        getcontext(&own_);
        own_.uc_stack.ss_sp = memory_;
        own_.uc_stack.ss_size = bytes;
        own_.uc_link = nullptr;
        makecontext(&own_, entry, 0);
#endif
        resume();
    }
#if defined(__x86_64__)
    void resume() { harmonium_emulate_switch(&caller_, own_); }
    void leave() { harmonium_emulate_switch(&own_, caller_); }
#else
    void resume() { swapcontext(&caller_, &own_); }
    void leave() { swapcontext(&own_, &caller_); }
#endif

private:
    static constexpr std::size_t bytes = 128 * 1024, guard = 4096;
    char* memory_;
#if defined(__x86_64__)
    void* own_ = nullptr;
    void* caller_ = nullptr;
#else
    ucontext_t own_, caller_;
#endif
};

}  // namespace harmonium_emulate
