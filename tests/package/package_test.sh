#!/usr/bin/env bash
# One test of the package: package_test.sh NAME WORKDIR. What it needs to know of the build comes in the environment
# (see CMakeLists.txt). "install" comes first; the others use the copy it made.
set -euo pipefail

name=$1
work=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=$work/moved/usr
library=$prefix/$LIBDIR/libpmemstream-cpp.so

fail() {
    echo "$*" >&2
    exit 1
}

# none_of WHAT GREP...: fails if the search finds anything.
none_of() {
    local what=$1
    shift
    if "$@"; then
        fail "$what"
    fi
}

# consume DIRECTORY OPTION...: configures and builds the consumer project and runs it.
consume() {
    local directory=$1
    shift
    rm -rf "$directory"
    "$CMAKE" -G Ninja -S "$here/consumer" -B "$directory" -DCMAKE_CXX_COMPILER="$CXX" \
        -DCMAKE_CXX_COMPILER_LAUNCHER="$LAUNCHER" "$@"
    "$CMAKE" --build "$directory" --target consumer
    run_consumer "$directory/consumer"
}

# It must have written and read entries, not just have ended well.
run_consumer() {
    local directory said
    directory=$(mktemp -d "$work/run.XXXXXX")
    said=$("$1" "$directory/a.stream" "$VERSION")
    rm -r "$directory"
    [[ $said == "read back 3 entries" ]] || fail "the consumer said: $said"
}

case $name in
    install)
        rm -rf "$work"
        mkdir -p "$work"
        "$CMAKE" --install "$BUILD_DIR" --prefix "$work/first/usr" >"$work/install.log"
        # Whatever remembers where it was installed is found out.
        mv "$work/first" "$work/moved"
        ;;

    contents)
        for file in "$library" "$prefix/$LIBDIR/pkgconfig/pmemstream-cpp.pc" \
            "$prefix/$LIBDIR/cmake/pmemstream/pmemstream-config.cmake" "$prefix/include/pmemstream/pmemstream.hpp" \
            "$prefix/include/pmemstream/version.hpp" "$prefix/share/doc/pmemstream/LICENSE" \
            "$prefix/share/doc/pmemstream/README.md"; do
            [[ -e $file ]] || fail "not installed: $file"
        done
        # Every public header, and no other.
        diff <(cd "$SOURCE_DIR/include/pmemstream" && { find . -name '*.hpp' && echo ./version.hpp; } | sort) \
            <(cd "$prefix/include/pmemstream" && find . -type f | sort) || fail "other headers than the public ones"
        # The names that are left to the C library.
        [[ -z $(find "$prefix" -name 'libpmemstream.*' -o -name 'pmemstream.pc' -o -name 'libpmemstream.pc') ]] ||
            fail "took a name of the C library"
        none_of "these remember the prefix" \
            grep -rlF "$work/first" "$prefix/$LIBDIR/cmake" "$prefix/$LIBDIR/pkgconfig" "$prefix/include"
        ;;

    find_package)
        consume "$work/find_package" -DCMAKE_PREFIX_PATH="$prefix"
        ;;

    add_subdirectory)
        consume "$work/add_subdirectory" -DPMEMSTREAM_SOURCE="$SOURCE_DIR"
        # A subproject decides nothing for the whole.
        grep -x 'CMAKE_BUILD_TYPE:[A-Z]*=' "$work/add_subdirectory/CMakeCache.txt" ||
            fail "the subproject has set a build type for the whole project"
        ;;

    pkg_config)
        export PKG_CONFIG_PATH=$prefix/$LIBDIR/pkgconfig
        # The prefix is the place of the .pc file, not what is written in it.
        pkg-config --exists --print-errors "pmemstream-cpp = $VERSION"
        read -ra flags < <(pkg-config --cflags --libs pmemstream-cpp)
        "$CXX" -std=c++20 -o "$work/pkg_config" "$here/consumer/consumer.cpp" "${flags[@]}"
        LD_LIBRARY_PATH=$prefix/$LIBDIR run_consumer "$work/pkg_config"
        # What is inlined reads the library's own objects: containers that look otherwise in the user's code are not in them.
        "$CXX" -std=c++20 -D_GLIBCXX_DEBUG -o "$work/debug_containers" "$here/consumer/consumer.cpp" "${flags[@]}"
        LD_LIBRARY_PATH=$prefix/$LIBDIR run_consumer "$work/debug_containers"
        ;;

    exports)
        nm -DC --defined-only "$library" | cut -d' ' -f2- >"$work/exports"
        exported=$(wc -l <"$work/exports")
        [[ $exported -ge 50 ]] || fail "only $exported symbols: the API is not all there"
        none_of "exported, but not pmemstream's" \
            grep -Ev '^[A-Za-z] ((vtable|typeinfo|typeinfo name|VTT) for )?pmemstream::' "$work/exports"
        # The namespaces of the sources: a folder may have the name of a public class.
        inner=$(grep -rhoE '^namespace pmemstream::[a-z_]+' "$SOURCE_DIR/src" "$SOURCE_DIR/ipc" | sed 's/.*:://' | sort -u |
            paste -sd '|')
        [[ $inner == *core* ]] || fail "found only these inner namespaces: $inner"
        none_of "exported, but of the inner layers" \
            grep -E "^[A-Za-z] ([a-z ]* for )?pmemstream::(${inner}|detail)::" "$work/exports"
        none_of "exported, but of an implementation class" \
            grep -E '^[A-Za-z] ([a-z ]* for )?pmemstream::[a-z_]+::impl\b' "$work/exports"
        soname=$(objdump -p "$library" | sed -n 's/^ *SONAME *//p')
        [[ $soname == "libpmemstream-cpp.so.${VERSION%.*}" ]] || fail "SONAME is $soname"
        echo "$exported symbols, all of the API; SONAME $soname"
        ;;

    headers)
        count=0
        for header in "$prefix"/include/pmemstream/*.hpp; do
            short=pmemstream/${header##*/}
            printf '#include <%s>\n' "$short" |
                "$CXX" -std=c++20 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -x c++ -fsyntax-only - ||
                fail "$short does not compile alone"
            printf '#include <%s>\n' "$short" | "$CXX" -std=c++20 -I"$prefix/include" -x c++ -M - >"$work/includes"
            none_of "$short leads to these" grep -oE '[^ ]*(/boost/|/fmt/|libpmem|/src/|/ipc/)[^ ]*' "$work/includes"
            count=$((count + 1))
        done
        [[ $count -ge 8 ]] || fail "only $count headers"
        echo "$count headers compile alone"
        ;;

    tools)
        for tool in $TOOLS; do
            [[ -x $prefix/bin/$tool ]] || fail "$tool is not installed"
            # By its run path it finds the library beside it.
            ldd "$prefix/bin/$tool" | grep -F 'libpmemstream-cpp' | grep -F "$work/moved/" ||
                fail "$tool uses another library than the one installed with it"
            "$prefix/bin/$tool" --help >"$work/help"
            [[ -s $work/help ]] || fail "$tool --help says nothing"
            [[ -s $prefix/share/man/man1/$tool.1 ]] || fail "$tool has no manual page"
        done
        printf 'one\ntwo\n' | "$prefix/bin/pmemstream-write" "$work/installed.stream" --region lines
        [[ $("$prefix/bin/pmemstream-inspect" dump "$work/installed.stream" --region lines | wc -l) -ge 2 ]] ||
            fail "what the installed writer wrote, the installed inspector does not show"
        rm -f "$work"/installed.stream*
        ;;

    *)
        fail "no test is called $name"
        ;;
esac
