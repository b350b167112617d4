// Which SIMD level the kernels of this process use.
#pragma once

namespace harmonium {

enum class Isa { baseline, v1, v3, v4 };

// The highest level that this CPU runs, or the one named by HARMONIUM_ISA (v1, v3, v4; on other processors than x86-64:
// baseline). Decided once. Throws std::invalid_argument when HARMONIUM_ISA names an unknown or absent level.
Isa isa();
const char* isa_name();

}  // namespace harmonium
