// Arrays of a call that may be NumPy's or on a GPU: read, checked to be in one place, computed on there.
#pragma once

#include <memory>
#include <utility>

#include "binding.hpp"
#include "harmonium/device_memory.hpp"

namespace harmonium_python {

// An array as an op is given it: NumPy's, or an object with __cuda_array_interface__ (CuPy's, PyTorch's, ours).
struct Given {
    py::object object;
    void* data = nullptr;
    std::vector<std::int64_t> shape;
    bool read_only = false, on_gpu = false;
    int gpu = -1;                // of an empty array on a GPU it cannot be told
    std::int64_t stream = -1;    // to be waited for; 0: all of the GPU's, -1: none

    // False where it is no array of this dtype; throws where it is one that cannot be read.
    bool read(py::handle source, const py::dtype& dtype);
};

template <class T>
struct AnyArray : Given {
    std::int64_t size() const {
        std::int64_t n = 1;
        for (const std::int64_t one : shape) n *= one;
        return n;
    }
    Matrix<T> matrix() const {
        require(shape.size() == 2, "an array of ", shape.size(), " dimensions where 2 are needed");
        return {static_cast<T*>(data), shape[0], shape[1]};
    }
    const T* vector(std::int64_t wanted) const {
        require(size() == wanted, "an array of ", size(), " values where ", wanted, " are needed");
        return static_cast<const T*>(data);
    }
    BitMatrix bits(std::int64_t cols) const {
        require(shape.size() == 2 && shape[1] == BitMatrix::words_for(cols), "bits of ", cols, " columns need ",
                BitMatrix::words_for(cols), " words a row");
        return {static_cast<std::uint64_t*>(data), shape[0], cols};
    }
};

// "cpu", "cuda" or "cuda:1".
Device device_of(const std::string& name);

// Where the arrays of one call are: all of them NumPy's, or all on one GPU. Refuses others, naming two.
class Place {
public:
    Place(const char* who, std::initializer_list<std::pair<const char*, const Given*>> arrays);
    explicit Place(Device device) : device_(device) {}

    Device device() const { return device_; }
    // Not initialised, of the library of the first array.
    template <class T>
    AnyArray<T> empty(std::vector<std::int64_t> shape) const {
        AnyArray<T> made;
        require(made.read(allocate(shape, py::dtype::of<T>()), py::dtype::of<T>()), "the array library made another array than asked for");
        return made;
    }
    // For what writes to the arrays.
    void wait() const {
        for (const std::int64_t stream : streams_) wait_for_stream(device_.index, static_cast<std::uintptr_t>(stream));
    }
    // Calls body(context) without the GIL when what the arrays wait for is done; returns when its work is done.
    template <class Body>
    void compute(const Body& body) const {
        py::gil_scoped_release release;
        if (device_.kind == Device::Kind::cpu) {
            Context context;
            body(context);
            return;
        }
        wait();
        std::unique_ptr<Context> context = take_context(device_.index);
        body(*context);
        context->synchronize();
        give_context(std::move(context));
    }

private:
    py::object allocate(const std::vector<std::int64_t>& shape, const py::dtype& dtype) const;
    // Contexts of GPUs are kept for the next call, with their scratch and their plans; not those in which a call failed.
    static std::unique_ptr<Context> take_context(int gpu);
    static void give_context(std::unique_ptr<Context> context);

    Device device_;
    py::object like_;
    std::vector<std::int64_t> streams_;
};

}  // namespace harmonium_python

namespace pybind11::detail {
template <class T>
struct type_caster<harmonium_python::AnyArray<T>> {
    PYBIND11_TYPE_CASTER(harmonium_python::AnyArray<T>, const_name("array"));
    bool load(handle source, bool) { return value.read(source, dtype::of<T>()); }
    static handle cast(const harmonium_python::AnyArray<T>& array, return_value_policy, handle) {
        return object(array.object).release();
    }
};
}  // namespace pybind11::detail
