// Checks that count. A failed one says where it stands and the program goes on; main() returns whether any failed.
#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>

namespace harmonium_test {

inline int checks = 0;
inline int failures = 0;

inline void fail(const char* what, const std::string& detail, const char* file, int line) {
    ++failures;
    std::printf("%s:%d: %s%s\n", file, line, what, detail.c_str());
}

inline void check(bool right, const char* what, const char* file, int line) {
    ++checks;
    if (!right) fail(what, "", file, line);
}

// |actual - expected| <= bound; false for NaN.
inline void check_near(double actual, double expected, double bound, const char* what, const char* file, int line) {
    ++checks;
    if (std::abs(actual - expected) <= bound) return;
    char detail[160];
    std::snprintf(detail, sizeof detail, ": %.17g, not %.17g within %.3g", actual, expected, bound);
    fail(what, detail, file, line);
}

template <class Error, class Body>
void check_throws(const Body& body, const std::string& part, const char* what, const char* file, int line) {
    std::string detail = ": nothing thrown";
    ++checks;
    try {
        body();
    } catch (const Error& error) {
        if (std::string(error.what()).find(part) != std::string::npos) return;
        detail = std::string(": \"") + error.what() + "\" says nothing of \"" + part + "\"";
    } catch (const std::exception& error) {
        detail = std::string(": another exception, ") + error.what();
    }
    fail(what, detail, file, line);
}

}  // namespace harmonium_test

#define CHECK(condition) harmonium_test::check((condition), #condition, __FILE__, __LINE__)
#define CHECK_NEAR(actual, expected, bound) \
    harmonium_test::check_near((actual), (expected), (bound), #actual, __FILE__, __LINE__)
#define CHECK_THROWS(Error, part, ...) \
    harmonium_test::check_throws<Error>([&] { __VA_ARGS__; }, part, #__VA_ARGS__, __FILE__, __LINE__)
