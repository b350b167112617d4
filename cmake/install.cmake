# The C++ library for other projects: find_package(harmonium) gives harmonium::harmonium.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
install(TARGETS harmonium EXPORT harmonium ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY cpp/include/harmonium DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
set(config_directory ${CMAKE_INSTALL_LIBDIR}/cmake/harmonium)
install(EXPORT harmonium NAMESPACE harmonium:: FILE harmonium-targets.cmake DESTINATION ${config_directory})
file(WRITE ${PROJECT_BINARY_DIR}/harmonium-config.cmake
  "include(CMakeFindDependencyMacro)\nfind_dependency(Threads)\ninclude(\${CMAKE_CURRENT_LIST_DIR}/harmonium-targets.cmake)\n")
write_basic_package_version_file(${PROJECT_BINARY_DIR}/harmonium-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/harmonium-config.cmake ${PROJECT_BINARY_DIR}/harmonium-config-version.cmake
  DESTINATION ${config_directory})
