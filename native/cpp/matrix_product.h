// The matrix product of both passes: a tile of rows and vectors is kept in registers.
#pragma once

#include <type_traits>

#include "vector.h"

namespace lstm::LSTM_ISA {

#define LSTM_UNROLL _Pragma("GCC unroll 8")

// acc[r][v] += sum over k of a[r][k] * w[k][v], w being packed as [K][N][lanes].
//
// The order of every sum is the same for any R, so results do not depend on how rows are divided
// among threads.
template <class S, int R, int N>
LSTM_INLINE void multiply(const S* a, int64_t lda, const S* w, int64_t K, V<S> (&acc)[R][N]) {
  constexpr int L = kLanes<S>;
  for (int64_t k = 0; k < K; k++, w += N * L) {
    V<S> column[N];
    LSTM_UNROLL for (int v = 0; v < N; v++) column[v] = load(w + v * L);
    LSTM_UNROLL for (int r = 0; r < R; r++) {
      const V<S> x = splat(a[r * lda + k]);
      LSTM_UNROLL for (int v = 0; v < N; v++) acc[r][v] += x * column[v];
    }
  }
}

// Rows [first, first + count) as tiles of nearly equal height: f(std::integral_constant<R>, row).
template <class F>
LSTM_INLINE void for_tiles(int64_t count, F&& f) {
  const int64_t tiles = (count + kRows - 1) / kRows;
  for (int64_t q = 0; q < tiles; q++) {
    const int64_t row = count * q / tiles, height = count * (q + 1) / tiles - row;
    switch (height) {
      case 1: f(std::integral_constant<int, 1>{}, row); break;
      case 2: f(std::integral_constant<int, 2>{}, row); break;
      case 3: f(std::integral_constant<int, 3>{}, row); break;
#if defined(__AVX512F__) || defined(__aarch64__)
      case 4: f(std::integral_constant<int, 4>{}, row); break;
      case 5: f(std::integral_constant<int, 5>{}, row); break;
      case 6: f(std::integral_constant<int, 6>{}, row); break;
#endif
    }
  }
}

// Vectors that hold n numbers.
template <class S>
constexpr int64_t vectors(int64_t n) {
  return (n + kLanes<S> - 1) / kLanes<S>;
}

// n rounded up to whole vectors.
template <class S>
constexpr int64_t padded(int64_t n) {
  return vectors<S>(n) * kLanes<S>;
}

// Columns as panels of up to four vectors of nearly equal width.
template <class S>
struct Panels {
  int64_t size, vectors, count;
  explicit Panels(int64_t size)
      : size(size), vectors(LSTM_ISA::vectors<S>(size)), count((vectors + 3) / 4) {}
  int64_t first_vector(int64_t p) const { return vectors * p / count; }
  int64_t first(int64_t p) const { return first_vector(p) * kLanes<S>; }
  int64_t width(int64_t p) const { return first_vector(p + 1) - first_vector(p); }
};

// f(std::integral_constant<N>) for a panel of N vectors.
template <class F>
LSTM_INLINE void with_width(int64_t n, F&& f) {
  switch (n) {
    case 1: f(std::integral_constant<int, 1>{}); break;
    case 2: f(std::integral_constant<int, 2>{}); break;
    case 3: f(std::integral_constant<int, 3>{}); break;
    case 4: f(std::integral_constant<int, 4>{}); break;
  }
}

// Packs w [K, 4H] for units: [vector of units][K][gate][lanes], with zeros for units past H.
template <class S>
void pack_gates(const S* w, int64_t K, int64_t H, S* out, int64_t first, int64_t last) {
  constexpr int L = kLanes<S>;
  for (int64_t j = first; j < last; j++)
    for (int64_t k = 0; k < K; k++)
      for (int g = 0; g < 4; g++)
        store(out + ((j * K + k) * 4 + g) * L, load(w + (k * 4 + g) * H + j * L, H - j * L));
}

// Packs the transpose of w [N, K]: [panel of N][K][vectors of the panel][lanes].
template <class S>
void pack_transposed(const S* w, int64_t K, const Panels<S>& panels, S* out, int64_t first,
                     int64_t last) {
  constexpr int64_t kBlock = 16;  // stays in the cache while it is transposed
  for (int64_t p = first; p < last; p++) {
    const int64_t n_0 = panels.first(p), width = panels.width(p) * kLanes<S>;
    S* const panel = out + n_0 * K;
    for (int64_t k_0 = 0; k_0 < K; k_0 += kBlock) {
      const int64_t k_1 = k_0 + kBlock < K ? k_0 + kBlock : K;
      for (int64_t n = 0; n < width; n++)
        for (int64_t k = k_0; k < k_1; k++)
          panel[k * width + n] = n_0 + n < panels.size ? w[(n_0 + n) * K + k] : S(0);
    }
  }
}

}  // namespace lstm::LSTM_ISA
