#include "isa.hpp"

#include <cstdlib>

#include "harmonium/error.hpp"

namespace harmonium {

namespace {

#if defined(__x86_64__)
Isa highest() {
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                    __builtin_cpu_supports("fma");
    const bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    return v3 && v4 ? Isa::v4 : v3 ? Isa::v3 : Isa::v1;
}
#else
Isa highest() { return Isa::baseline; }
#endif

const char* name_of(Isa level) {
    switch (level) {
        case Isa::v1: return "v1";
        case Isa::v3: return "v3";
        case Isa::v4: return "v4";
        default: return "baseline";
    }
}

Isa choose() {
    const Isa best = highest();
    const char* forced = std::getenv("HARMONIUM_ISA");
    if (!forced || !*forced) return best;
    for (const Isa level : {Isa::baseline, Isa::v1, Isa::v3, Isa::v4}) {
        if (std::string(forced) != name_of(level)) continue;
        const bool runs = best == Isa::baseline ? level == best : level != Isa::baseline && level <= best;
        require(runs, "HARMONIUM_ISA=", forced, ": this CPU runs at most ", name_of(best));
        return level;
    }
    require(false, "HARMONIUM_ISA=", forced, " is not a level; use v1, v3 or v4 (this CPU runs up to ", name_of(best), ")");
    return best;
}

}  // namespace

Isa isa() {
    static const Isa level = choose();
    return level;
}

const char* isa_name() { return name_of(isa()); }

}  // namespace harmonium
