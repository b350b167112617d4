// Layers of units of any type, as exponential families: p(x | a) ~ exp(a x) times a base measure.
#pragma once

#include <cstdint>
#include <vector>

#include "harmonium/context.hpp"
#include "harmonium/philox.hpp"
#include "harmonium/states.hpp"

namespace harmonium {

// bernoulli: 0 or 1. gaussian: real, variance 1. relu: the normal cut off below 0 (its mean is a smooth rectifier, compare
// Nair and Hinton, ICML 2010, whose units have no energy). categorical: one of the group's units is 1, the others 0.
// count: a bag of words, each unit says how often a word occurs (Salakhutdinov and Hinton, NIPS 2009).
enum class UnitType : std::int32_t { bernoulli = 0, gaussian = 1, relu = 2, categorical = 3, count = 4 };

// Neighbouring units of one type; of categorical units one choice, of count units one bag.
struct UnitGroup {
    UnitType type = UnitType::bernoulli;
    std::int64_t first = 0;
    std::int64_t count = 0;
};

// A layer: its groups in order, which cover all units. A bag of words is a layer of its own.
struct Layer {
    std::vector<UnitGroup> groups;

    std::int64_t units() const { return groups.empty() ? 0 : groups.back().first + groups.back().count; }
    bool only(UnitType type) const {
        for (const UnitGroup& group : groups) {
            if (group.type != type) return false;
        }
        return true;
    }
    bool binary() const {
        for (const UnitGroup& group : groups) {
            if (group.type != UnitType::bernoulli && group.type != UnitType::categorical) return false;
        }
        return true;
    }
    bool counts() const { return only(UnitType::count); }
};

// Throws std::invalid_argument where groups leave a gap, are empty, or hold a bag of words beside other units.
void check_layer(const Layer& layer, const char* name);

// Where drawn states go, in the form that products read best: one of the three. On a GPU it is dense.
template <class T>
struct DrawnStates {
    BitMatrix bits;                         // of binary layers
    Matrix<T> dense;                        // of a bag of words how often each was drawn
    std::int32_t* tokens = nullptr;         // of a bag of words: row i's words are tokens[starts[i]] to tokens[starts[i + 1]]
    const std::int64_t* starts = nullptr;
};

// theta = scale A + bias; the mean of x given theta, draws from it, and log integral exp(theta x), for every row.
//   activation: n x m, receives the mean. bias: m. exposure: n values that multiply the bias, and for a bag of words the
//   number of its words instead; null: 1. log_normaliser: n values or null, those of a bag for its number of words.
//   Draws: unit j of row i from uniform(draw, first_row + i, j), a choice from its first unit's, word k of a bag from
//   uniform(draw, first_row + i, k); by inverse distribution functions. Bernoulli units draw as in bernoulli.hpp.
//   Error: means 8 ulp of the largest of a group, log normalisers 1e-14 of |theta|. Throws std::invalid_argument.
template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Panels<T> activation, const DrawnStates<T>& drawn, double* log_normaliser);
// The same of a matrix; on a GPU all but the layer is there. Given the same theta the draws are the CPU's, but for rounding of
// real ones and of relu units' means, whose erfc is the device's.
template <class T>
void units(Context& context, const Layer& layer, const T* bias, T scale, const T* exposure, const Draw& draw,
           std::uint32_t first_row, Matrix<T> activation, const DrawnStates<T>& drawn, double* log_normaliser);

}  // namespace harmonium
