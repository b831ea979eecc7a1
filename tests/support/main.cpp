// The one `main` of every test program (Catch2 2 compiles its runner here, once).
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
