// The rate at which this machine can do fused multiply-adds: chains enough to hide their latency, no memory touched.
// Argument: threads. Prints GFLOP/s of float, then of double.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int bytes = 64;
#elif defined(__AVX__)
constexpr int bytes = 32;
#else
constexpr int bytes = 16;
#endif
constexpr int chains = 12;  // latency 4 or 5 times two units, and they fit into 16 registers

template <class T>
T chase(long steps) {
    typedef T Vector __attribute__((vector_size(bytes)));
    Vector value[chains], factor, term;
    volatile T half = T(0.5);  // not known to the compiler, which would leave out the chain that begins at its fixed point
    for (unsigned i = 0; i < bytes / sizeof(T); ++i) factor[i] = half, term[i] = T(1);
    for (int k = 0; k < chains; ++k) value[k] = factor * T(k);
    for (long s = 0; s < steps; ++s) {
        for (int k = 0; k < chains; ++k) value[k] = value[k] * factor + term;
    }
    T sum = 0;
    for (int k = 0; k < chains; ++k) sum += value[k][0];
    return sum;
}

template <class T>
double gflops(int threads) {
    constexpr long steps = 1000000;
    double best = 0;  // of many short tries: one of them is not disturbed
    volatile T sink = 0;
    for (int round = 0; round < 60; ++round) {
        const auto start = std::chrono::steady_clock::now();
        std::vector<std::thread> others;
        std::vector<T> results(static_cast<std::size_t>(threads));
        for (int t = 1; t < threads; ++t) others.emplace_back([&results, t] { results[t] = chase<T>(steps); });
        results[0] = chase<T>(steps);
        for (auto& other : others) other.join();
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
        for (const T result : results) sink = sink + result;
        const double flops = 2.0 * chains * (bytes / sizeof(T)) * static_cast<double>(steps) * threads;
        best = std::max(best, flops / seconds.count() / 1e9);
    }
    return best;
}

}  // namespace

int main(int count, char** arguments) {
    const int threads = count > 1 ? std::max(1, std::atoi(arguments[1])) : 1;
    const double single = gflops<float>(threads), both = gflops<double>(threads);
    std::printf("%.1f %.1f\n", single, both);
}
