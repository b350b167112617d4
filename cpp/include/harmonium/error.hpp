// The one way the library refuses: a condition and a message that carries the numbers.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace harmonium {

// Thrown when training leaves the range where an RBM means anything; the caller's state is then the last whole epoch.
class DivergenceError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Thrown when a GPU's memory is too small; the message has the bytes asked for, those free, and how to do with less.
class OutOfDeviceMemory : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Thrown when the caller's interrupt test answered yes; the caller's state is then the last whole epoch.
class Interrupted : public std::runtime_error {
public:
    Interrupted() : std::runtime_error("interrupted") {}
};

template <class... Parts>
std::string message(const Parts&... parts) {
    std::ostringstream stream;
    (stream << ... << parts);
    return stream.str();
}

template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) throw std::invalid_argument(message(parts...));
}

}  // namespace harmonium
