# From HARMONIUM_CUDA: built_with_cuda, and what the library consists of besides C++: cuda_objects, cuda_libraries; for
# tests of the device cuda_headers and cuda_definitions. With HARMONIUM_CUDA_LINK also gpu_objects and gpu_libraries.
set(cuda_host cuda/device.cpp cuda/cublas.cpp cuda/autoencoder.cpp cuda/autoencoder_train.cpp cuda/lasso.cpp cuda/sparse_coding.cpp cuda/rbm_train.cpp
  cuda/rbm_sample.cpp cuda/rbm_likelihood.cpp cuda/log_partition.cpp cuda/unit_rbm_sample.cpp cuda/unit_rbm_likelihood.cpp cuda/unit_train.cpp)
set(cuda_kernels cuda/random.cu cuda/bernoulli.cu cuda/gemm.cu cuda/binary_gemm.cu cuda/dense.cu cuda/likelihood_loss.cu cuda/corrupt.cu
  cuda/contraction.cu cuda/update.cu cuda/row_feed.cu cuda/device_rows.cu cuda/shrink.cu cuda/lasso_kernels.cu cuda/dictionary.cu
  cuda/rbm_layer.cu cuda/rbm_step.cu cuda/rbm_scores.cu cuda/state_sums.cu cuda/units.cu cuda/unit_step.cu cuda/unit_chains.cu cuda/unit_rows.cu cuda/enumerate.cu
  cuda/unit_exact.cu cuda/pack.cu)
set(built_with_cuda 1)
set(cuda_libraries "")

# The same sources, compiled by the C++ compiler against stand-ins for NVIDIA's headers: every kernel runs on the CPU.
function(add_emulated_objects)
  set(sources ${cuda_host} cuda/emulate/runtime.cpp cuda/emulate/memory.cpp cuda/emulate/kernel_run.cpp cuda/emulate/cublasLt.cpp)
  foreach(kernel IN LISTS cuda_kernels)  # as C++ under another name: nvcc may compile the file too
    get_filename_component(name ${kernel} NAME_WE)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/emulated/${name}.cpp CONTENT "#include \"${kernel}\"\n")
    list(APPEND sources ${PROJECT_BINARY_DIR}/emulated/${name}.cpp)
  endforeach()
  add_library(cuda_emulated OBJECT ${sources})
  target_include_directories(cuda_emulated PRIVATE cuda/emulate cuda cpp/src)
  target_compile_definitions(cuda_emulated PRIVATE HARMONIUM_CUDA=1 HARMONIUM_EMULATE)
  target_compile_options(cuda_emulated PRIVATE -Wno-unknown-pragmas)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(cuda_emulated PRIVATE -mfma)  # multiply_add is fused on a GPU
  endif()
endfunction()

# A file of an installed package, wherever its wheel has put it. -E: pip, while it builds, hides packages by PYTHONPATH.
function(find_in_wheel package name result)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -E -c "import importlib.metadata as m, sys; print(next(f.locate() for f in m.files(sys.argv[1]) if f.name == sys.argv[2]))"
            ${package} ${name}
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    set(found "")
  endif()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# A macro: enable_language belongs to the top level.
macro(add_gpu_objects)
  find_package(Python COMPONENTS Interpreter REQUIRED)
  find_program(nvcc_on_path nvcc)
  if(NOT CMAKE_CUDA_COMPILER AND NOT nvcc_on_path AND NOT DEFINED ENV{CUDACXX})
    find_in_wheel(nvidia-cuda-nvcc nvcc nvcc_of_wheel)
    if(NOT nvcc_of_wheel)
      message(FATAL_ERROR "HARMONIUM_CUDA=ON needs nvcc: on the PATH, or pip install nvidia-cuda-nvcc nvidia-cuda-runtime "
                          "nvidia-cuda-cccl for ${Python_EXECUTABLE}")
    endif()
    set(CMAKE_CUDA_COMPILER ${nvcc_of_wheel})
  endif()
  set(CMAKE_CUDA_ARCHITECTURES OFF)  # named below, in nvcc's own words
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  set(CMAKE_CUDA_STANDARD 17)
  enable_language(CUDA)

  # Of the wheel, two headers alone: the others belong to its CUDA version, which may not be nvcc's.
  find_in_wheel(nvidia-cublas cublasLt.h header)
  if(NOT header)
    message(FATAL_ERROR "HARMONIUM_CUDA=ON needs cuBLAS's headers: pip install nvidia-cublas for ${Python_EXECUTABLE}")
  endif()
  get_filename_component(folder ${header} DIRECTORY)
  file(COPY ${header} ${folder}/cublas_api.h DESTINATION ${PROJECT_BINARY_DIR}/cublas)

  add_library(cuda_gpu OBJECT ${cuda_host} ${cuda_kernels})
  target_compile_definitions(cuda_gpu PRIVATE HARMONIUM_CUDA=1)
  target_include_directories(cuda_gpu PRIVATE cpp/src ${PROJECT_BINARY_DIR}/cublas ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
  # Hopper's own code, with its own instructions; what is later or older compiles the PTX when it first runs. No contraction,
  # as on the CPU. 1675: pragmas of GCC's in shared headers.
  set_source_files_properties(${cuda_kernels} PROPERTIES COMPILE_OPTIONS
    "--fmad=false;-gencode=arch=compute_90a,code=sm_90a;-gencode=arch=compute_80,code=compute_80;-diag-suppress=1675;-Xcompiler=-ffp-contract=off,-Wall,-Wno-psabi,-Wno-unknown-pragmas")
  find_library(cudart_static cudart_static HINTS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES} REQUIRED)
  set(gpu_objects $<TARGET_OBJECTS:cuda_gpu>)
  set(gpu_libraries ${cudart_static} ${CMAKE_DL_LIBS} rt)
endmacro()

if(HARMONIUM_CUDA STREQUAL "EMULATE")
  add_emulated_objects()
  set(own_targets cuda_emulated)
  set(cuda_objects $<TARGET_OBJECTS:cuda_emulated>)
  set(cuda_headers ${PROJECT_SOURCE_DIR}/cuda/emulate)
  set(cuda_definitions HARMONIUM_EMULATE)
  if(HARMONIUM_CUDA_LINK)
    add_gpu_objects()
    list(APPEND own_targets cuda_gpu)
  endif()
elseif(HARMONIUM_CUDA)
  add_gpu_objects()
  set(own_targets cuda_gpu)
  set(cuda_objects ${gpu_objects})
  set(cuda_libraries ${gpu_libraries})
  set(cuda_headers ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
else()
  set(cuda_objects cpp/src/no_cuda.cpp)
  set(built_with_cuda 0)
endif()
