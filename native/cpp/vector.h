// Vectors of one instruction set: loads, stores, and rounding.
//
// The code is written once, with the vector extensions of GCC and Clang. A file that includes it is
// compiled once for each instruction set: LSTM_ISA is its name, LSTM_BYTES the width of a vector.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define LSTM_INLINE inline __attribute__((always_inline))

namespace lstm::LSTM_ISA {

template <class S>
struct Bits;
template <>
struct Bits<float> {
  using type = uint32_t;
};
template <>
struct Bits<double> {
  using type = uint64_t;
};

template <class S>
struct Vectors {
  typedef S whole __attribute__((vector_size(LSTM_BYTES)));
  typedef S loose __attribute__((vector_size(LSTM_BYTES), aligned(sizeof(S)), may_alias));
  typedef typename Bits<S>::type bits __attribute__((vector_size(LSTM_BYTES)));
};

template <class S>
using V = typename Vectors<S>::whole;

// Numbers in a vector.
template <class S>
constexpr int kLanes = LSTM_BYTES / sizeof(S);

// Rows of a register tile: with four vectors each they fill the registers, apart from a few for
// weights.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kRows = 6;
#else
constexpr int kRows = 3;
#endif

template <class S>
LSTM_INLINE V<S> load(const S* p) {
  return *reinterpret_cast<const typename Vectors<S>::loose*>(p);
}

template <class S>
LSTM_INLINE void store(S* p, V<S> v) {
  *reinterpret_cast<typename Vectors<S>::loose*>(p) = v;
}

template <class S>
LSTM_INLINE V<S> splat(S x) {
  return x - V<S>{};
}

// The first n numbers at p, and zeros after them.
template <class S>
LSTM_INLINE V<S> load(const S* p, int64_t n) {
  if (n >= kLanes<S>) return load(p);
#if defined(__AVX512F__)
  if constexpr (sizeof(S) == 4)
    return (V<S>)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
  else
    return (V<S>)_mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
#else
  V<S> v{};
  for (int64_t k = 0; k < n; k++) v[k] = p[k];
  return v;
#endif
}

// The first n numbers of v to p.
template <class S>
LSTM_INLINE void store(S* p, V<S> v, int64_t n) {
  if (n >= kLanes<S>) return store(p, v);
#if defined(__AVX512F__)
  if constexpr (sizeof(S) == 4)
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), (__m512)v);
  else
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), (__m512d)v);
#else
  for (int64_t k = 0; k < n; k++) p[k] = v[k];
#endif
}

// Rounded to bfloat16, to the nearest and to even between two; NaN stays NaN.
LSTM_INLINE V<float> as_bfloat16(V<float> x) {
  using I = Vectors<float>::bits;
  const I bits = (I)x;
  const I rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) & ~0xffffu;
  return x == x ? (V<float>)rounded : x;
}

}  // namespace lstm::LSTM_ISA
