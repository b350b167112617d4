#include "device_array.hpp"

#include <map>
#include <mutex>

#include "harmonium/device.hpp"

namespace harmonium_python {

namespace {

// The smallest array there can be on a GPU: for NumPy's that are computed on there, and for tests.
struct DeviceArray {
    py::dtype dtype;
    std::vector<std::int64_t> shape;
    DeviceMemory memory;

    DeviceArray(py::dtype dtype_, std::vector<std::int64_t> shape_, int gpu)
        : dtype(std::move(dtype_)), shape(std::move(shape_)), memory(gpu, bytes()) {}

    std::size_t bytes() const {
        auto n = static_cast<std::size_t>(dtype.itemsize());
        for (const std::int64_t one : shape) n *= static_cast<std::size_t>(one);
        return n;
    }
    py::array numpy() const {
        py::array out(dtype, shape);
        if (bytes()) memory.copy_to_host(out.mutable_data());
        return out;
    }
    py::dict interface() const {
        py::dict d;
        d["shape"] = py::tuple(py::cast(shape));
        d["typestr"] = dtype.attr("str");
        d["data"] = py::make_tuple(reinterpret_cast<std::uintptr_t>(memory.data()), false);
        d["version"] = 3;
        d["stream"] = py::none();  // whatever writes to one waits until it is done
        return d;
    }
};

bool row_after_row(const py::object& strides, const std::vector<std::int64_t>& shape, std::int64_t item) {
    if (strides.is_none()) return true;
    const auto given = strides.cast<std::vector<std::int64_t>>();
    for (std::size_t i = shape.size(); i-- > 0; item *= shape[i]) {
        if (shape[i] == 0) return true;
        if (shape[i] > 1 && given.at(i) != item) return false;
    }
    return true;
}

std::string described(const Given& given) {
    if (!given.on_gpu) return "a NumPy array";
    const std::string type = py::str(py::type::of(given.object).attr("__module__")).cast<std::string>() + "." +
                             py::str(py::type::of(given.object).attr("__name__")).cast<std::string>();
    return given.gpu < 0 ? "a " + type : "a " + type + " on GPU " + std::to_string(given.gpu);
}

struct Pool {
    std::mutex mutex;
    std::multimap<int, std::unique_ptr<Context>> idle;
};
Pool& pool() {
    static Pool* one = new Pool;  // never destroyed: at the end of the process the driver may be gone already
    return *one;
}

}  // namespace

bool Given::read(py::handle source, const py::dtype& dtype) {
    object = py::reinterpret_borrow<py::object>(source);
    if (py::isinstance<py::array>(source)) {
        const auto array = py::reinterpret_borrow<py::array>(source);
        if (!array.dtype().equal(dtype) || !(array.flags() & py::array::c_style)) return false;
        data = const_cast<void*>(array.data());
        read_only = !array.writeable();
        shape.assign(array.shape(), array.shape() + array.ndim());
        return true;
    }
    if (!py::hasattr(source, "__cuda_array_interface__")) return false;
    const py::dict d = source.attr("__cuda_array_interface__");
    const py::dtype own = py::dtype::from_args(d["typestr"]);
    const bool truths = own.kind() == 'b' && dtype.equal(py::dtype::of<std::uint8_t>());  // read as 0 and 1
    if (!truths && !own.equal(dtype)) return false;
    shape = d["shape"].cast<std::vector<std::int64_t>>();
    const py::object strides = d.attr("get")("strides");
    require(row_after_row(strides, shape, dtype.itemsize()), "an array on a GPU must be contiguous, row after row; its strides are ",
            py::str(strides).cast<std::string>());
    require(d.attr("get")("mask").is_none(), "an array on a GPU must not be masked");
    const py::tuple pointer = d["data"];
    data = reinterpret_cast<void*>(pointer[0].cast<std::uintptr_t>());
    read_only = pointer[1].cast<bool>();
    on_gpu = true;
    gpu = gpu_of(data);
    require(gpu >= 0 || !data, "an array whose __cuda_array_interface__ is not of a GPU's memory; GPU: ", cuda_status());
    const py::object wait = d.attr("get")("stream");
    if (!wait.is_none()) stream = wait.cast<std::int64_t>();
    else if (d["version"].cast<int>() < 3) stream = 0;  // it does not say who may still write to it
    return true;
}

Device device_of(const std::string& name) {
    if (name == "cpu") return {};
    if (name == "cuda") return {Device::Kind::cuda, 0};
    const bool numbered = name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 10 &&
                          name.find_first_not_of("0123456789", 5) == std::string::npos;
    require(numbered, "device=\"", name, "\" is not \"cpu\", \"cuda\" or \"cuda:\" and a number");
    return {Device::Kind::cuda, std::stoi(name.substr(5))};
}

Place::Place(const char* who, std::initializer_list<std::pair<const char*, const Given*>> arrays) {
    const auto& [first_name, first] = *arrays.begin();
    int gpu = -1;
    for (const auto& [name, array] : arrays) {
        require(array->on_gpu == first->on_gpu, who, ": ", first_name, " is ", described(*first), ", ", name, " is ", described(*array),
                "; move one to where the other is");
        if (array->gpu >= 0 && gpu < 0) gpu = array->gpu;
        require(array->gpu < 0 || array->gpu == gpu, who, ": ", name, " is on GPU ", array->gpu, ", others are on GPU ", gpu);
        if (array->stream >= 0) streams_.push_back(array->stream);
    }
    like_ = first->object;
    if (first->on_gpu) device_ = {Device::Kind::cuda, gpu < 0 ? 0 : gpu};
}

py::object Place::allocate(const std::vector<std::int64_t>& shape, const py::dtype& dtype) const {
    if (device_.kind == Device::Kind::cpu) return py::array(dtype, shape);
    if (!like_ || py::isinstance<DeviceArray>(like_)) return py::cast(std::make_unique<DeviceArray>(dtype, shape, device_.index));
    const py::module_ compat = py::module_::import("array_api_compat");
    const py::object xp = compat.attr("array_namespace")(like_);
    return xp.attr("empty")(py::tuple(py::cast(shape)), py::arg("dtype") = xp.attr(py::str(dtype.attr("name"))),
                            py::arg("device") = compat.attr("device")(like_));
}

std::unique_ptr<Context> Place::take_context(int gpu) {
    {
        const std::lock_guard<std::mutex> lock(pool().mutex);
        if (const auto found = pool().idle.find(gpu); found != pool().idle.end()) {
            auto context = std::move(found->second);
            pool().idle.erase(found);
            return context;
        }
    }
    return std::make_unique<Context>(Device{Device::Kind::cuda, gpu});
}
void Place::give_context(std::unique_ptr<Context> context) {
    const std::lock_guard<std::mutex> lock(pool().mutex);
    const int gpu = context->device().index;
    pool().idle.emplace(gpu, std::move(context));
}

void bind_device(py::module_& m) {
    py::register_exception<OutOfDeviceMemory>(m, "OutOfDeviceMemory", PyExc_MemoryError);
    m.def("cuda_available", &cuda_available, py::call_guard<py::gil_scoped_release>());
    m.def("cuda_status", &cuda_status, py::call_guard<py::gil_scoped_release>(), "The GPU, or why it is off.");
    m.def("set_cublas_path", &set_cublas_path, py::arg("path"));
    m.def("gpu_of", [](std::uintptr_t pointer) { return gpu_of(reinterpret_cast<const void*>(pointer)); }, py::arg("pointer"),
          "The GPU in whose memory an address is, or -1.");
    py::class_<DeviceArray>(m, "DeviceArray", "An array in a GPU's memory.")
        .def(py::init([](const py::array& from, int gpu) {
                 const py::array rows = py::array::ensure(from, py::array::c_style);
                 auto made = std::make_unique<DeviceArray>(
                     rows.dtype(), std::vector<std::int64_t>(rows.shape(), rows.shape() + rows.ndim()), gpu);
                 if (made->bytes()) made->memory.copy_from_host(rows.data());
                 return made;
             }),
             py::arg("array"), py::arg("gpu") = 0)
        .def("numpy", &DeviceArray::numpy, "A copy in the host's memory.")
        .def_property_readonly("shape", [](const DeviceArray& a) { return py::tuple(py::cast(a.shape)); })
        .def_readonly("dtype", &DeviceArray::dtype)
        .def_property_readonly("gpu", [](const DeviceArray& a) { return a.memory.gpu(); })
        .def_property_readonly("__cuda_array_interface__", &DeviceArray::interface);
}

}  // namespace harmonium_python
