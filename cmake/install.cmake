# What `cmake --install` copies. The C++ library is called pmemstream-cpp in the file system; "libpmemstream" stays free
# for the C library.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/pmemstream)

install(TARGETS pmemstream EXPORT pmemstream-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT development)
install(DIRECTORY include/pmemstream ${PROJECT_BINARY_DIR}/include/pmemstream
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development FILES_MATCHING PATTERN "*.hpp")

# find_package(pmemstream) gives pmemstream::pmemstream.
install(EXPORT pmemstream-targets NAMESPACE pmemstream:: DESTINATION ${package_dir} COMPONENT development)
configure_package_config_file(cmake/pmemstream-config.cmake.in ${PROJECT_BINARY_DIR}/package/pmemstream-config.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/pmemstream-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/pmemstream-config.cmake
              ${PROJECT_BINARY_DIR}/package/pmemstream-config-version.cmake
        DESTINATION ${package_dir} COMPONENT development)

# pkg-config pmemstream-cpp. The prefix is where the file is found, so the tree may be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  message(FATAL_ERROR "CMAKE_INSTALL_LIBDIR and CMAKE_INSTALL_INCLUDEDIR are relative to the prefix")
endif()
file(RELATIVE_PATH pkgconfig_to_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
string(REGEX REPLACE "/$" "" pkgconfig_to_prefix ${pkgconfig_to_prefix})
configure_file(cmake/pmemstream-cpp.pc.in ${PROJECT_BINARY_DIR}/package/pmemstream-cpp.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/pmemstream-cpp.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
        COMPONENT development)

# Tools find the library of their own tree, wherever it is.
file(RELATIVE_PATH bin_to_lib /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
foreach(tool pmemstream-write pmemstream-inspect pmemstream-bench)
  if(TARGET ${tool})
    set_target_properties(${tool} PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
    install(TARGETS ${tool} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
    install(FILES docs/man/${tool}.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  endif()
endforeach()
foreach(page LICENSE README.md CHANGELOG.md)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${page})
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_DOCDIR})
  endif()
endforeach()
