// The steps of the forward pass.
#pragma once

#include <algorithm>

#include "problem.h"
#include "product.h"
#include "scratch.h"

namespace lstm::LSTM_ISA {

// What a block of rows carries from step to step, and its share of projected inputs.
template <class S>
struct ForwardState {
  S *h[2], *c;   // [rows, padded H]; h of this step and of the next
  S* projected;  // [vector of units][step of a chunk, row][4, lanes]
  ForwardState(Pieces& pieces, int64_t rows, int64_t H, int64_t chunk) {
    for (S*& each : h) each = pieces.take<S>(rows * padded<S>(H));
    c = pieces.take<S>(rows * padded<S>(H));
    projected = pieces.take<S>(chunk * rows * 4 * padded<S>(H));
  }
};

template <class S>
class ForwardPass {
 public:
  // One network of the problem; its weights are still to be packed.
  ForwardPass(const Forward<S>& f, Pieces& pieces, int64_t chunk) : f_(f), chunk_(chunk) {
    units_ = vectors<S>(f.n.H);
    kernel_ = pieces.take<S>(f.n.I * 4 * padded<S>(f.n.H));
    recurrent_ = pieces.take<S>(f.n.H * 4 * padded<S>(f.n.H));
    bias_ = pieces.take<S>(4 * padded<S>(f.n.H));
  }

  // The same for another network, in its place.
  ForwardPass with(const Forward<S>& f) const {
    ForwardPass other = *this;
    other.f_ = f;
    return other;
  }

  void pack(int64_t first, int64_t last) {
    pack_gates(f_.kernel, f_.n.I, f_.n.H, kernel_, first, last);
    pack_gates(f_.recurrent, f_.n.H, f_.n.H, recurrent_, first, last);
    pack_gates(f_.bias, 1, f_.n.H, bias_, first, last);
  }

  void start(const ForwardState<S>& s, int64_t b_0, int64_t rows) const {
    const int64_t H = f_.n.H, HP = padded<S>(H);
    for (int64_t r = 0; r < rows; r++) {
      const bool anew = starts_anew(0, b_0 + r);
      for (int64_t k = 0; k < HP; k += kLanes<S>) {
        const int64_t at = (b_0 + r) * H + k;
        store(s.h[0] + r * HP + k, anew ? V<S>{} : load(f_.h_0 + at, H - k));
        store(s.c + r * HP + k, anew ? V<S>{} : load(f_.c_0 + at, H - k));
      }
    }
  }

  // Step n (of the order they are run in) of some rows and some vectors of units.
  void step(const ForwardState<S>& s, int64_t n, int64_t b_0, int64_t rows, int64_t first,
            int64_t last) const {
    if (chunk_ > 0 && n % chunk_ == 0) project(s, n, b_0, rows, first, last);
    for (int64_t j = first; j < last; j++)
      for_tiles(rows, [&](auto height, int64_t row) {
        constexpr int R = decltype(height)::value;
        if (f_.gates != nullptr)
          tile<R, true>(s, n, b_0, rows, row, j);
        else
          tile<R, false>(s, n, b_0, rows, row, j);
      });
  }

  void finish(const ForwardState<S>& s, int64_t b_0, int64_t rows) const {
    const int64_t H = f_.n.H, HP = padded<S>(H);
    for (int64_t r = 0; r < rows; r++) {
      std::memcpy(f_.h_T + (b_0 + r) * H, s.h[f_.n.T % 2] + r * HP, H * sizeof(S));
      std::memcpy(f_.c_T + (b_0 + r) * H, s.c + r * HP, H * sizeof(S));
    }
  }

  int64_t units() const { return units_; }

 private:
  int64_t time(int64_t n) const { return f_.reverse ? f_.n.T - 1 - n : n; }

  bool is_there(int64_t n, int64_t b) const {
    return f_.valid == nullptr || f_.valid[time(n) * f_.n.B + b];
  }

  bool starts_anew(int64_t n, int64_t b) const {
    return f_.reset != nullptr && n < f_.n.T && f_.reset[time(n) * f_.n.B + b] && is_there(n, b);
  }

  // W x + b of a chunk of steps at once: the weights are read once for all of them.
  void project(const ForwardState<S>& s, int64_t n_0, int64_t b_0, int64_t rows, int64_t first,
               int64_t last) const {
    const int64_t I = f_.n.I, steps = std::min(chunk_, f_.n.T - n_0);
    for (int64_t j = first; j < last; j++)
      for (int64_t n = n_0; n < n_0 + steps; n++)
        for_tiles(rows, [&](auto height, int64_t row) {
          constexpr int R = decltype(height)::value;
          V<S> z[R][4];
          begin<R>(z, j);
          multiply<S>(f_.x + (time(n) * f_.n.B + b_0 + row) * I, I, kernel_at(j), I, z);
          S* const out = projected_at(s, n, rows, row, j);
          LSTM_UNROLL for (int r = 0; r < R; r++)
            LSTM_UNROLL for (int v = 0; v < 4; v++) store(out + (r * 4 + v) * kLanes<S>, z[r][v]);
        });
  }

