// Which kernels to take on the machine at hand.
#include <cstdlib>
#include <cstring>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "problem.h"

namespace lstm {

namespace baseline {
extern const Kernels kKernels;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
#endif

namespace {

// Of those that the machine runs, the widest; or as wide as LSTM_JAX_ISA says, for tests, and for
// those who want the same bits on two machines.
const Kernels& best() {
  const char* const wanted = std::getenv("LSTM_JAX_ISA");
#if defined(__x86_64__)
  const auto narrower = [&](const char* name) {
    return wanted != nullptr && std::strcmp(wanted, name) == 0;
  };
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx2 && !narrower("baseline"))
    return avx512 && !narrower("avx2") ? avx512::kKernels : avx2::kKernels;
#else
  (void)wanted;
#endif
  return baseline::kKernels;
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& chosen = best();
  return chosen;
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
