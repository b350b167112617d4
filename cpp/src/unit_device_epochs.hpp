// Epochs of training units of any type on a GPU, as the loop on the CPU calls them: see device_epochs.hpp.
#pragma once

#include <memory>
#include <vector>

#include "harmonium/unit_rbm.hpp"
#include "rbm_working.hpp"

namespace harmonium {

// What an epoch takes beside its rows; what is empty is 1 everywhere.
template <class T>
struct UnitEpochPlan {
    const std::int64_t* order = nullptr;  // of the rows, or null
    std::vector<T> rates, shares;         // as DeviceEpochs takes them
    double row_share = 1;                 // what a row of weight 1 counts in the sums of a batch, times the batch's rows
    std::vector<T> weights, words;        // of the rows in this order
    std::vector<T> masses;                // of the steps: what their rows count together
    std::vector<T> model_factors;         // of the steps: what each persistent chain's states count
    std::vector<T> sizes;                 // of the steps: the numbers of words of the chains' bags; exact: of those drawn at the end
};

// What training changes beside the parameters.
template <class T>
struct UnitBeside {
    std::vector<T> chains;                // all of them x H
    std::vector<double> swaps;            // shares that were accepted
    std::vector<T>* scale = nullptr;      // D: what data are divided by
    std::vector<char> scale_moves;        // D, or empty: where it is learned
    std::vector<std::uint64_t>* filled = nullptr;  // rows x D bits of data with missing entries, as they stand; empty: none miss
};

template <class T>
class UnitDeviceEpochs {
public:
    virtual ~UnitDeviceEpochs() = default;
    // One epoch from where the last one ended. Returns the sum over rows, by their weights, and units of the hidden means.
    virtual double run(const UnitEpochPlan<T>& plan, Working<T>& work, UnitBeside<T>& beside) = 0;
};

namespace cuda {
// From the state of `work` and `beside`. x, options and state must live as long. Throws OutOfDeviceMemory.
template <class T>
std::unique_ptr<UnitDeviceEpochs<T>> open_unit_epochs(Context& context, const UnitTrainingData<T>& x, const UnitRbmOptions& options,
                                                      const UnitRbmState<T>& state, const Working<T>& work, const UnitBeside<T>& beside);
}  // namespace cuda

}  // namespace harmonium
