# Sets blas_target, blas_prefix, blas_is_openblas: the caller's CBLAS, or OpenBLAS from the scipy-openblas32 package.
if(HARMONIUM_BLAS_LIBRARY)
  set(blas_target ${HARMONIUM_BLAS_LIBRARY})
  set(blas_prefix "${HARMONIUM_BLAS_PREFIX}")
  if(HARMONIUM_BLAS_LIBRARY MATCHES "openblas")
    set(blas_is_openblas 1)
  else()
    set(blas_is_openblas 0)
  endif()
else()
  find_package(Python COMPONENTS Interpreter REQUIRED)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import scipy_openblas32 as b; print(b.get_lib_dir(), b.get_library(fullname=True), sep=';')"
    OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    message(FATAL_ERROR "No CBLAS: pip install scipy-openblas32 for ${Python_EXECUTABLE}, "
                        "or name a library by -DHARMONIUM_BLAS_LIBRARY=/path/to/libopenblas.so")
  endif()
  list(GET found 0 directory)
  list(GET found 1 file)
  set(blas_target ${directory}/${file})
  if(HARMONIUM_PYTHON)
    # The module ships its own copy of OpenBLAS under its own name: the loader then never hands us the one that another
    # package has loaded, nor them ours, and the kernels that we choose for it at import are chosen for us alone.
    find_program(HARMONIUM_PATCHELF patchelf REQUIRED)
    set(blas_target ${PROJECT_BINARY_DIR}/libharmonium_openblas.so)
    file(COPY_FILE ${directory}/${file} ${blas_target})
    execute_process(COMMAND ${HARMONIUM_PATCHELF} --set-soname libharmonium_openblas.so ${blas_target}
                    COMMAND_ERROR_IS_FATAL ANY)
  endif()
  set(blas_prefix scipy_)
  set(blas_is_openblas 1)
endif()
