// The gates of a step: sigmoid and tanh of the pre-activations.
#pragma once

#include "vector.h"

namespace lstm::LSTM_ISA {

template <class S>
LSTM_INLINE V<S> within(V<S> x, S low, S high) {
  const V<S> a = splat(low), b = splat(high);
  // NaN compares false and stays NaN.
  x = x < a ? a : x;
  return x > b ? b : x;
}

// 1/x for the numbers that the gates divide by, which are between 1 and about 1e38.
template <class S>
LSTM_INLINE V<S> reciprocal(V<S> x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(S) == 4) {
    const V<S> y = (V<S>)_mm512_rcp14_ps((__m512)x);
    return y + y * (S(1) - x * y);  // one Newton step: from 14 bits to all
  }
#endif
  return S(1) / x;
}

// exp(x) - 1 = q * s + (s - 1), for |x| < 87: s is a power of two, and q = exp(r) - 1 for the
// remainder r of x in units of log 2, whose polynomial interpolates at Chebyshev's nodes.
LSTM_INLINE void exp_parts(V<float> x, V<float>& q, V<float>& s) {
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds, and leaves the integer below
  const V<float> shifted = x * 1.44269504088896341f + magic;
  const V<float> n = shifted - magic;
  V<float> r = x - n * 0.693359375f;
  r = r + n * 2.12194440054691e-4f;
  V<float> p = splat(1.392692661e-3f);
  p = p * r + 8.363773874e-3f;
  p = p * r + 4.166655011e-2f;
  p = p * r + 1.666657338e-1f;
  p = p * r + 5.0e-1f;
  q = p * (r * r) + r;
  s = (V<float>)(((Vectors<float>::bits)shifted << 23) + 0x3f800000u);
}

LSTM_INLINE void exp_parts(V<double> x, V<double>& q, V<double>& s) {
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const V<double> shifted = x * 1.442695040888963407 + magic;
  const V<double> n = shifted - magic;
  V<double> r = x - n * 0.6931471803691238164901733;
  r = r - n * 1.9082149292705878161e-10;
  V<double> p = splat(2.09154422977801152e-9);
  p = p * r + 2.51062747335732947e-8;
  p = p * r + 2.75572718102197996e-7;
  p = p * r + 2.75572528335169097e-6;
  p = p * r + 2.48015873270071867e-5;
  p = p * r + 1.98412698768643549e-4;
  p = p * r + 1.38888888888833267e-3;
  p = p * r + 8.3333333333255447e-3;
  p = p * r + 4.16666666666666701e-2;
  p = p * r + 1.66666666666666714e-1;
  p = p * r + 5.0e-1;
  q = p * (r * r) + r;
  s = (V<double>)(((Vectors<double>::bits)shifted << 52) + 0x3ff0000000000000u);
}

// 1 / (1 + exp(-x))
template <class S>
LSTM_INLINE V<S> sigmoid(V<S> x) {
  constexpr S bound = sizeof(S) == 4 ? S(87) : S(700);
  V<S> q, s;
  exp_parts(within(-x, -bound, bound), q, s);
  return reciprocal<S>(q * s + (s + S(1)));
}

// e / (e + 2) with e = exp(2x) - 1, exact near 0
template <class S>
LSTM_INLINE V<S> tanh(V<S> x) {
  constexpr S bound = sizeof(S) == 4 ? S(30) : S(60);
  V<S> q, s;
  exp_parts(within(x + x, -bound, bound), q, s);
  const V<S> e = q * s + (s - S(1));
  return e * reciprocal<S>(e + S(2));
}

template <class S>
struct Gates {
  V<S> i, f, g, o;
};

// The gates and the candidate from their pre-activations, in the order i, f, g, o.
template <class S>
LSTM_INLINE Gates<S> gates_of(const V<S> (&z)[4]) {
  return {sigmoid<S>(z[0]), sigmoid<S>(z[1]), tanh<S>(z[2]), sigmoid<S>(z[3])};
}

}  // namespace lstm::LSTM_ISA
