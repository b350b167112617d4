#include "binding.hpp"
#include "harmonium/gemm.hpp"
#include "harmonium/isa.hpp"

// For threadpoolctl, which looks for these two by ctypes.
extern "C" {
__attribute__((visibility("default"))) int harmonium_get_num_threads() { return harmonium::default_threads(); }
__attribute__((visibility("default"))) void harmonium_set_num_threads(int threads) {
    harmonium::set_default_threads(threads < 0 ? 0 : threads);
}
}

namespace harmonium_python {

Device device_of(const std::string& name) {
    if (name == "cpu") return {};
    const std::string index = name.substr(0, 5) == "cuda:" ? name.substr(5) : name == "cuda" ? "0" : "";
    require(!index.empty() && index.size() < 4 && index.find_first_not_of("0123456789") == std::string::npos,
            "device=\"", name, "\" is not one of \"cpu\", \"cuda\", \"cuda:1\"");
    return {Device::Kind::cuda, std::stoi(index)};
}

}  // namespace harmonium_python

PYBIND11_MODULE(_core, m, pybind11::mod_gil_not_used()) {
    using namespace harmonium_python;
    m.doc() = "The compiled core of harmonium.";
    m.attr("__version__") = HARMONIUM_VERSION;
    // Interrupted means that PyErr_CheckSignals has set KeyboardInterrupt already, or the handler's own exception.
    py::register_exception_translator([](std::exception_ptr p) {
        try {
            std::rethrow_exception(p);
        } catch (const Interrupted&) {
            if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
        }
    });
    py::register_exception<DivergenceError>(m, "DivergenceError", PyExc_ArithmeticError);
    py::register_exception<OutOfDeviceMemory>(m, "OutOfDeviceMemory", PyExc_MemoryError);
    m.def("isa", &isa_name, "The SIMD level in use: v1, v3 or v4.");
    m.def("blas_core", &blas_core, "The kernel that OpenBLAS runs.");
    m.def("get_num_threads", &default_threads);
    m.def("set_num_threads", &set_default_threads, py::arg("threads"));
    m.def("cuda_available", &cuda_available);
    m.def("cuda_status", &cuda_status);
    m.def("check_device", [](const std::string& device) { const Context one(device_of(device), 1); }, py::arg("device"));
    bind_ops(m);
    bind_rbm(m);
    bind_units(m);
    bind_sparse(m);
    bind_autoencoder(m);
    bind_dense(m);
}
