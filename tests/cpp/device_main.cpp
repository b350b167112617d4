// Exit status 77: there is no GPU that can be used; the output says why.
#include <cstdio>

#include "check.hpp"
#include "harmonium/device.hpp"

namespace harmonium_test {
void test_device();
void test_device_dense();
void test_device_autoencoder();
void test_device_lasso();
void test_device_rbm();
void test_device_fitted_rbm();
void test_device_units();
void test_device_fitted_units();
void test_device_unit_rbm();
void test_emulation();
}  // namespace harmonium_test

int main(int argc, char** argv) {
    if (argc > 1) harmonium::set_cublas_path(argv[1]);
    std::printf("GPU: %s\n", harmonium::cuda_status().c_str());
    if (!harmonium::cuda_available()) return 77;
    harmonium_test::test_device();
    harmonium_test::test_device_dense();
    harmonium_test::test_device_autoencoder();
    harmonium_test::test_device_lasso();
    harmonium_test::test_device_rbm();
    harmonium_test::test_device_fitted_rbm();
    harmonium_test::test_device_units();
    harmonium_test::test_device_fitted_units();
    harmonium_test::test_device_unit_rbm();
#if defined(HARMONIUM_EMULATE)
    harmonium_test::test_emulation();
#endif
    std::printf("%d checks, %d failed\n", harmonium_test::checks, harmonium_test::failures);
    return harmonium_test::failures > 0;
}
