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
    m.def("isa", &isa_name, "The SIMD level in use: v1, v3 or v4.");
    m.def("blas_core", &blas_core, "The kernel that OpenBLAS runs.");
    m.def("get_num_threads", &default_threads);
    m.def("set_num_threads", &set_default_threads, py::arg("threads"));
    bind_device(m);
    bind_ops(m);
    bind_rbm(m);
    bind_units(m);
    bind_sparse(m);
    bind_autoencoder(m);
    bind_dense(m);
}
