// One step of the forward pass: pre-activations, gates, cell state and hidden state.
#pragma once

#include <algorithm>

#include "arguments.h"
#include "gates.h"
#include "matrix_product.h"
#include "scratch_memory.h"

namespace lstm::LSTM_ISA {

// The state of a block of rows between steps, and its projected inputs.
template <class S>
struct ForwardState {
  S *h[2], *c;   // [rows, padded H]; h of this step and of the next
  S* projected;  // [vector of units][step of a chunk, row][4, lanes]
  ForwardState(Arena& arena, int64_t rows, int64_t H, int64_t chunk) {
    for (S*& each : h) each = arena.take<S>(rows * padded<S>(H));
    c = arena.take<S>(rows * padded<S>(H));
    projected = arena.take<S>(chunk * rows * 4 * padded<S>(H));
  }
};

template <class S>
class ForwardSteps {
 public:
  // For one network; its weights are packed by `pack`.
  ForwardSteps(const ForwardArgs<S>& f, Arena& arena, int64_t chunk) : f_(f), chunk_(chunk) {
    units_ = vectors<S>(f.n.H);
    kernel_ = arena.take<S>(f.n.I * 4 * padded<S>(f.n.H));
    recurrent_ = arena.take<S>(f.n.H * 4 * padded<S>(f.n.H));
    bias_ = arena.take<S>(4 * padded<S>(f.n.H));
  }

  // The same for another network, in the same memory.
  ForwardSteps with(const ForwardArgs<S>& f) const {
    ForwardSteps other = *this;
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
      const bool reset = is_reset(0, b_0 + r);
      for (int64_t k = 0; k < HP; k += kLanes<S>) {
        const int64_t at = (b_0 + r) * H + k;
        store(s.h[0] + r * HP + k, reset ? V<S>{} : load(f_.h_0 + at, H - k));
        store(s.c + r * HP + k, reset ? V<S>{} : load(f_.c_0 + at, H - k));
      }
    }
  }

  // Step n, in the order of computation, of some rows and some vectors of units.
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

  bool is_valid(int64_t n, int64_t b) const {
    return f_.valid == nullptr || f_.valid[time(n) * f_.n.B + b];
  }

  bool is_reset(int64_t n, int64_t b) const {
    return f_.reset != nullptr && n < f_.n.T && f_.reset[time(n) * f_.n.B + b] && is_valid(n, b);
  }

  // W x + b of a chunk of steps at once, so that the weights are read once for all of them.
  void project(const ForwardState<S>& s, int64_t n_0, int64_t b_0, int64_t rows, int64_t first,
               int64_t last) const {
    const int64_t I = f_.n.I, steps = std::min(chunk_, f_.n.T - n_0);
    for (int64_t j = first; j < last; j++)
      for (int64_t n = n_0; n < n_0 + steps; n++)
        for_tiles(rows, [&](auto height, int64_t row) {
          constexpr int R = decltype(height)::value;
          V<S> z[R][4];
          bias_into<R>(z, j);
          multiply<S>(f_.x + (time(n) * f_.n.B + b_0 + row) * I, I, kernel_at(j), I, z);
          S* const out = projected_at(s, n, rows, row, j);
          LSTM_UNROLL for (int r = 0; r < R; r++)
            LSTM_UNROLL for (int v = 0; v < 4; v++) store(out + (r * 4 + v) * kLanes<S>, z[r][v]);
        });
  }

  template <int R>
  LSTM_INLINE void bias_into(V<S> (&z)[R][4], int64_t j) const {
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

  // R rows of one vector of units. The gates are computed while their pre-activations z are in
  // registers.
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
        bias_into<R>(z, j);
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
        const auto [i, f, g, o] = gates_of<S>(z[r]);
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
      // The state before the next step.
      const bool reset = f_.reset != nullptr && is_reset(n + 1, b_0 + row + r);
      store(h_t + r * HP, reset ? V<S>{} : h);
      store(c_t + r * HP, reset ? V<S>{} : c);
    }
  }

  ForwardArgs<S> f_;
  int64_t chunk_, units_;
  S *kernel_, *recurrent_, *bias_;
};

// The arrays of network g.
template <class S>
ForwardArgs<S> of_network(ForwardArgs<S> f, int64_t g) {
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
