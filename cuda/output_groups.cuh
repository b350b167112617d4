// Groups of output columns as arguments of a kernel, by value: nothing is copied, and a graph can hold them.
#pragma once

#include "harmonium/likelihood_loss.hpp"

namespace harmonium::cuda {

struct OutputGroups {
    static constexpr int most = 64;  // a kernel's arguments have 4 KiB
    int count = 0;
    OutputGroup group[most];
};

// Calls body(groups, whether they are the first) with at most so many at a time.
template <class Body>
void over_groups(const OutputGroup* groups, std::int64_t n_groups, const Body& body) {
    for (std::int64_t first = 0; first < n_groups; first += OutputGroups::most) {
        OutputGroups part;
        while (part.count < OutputGroups::most && first + part.count < n_groups) part.group[part.count] = groups[first + part.count], ++part.count;
        body(part, first == 0);
    }
}

}  // namespace harmonium::cuda
