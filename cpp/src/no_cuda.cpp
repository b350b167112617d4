// In place of cuda/device.cpp where the library is built without CUDA.
#include <stdexcept>

#include "cuda_state.hpp"
#include "harmonium/device.hpp"
#include "harmonium/device_memory.hpp"
#include "harmonium/device_rows.hpp"

namespace harmonium {

bool cuda_available() { return false; }
std::string cuda_status() { return "off: built without CUDA (HARMONIUM_CUDA=OFF)"; }
void set_cublas_path(const std::string&) {}

namespace {
[[noreturn]] void refuse() { throw std::runtime_error("device=\"cuda\": built without CUDA (HARMONIUM_CUDA=OFF)"); }
}  // namespace

int gpu_of(const void*) { return -1; }
void wait_for_stream(int, std::uintptr_t) { refuse(); }
DeviceMemory::DeviceMemory(int, std::size_t) { refuse(); }
DeviceMemory::~DeviceMemory() = default;
void DeviceMemory::copy_from_host(const void*) { refuse(); }
void DeviceMemory::copy_to_host(void*) const { refuse(); }

template <class T>
ColumnSummary summarise_columns(Context&, Matrix<const T>) {
    refuse();
}
template <class T>
void pack_rows(Context&, Matrix<const T>, BitMatrix) {
    refuse();
}
template <class T>
void unpack_rows(Context&, ConstBitMatrix, Matrix<T>) {
    refuse();
}
template <class T>
void take_rows(Context&, Matrix<const T>, const std::int64_t*, Matrix<T>) {
    refuse();
}
template ColumnSummary summarise_columns(Context&, Matrix<const std::uint8_t>);
template ColumnSummary summarise_columns(Context&, Matrix<const float>);
template ColumnSummary summarise_columns(Context&, Matrix<const double>);
template void pack_rows(Context&, Matrix<const std::uint8_t>, BitMatrix);
template void pack_rows(Context&, Matrix<const float>, BitMatrix);
template void pack_rows(Context&, Matrix<const double>, BitMatrix);
template void unpack_rows(Context&, ConstBitMatrix, Matrix<float>);
template void take_rows(Context&, Matrix<const std::uint64_t>, const std::int64_t*, Matrix<std::uint64_t>);
template void take_rows(Context&, Matrix<const float>, const std::int64_t*, Matrix<float>);
template void take_rows(Context&, Matrix<const double>, const std::int64_t*, Matrix<double>);

namespace cuda {
State* open_state(int) { refuse(); }
void close_state(State*) {}
void synchronize(State&) {}
}  // namespace cuda

}  // namespace harmonium
