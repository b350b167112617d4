// States of a layer, of whichever form, as Python keeps them.
#pragma once

#include "device_array.hpp"
#include "harmonium/states.hpp"

namespace harmonium_python {

// The arrays stay alive as long as the object. Bits and dense numbers may be in a GPU's memory, sparse rows are the host's.
struct PyStates {
    std::int64_t rows = 0, cols = 0;
    AnyArray<std::uint64_t> words;
    Array<std::int64_t> indptr;
    Array<std::int32_t> indices;
    py::object values = py::none();  // of the sparse rows, or the dense matrix: float32 or float64
    enum { packed, sparse, dense } kind = packed;

    // The array that may be on a GPU.
    Given array() const {
        if (kind == packed) return words;
        Given given;
        if (kind == dense && !given.read(values, py::dtype::of<float>())) given.read(values, py::dtype::of<double>());
        return given;
    }
    // As a loop on this device reads them, once what writes to them is done: on the CPU those of a GPU are refused.
    template <class T>
    States<T> view(Device where = {}) const {
        const Given given = array();
        require(!given.on_gpu || where.kind == Device::Kind::cuda, "states in the memory of GPU ", given.gpu, " where the CPU is to compute");
        require(given.gpu < 0 || given.gpu == where.index, "states in the memory of GPU ", given.gpu, ", GPU ", where.index, " is to compute");
        if (given.on_gpu && given.stream >= 0) wait_for_stream(where.index, static_cast<std::uintptr_t>(given.stream));
        if (kind == packed) return ConstBitMatrix(words.bits(cols));
        if (kind == dense) return Matrix<const T>(numbers<T>().matrix());
        const T* data = values.is_none() ? nullptr : static_cast<const T*>(numbers<T>().data);
        return SparseRows<T>{indptr.data(), indices.data(), data, rows, cols};
    }

private:
    template <class T>
    AnyArray<T> numbers() const {
        AnyArray<T> out;
        require(out.read(values, py::dtype::of<T>()), "states of another floating-point type than the model's");
        return out;
    }
};

}  // namespace harmonium_python
