// What every bind_*.cpp shares: one set of casters, and arrays as views.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "harmonium/context.hpp"
#include "harmonium/error.hpp"
#include "harmonium/rbm.hpp"
#include "harmonium/states.hpp"

namespace harmonium_python {

namespace py = pybind11;
using namespace harmonium;

template <class T>
using Array = py::array_t<T, py::array::c_style>;
using Words = Array<std::uint64_t>;

template <class T>
Matrix<const T> matrix(const Array<T>& a) {
    require(a.ndim() == 2, "an array of ", a.ndim(), " dimensions where 2 are needed");
    return {a.data(), a.shape(0), a.shape(1)};
}
template <class T>
Matrix<T> mutable_matrix(Array<T>& a) {
    require(a.ndim() == 2, "an array of ", a.ndim(), " dimensions where 2 are needed");
    return {a.mutable_data(), a.shape(0), a.shape(1)};
}
template <class T>
T* mutable_vector(Array<T>& a, std::int64_t size) {
    require(a.size() == size, "an array of ", a.size(), " values where ", size, " are needed");
    return a.mutable_data();
}
template <class T>
const T* vector(const Array<T>& a, std::int64_t size) {
    require(a.size() == size, "an array of ", a.size(), " values where ", size, " are needed");
    return a.data();
}
inline ConstBitMatrix bits(const Words& words, std::int64_t cols) {
    require(words.ndim() == 2 && words.shape(1) == BitMatrix::words_for(cols), "bits of ", cols, " columns need ",
            BitMatrix::words_for(cols), " words a row");
    return {words.data(), words.shape(0), cols};
}
inline BitMatrix mutable_bits(Words& words, std::int64_t cols) {
    bits(words, cols);
    return {words.mutable_data(), words.shape(0), cols};
}
inline Words new_bits(std::int64_t rows, std::int64_t cols) {
    return Words(std::vector<py::ssize_t>{rows, BitMatrix::words_for(cols)});
}
template <class T>
Array<T> new_matrix(std::int64_t rows, std::int64_t cols) {
    return Array<T>(std::vector<py::ssize_t>{rows, cols});
}

// A Context that looks for Ctrl-C and reports the share that is done to a Python function, or to None; the GIL
// must be released while it works.
struct InterruptibleContext : Context {
    explicit InterruptibleContext(py::handle progress = py::none(), int threads = 0, Device device = {})
        : Context(device, threads) {
        set_interrupt([progress](double done) {
            py::gil_scoped_acquire gil;
            if (PyErr_CheckSignals() != 0) return true;
            try {
                if (!progress.is_none()) progress(done);
                return false;
            } catch (py::error_already_set& error) {
                error.restore();  // as a signal's exception: it is raised when the loop has unwound
                return true;
            }
        });
    }
};

inline Schedule schedule_of(const std::string& name) {
    for (const auto& [known, schedule] : {std::pair("constant", Schedule::constant), std::pair("hyperbolic", Schedule::hyperbolic),
                                          std::pair("linear", Schedule::linear), std::pair("exponential", Schedule::exponential)}) {
        if (name == known) return schedule;
    }
    throw std::invalid_argument(message("schedule=\"", name, "\" is not known"));
}

// How far training has come, between a state and the arrays that Python keeps of it.
// counters: steps, epochs, whether initialised, steps averaged. They, travelled and a row of quantities are written with
// each epoch that training commits, before Python runs at all: a signal that is raised there finds arrays and counters of
// the same epoch. Whether the state is initialised is written however training ends.
template <class State>
class TrainingProgress {
public:
    TrainingProgress(State& state, Array<std::int64_t>& counters, Array<double>& travelled, Array<double>& quantities)
        : state_(state), counted_(mutable_vector(counters, 4)), travelled_(mutable_vector(travelled, 1)),
          recorded_(mutable_matrix(quantities)) {
        state.steps = static_cast<std::uint64_t>(counted_[0]);
        state.epochs = static_cast<std::uint64_t>(counted_[1]);
        state.initialised = counted_[2] != 0;
        state.averaged = static_cast<std::uint64_t>(counted_[3]);
        state.travelled = *travelled_;
    }
    ~TrainingProgress() { counted_[2] = state_.initialised; }
    TrainingProgress(const TrainingProgress&) = delete;
    TrainingProgress& operator=(const TrainingProgress&) = delete;

    std::int64_t epochs() const { return recorded_.rows; }

    // Without the GIL; a true answer of Python stops training.
    bool epoch_end(double first_quantity, const RbmEpoch& epoch, const py::function& on_epoch) {
        counted_[0] = static_cast<std::int64_t>(state_.steps);
        counted_[1] = static_cast<std::int64_t>(state_.epochs);
        counted_[3] = static_cast<std::int64_t>(state_.averaged);
        *travelled_ = state_.travelled;
        const double values[] = {first_quantity, epoch.hidden_activity, epoch.weight_rms};
        std::copy(values, values + 3, recorded_.row(row_++));
        py::gil_scoped_acquire gil;
        return on_epoch().template cast<bool>();
    }

private:
    State& state_;
    std::int64_t* counted_;
    double* travelled_;
    Matrix<double> recorded_;
    std::int64_t row_ = 0;
};

void bind_device(py::module_& m);
void bind_ops(py::module_& m);
void bind_rbm(py::module_& m);
void bind_units(py::module_& m);
void bind_sparse(py::module_& m);
void bind_autoencoder(py::module_& m);
void bind_dense(py::module_& m);

}  // namespace harmonium_python
