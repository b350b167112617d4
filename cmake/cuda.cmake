# Sets cuda_sources, cuda_libraries and built_with_cuda from HARMONIUM_CUDA.
set(cuda_host cuda/device.cpp cuda/cublas.cpp cuda/autoencoder.cpp cuda/autoencoder_train.cpp cuda/lasso.cpp cuda/rbm_train.cpp)
set(cuda_kernels cuda/random.cu cuda/bernoulli.cu cuda/gemm.cu cuda/binary_gemm.cu cuda/dense.cu cuda/likelihood_loss.cu cuda/corrupt.cu
  cuda/contraction.cu cuda/update.cu cuda/row_feed.cu cuda/shrink.cu cuda/lasso_kernels.cu
  cuda/rbm_layer.cu cuda/rbm_step.cu)
set(built_with_cuda 1)
set(cuda_libraries "")

if(HARMONIUM_CUDA STREQUAL "EMULATE")
  # The same sources, compiled by the C++ compiler against stand-ins for NVIDIA's headers: every kernel runs on the CPU.
  set(cuda_sources ${cuda_host} ${cuda_kernels} cuda/emulate/runtime.cpp cuda/emulate/memory.cpp cuda/emulate/kernel_run.cpp
    cuda/emulate/cublasLt.cpp)
  set(flags -Wno-unknown-pragmas)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND flags -mfma)  # multiply_add is fused on a GPU
  endif()
  set_source_files_properties(${cuda_kernels} PROPERTIES LANGUAGE CXX COMPILE_OPTIONS "${flags}")
  include_directories(cuda/emulate)
  add_compile_definitions(HARMONIUM_EMULATE)
elseif(HARMONIUM_CUDA)
  find_package(Python COMPONENTS Interpreter REQUIRED)
  # A file of an installed package, wherever its wheel has put it.
  function(find_in_wheel package name result)
    execute_process(
      COMMAND ${Python_EXECUTABLE} -c "import importlib.metadata as m, sys; print(next(f.locate() for f in m.files(sys.argv[1]) if f.name == sys.argv[2]))"
              ${package} ${name}
      OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
    if(failed)
      set(found "")
    endif()
    set(${result} "${found}" PARENT_SCOPE)
  endfunction()

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
  include_directories(${PROJECT_BINARY_DIR}/cublas)

  set(cuda_sources ${cuda_host} ${cuda_kernels})
  # Hopper's own code, with its own instructions; what is later or older compiles the PTX when it first runs. No contraction,
  # as on the CPU. 1675: pragmas of GCC's in shared headers.
  set_source_files_properties(${cuda_kernels} PROPERTIES COMPILE_OPTIONS
    "--fmad=false;-gencode=arch=compute_90a,code=sm_90a;-gencode=arch=compute_80,code=compute_80;-diag-suppress=1675;-Xcompiler=-ffp-contract=off,-Wall,-Wno-psabi,-Wno-unknown-pragmas")
  set_source_files_properties(${cuda_host} PROPERTIES INCLUDE_DIRECTORIES "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}")
  set(cuda_libraries ${CMAKE_DL_LIBS} rt)
  find_library(cudart_static cudart_static HINTS ${CMAKE_CUDA_IMPLICIT_LINK_DIRECTORIES} REQUIRED)
  list(PREPEND cuda_libraries ${cudart_static})
else()
  set(cuda_sources cpp/src/no_cuda.cpp)
  set(built_with_cuda 0)
endif()
