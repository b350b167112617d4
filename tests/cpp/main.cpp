// Without arguments, all tests; with "level", what isa() says. Exit status 77: this processor lacks the level asked
// for.
#include <cstdio>
#include <cstring>
#include <exception>

#include "check.hpp"
#include "harmonium/isa.hpp"

namespace harmonium_test {
void test_ops();
void test_bfloat16();
void test_rbm();
void test_sparse();
void test_dense();
void test_losses();
void test_autoencoder();
void test_errors();
}  // namespace harmonium_test

int main(int argc, char** argv) {
    try {
        std::printf("level %s\n", harmonium::isa_name());
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return std::strstr(error.what(), "this CPU runs at most") ? 77 : 1;
    }
    if (argc > 1 && std::strcmp(argv[1], "level") == 0) return 0;
    harmonium_test::test_ops();
    harmonium_test::test_bfloat16();
    harmonium_test::test_rbm();
    harmonium_test::test_sparse();
    harmonium_test::test_dense();
    harmonium_test::test_losses();
    harmonium_test::test_autoencoder();
    harmonium_test::test_errors();
    std::printf("%d checks, %d failed\n", harmonium_test::checks, harmonium_test::failures);
    return harmonium_test::failures > 0;
}
