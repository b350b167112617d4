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

// States as Python keeps them: the arrays stay alive as long as the object.
struct PyStates {
    std::int64_t rows = 0, cols = 0;
    Words words;
    Array<std::int64_t> indptr;
    Array<std::int32_t> indices;
    py::object values = py::none();  // of the sparse rows, or the dense matrix: float32 or float64
    enum { packed, sparse, dense } kind = packed;

    template <class T>
    States<T> view() const {
        if (kind == packed) return bits(words, cols);
        if (kind == dense) return matrix(numbers<T>());
        const T* data = values.is_none() ? nullptr : numbers<T>().data();
        return SparseRows<T>{indptr.data(), indices.data(), data, rows, cols};
    }

private:
    template <class T>
    Array<T> numbers() const {
        require(py::isinstance<Array<T>>(values), "states of another floating-point type than the model's");
        return py::reinterpret_borrow<Array<T>>(values);
    }
};

// A Context that looks for Ctrl-C and reports the share that is done to a Python function, or to None; the GIL
// must be released while it works.
struct InterruptibleContext : Context {
    explicit InterruptibleContext(py::handle progress = py::none()) {
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

// Writes a flag of the state back however training ends, an error included.
class WrittenBack {
public:
    WrittenBack(const bool& flag, std::int64_t& to) : flag_(flag), to_(to) {}
    ~WrittenBack() { to_ = flag_; }
    WrittenBack(const WrittenBack&) = delete;
    WrittenBack& operator=(const WrittenBack&) = delete;

private:
    const bool& flag_;
    std::int64_t& to_;
};

void bind_ops(py::module_& m);
void bind_rbm(py::module_& m);
void bind_units(py::module_& m);

}  // namespace harmonium_python
