// Which instruction set is selected on this machine.
#include <cstdlib>
#include <cstring>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "arguments.h"

namespace lstm {

namespace baseline {
extern const IsaFunctions kFunctions;
}
#if defined(__x86_64__)
namespace avx2 {
extern const IsaFunctions kFunctions;
}
namespace avx512 {
extern const IsaFunctions kFunctions;
}
#endif

namespace {

// The widest that the machine supports, or the one that LSTM_JAX_ISA names, if that is narrower:
// for tests, and for the same bits on two machines.
const IsaFunctions& select() {
  const char* const requested = std::getenv("LSTM_JAX_ISA");
#if defined(__x86_64__)
  const auto is_requested = [&](const char* name) {
    return requested != nullptr && std::strcmp(requested, name) == 0;
  };
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx2 && !is_requested("baseline"))
    return avx512 && !is_requested("avx2") ? avx512::kFunctions : avx2::kFunctions;
#else
  (void)requested;
#endif
  return baseline::kFunctions;
}

}  // namespace

const IsaFunctions& functions() {
  static const IsaFunctions& selected = select();
  return selected;
}

int64_t second_level_cache() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
    if (found > 0) return static_cast<int64_t>(found);
#endif
    return int64_t{1} << 20;
  }();
  return bytes;
}

}  // namespace lstm
