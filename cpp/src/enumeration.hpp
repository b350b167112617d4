// The states of a layer of bernoulli and categorical units by their numbers, for host and device.
#pragma once

#include "harmonium/units.hpp"

namespace harmonium {

// Calls row.set(unit) for every unit that is on in this state: its number's digits, in mixed base, are the groups' states.
template <class Row>
HARMONIUM_HOST_DEVICE inline void set_units(const UnitGroup* groups, std::int64_t n_groups, std::int64_t state, const Row& row) {
    for (const UnitGroup* group = groups; group < groups + n_groups; ++group) {
        if (group->type == UnitType::categorical) {
            row.set(group->first + state % group->count);
            state /= group->count;
            continue;
        }
        for (std::int64_t j = group->first; j < group->first + group->count; ++j, state /= 2) {
            if (state % 2) row.set(j);
        }
    }
}

}  // namespace harmonium