  template <int R>
  LSTM_INLINE void begin(V<S> (&z)[R][4], int64_t j) const {
    LSTM_UNROLL for (int v = 0; v < 4; v++) {
      const V<S> b = load(bias_ + (j * 4 + v) * kLanes<S>);
      LSTM_UNROLL for (int r = 0; r < R; r++) z[r][v] = b;
    }
  }

  const S* kernel_at(int64_t j) const { return kernel_ + j * f_.n.I * 4 * kLanes<S>; }

  S* projected_at(const ForwardState<S>& s, int64_t n, int64_t rows, int64_t row,
                  int64_t j) const {
    return s.projected + ((j * chunk_ + n % chunk_) * rows + row) * 4 * kLanes<S>;
  }

  // R rows of one vector of units: the gates are computed where the products were summed.
  template <int R, bool kGates>
  __attribute__((noinline)) void tile(const ForwardState<S>& s, int64_t n, int64_t b_0,
                                      int64_t rows, int64_t row, int64_t j) const {
    constexpr int L = kLanes<S>;
    const int64_t H = f_.n.H, HP = padded<S>(H), I = f_.n.I;
    const int64_t at = time(n) * f_.n.B + b_0 + row;  // of the first row, in arrays [T, B]
    const int64_t lanes = std::min<int64_t>(L, H - j * L);
    const S* const h_tm1 = s.h[n % 2] + row * HP;
    S* const h_t = s.h[(n + 1) % 2] + row * HP + j * L;
    S* const c_t = s.c + row * HP + j * L;
    const bool masked = f_.valid != nullptr;
    bool any = !masked;
    for (int r = 0; masked && r < R; r++) any |= f_.valid[at + r];

    V<S> z[R][4];
    if (any) {
      if (chunk_ > 0) {
        const S* const from = projected_at(s, n, rows, row, j);
        LSTM_UNROLL for (int r = 0; r < R; r++)
          LSTM_UNROLL for (int v = 0; v < 4; v++) z[r][v] = load(from + (r * 4 + v) * L);
      } else {
        begin<R>(z, j);
        multiply<S>(f_.x + at * I, I, kernel_at(j), I, z);
      }
      multiply<S>(h_tm1, HP, recurrent_ + j * H * 4 * L, H, z);
    }
    LSTM_UNROLL for (int r = 0; r < R; r++) {
      V<S> h, c;
      if (masked && !f_.valid[at + r]) {
        h = load(h_tm1 + r * HP + j * L);
        c = load(c_t + r * HP);
        if constexpr (kGates)
          for (int v = 0; v < 4; v++)
            store(f_.gates + ((at + r) * 4 + v) * H + j * L, V<S>{}, lanes);
      } else {
        const V<S> i = sigmoid<S>(z[r][0]), f = sigmoid<S>(z[r][1]);
        const V<S> g = tanh<S>(z[r][2]), o = sigmoid<S>(z[r][3]);
        c = f * load(c_t + r * HP) + i * g;
        h = o * tanh<S>(c);
        if constexpr (sizeof(S) == 4)
          if (f_.round) h = as_bfloat16(h);
        if constexpr (kGates) {
          S* const out = f_.gates + (at + r) * 4 * H + j * L;
          store(out, i, lanes);
          store(out + H, f, lanes);
          store(out + 2 * H, g, lanes);
          store(out + 3 * H, o, lanes);
        }
      }
      store(f_.hs + (at + r) * H + j * L, h, lanes);
      if (f_.cs != nullptr) store(f_.cs + (at + r) * H + j * L, c, lanes);
      // What the next step goes on from.
      const bool anew = f_.reset != nullptr && starts_anew(n + 1, b_0 + row + r);
      store(h_t + r * HP, anew ? V<S>{} : h);
      store(c_t + r * HP, anew ? V<S>{} : c);
    }
  }

  Forward<S> f_;
  int64_t chunk_, units_;
  S *kernel_, *recurrent_, *bias_;
};

// The arrays of network g.
template <class S>
Forward<S> network(Forward<S> f, int64_t g) {
  const int64_t T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const auto move = [g](auto*& p, int64_t size) { p = p == nullptr ? p : p + g * size; };
  move(f.x, T * B * I);
  move(f.kernel, I * 4 * H);
  move(f.recurrent, H * 4 * H);
  move(f.bias, 4 * H);
  move(f.valid, T * B);
  move(f.reset, T * B);
  for (const S** p : {&f.h_0, &f.c_0}) move(*p, B * H);
  for (S** p : {&f.h_T, &f.c_T}) move(*p, B * H);
  for (S** p : {&f.hs, &f.cs}) move(*p, T * B * H);
  move(f.gates, T * B * 4 * H);
  return f;
}

}  // namespace lstm::LSTM_ISA
