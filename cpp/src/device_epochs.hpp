// Epochs of rbm_train on a GPU, as the loop on the CPU calls them: it draws the order of rows, the rates, and all beginnings.
#pragma once

#include <memory>
#include <vector>

#include "harmonium/context.hpp"
#include "rbm_working.hpp"

namespace harmonium {

template <class T>
class DeviceEpochs {
public:
    virtual ~DeviceEpochs() = default;
    // One epoch from where the last one ended; afterwards `work`'s parameters, offsets and chains are the device's.
    //   order: of the rows, or empty. rates: one for each step. shares: what TrainerBase::average keeps, or negative; or empty.
    // Returns the sum over rows and units of p(h | data).
    virtual double run(const std::vector<std::int64_t>& order, const std::vector<T>& rates, const std::vector<T>& shares,
                       Working<T>& work) = 0;
};

namespace cuda {
// From the state of `work`. x and options must live as long. Throws OutOfDeviceMemory.
template <class T>
std::unique_ptr<DeviceEpochs<T>> open_rbm_epochs(Context& context, const States<T>& x, const RbmOptions& options,
                                                 const Working<T>& work);
}  // namespace cuda

}  // namespace harmonium
