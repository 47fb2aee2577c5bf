// One step of the backward pass: dz, the gradient of the pre-activations, from that of the step
// after it. Steps go from the last that the forward pass computed to the first.
#pragma once

#include <algorithm>

#include "arguments.h"
#include "gates.h"
#include "matrix_product.h"
#include "scratch_memory.h"

namespace lstm::LSTM_ISA {

// Gradients of a block of rows between steps.
template <class S>
struct BackwardState {
  S* dc;       // [rows, padded H] of the cell state
  S* kept_dh;  // [rows, padded H] of the hidden state, kept over masked steps
  S* dz;       // [chunk + 1, rows, 4H] of the steps of a chunk, and of the step after it
  BackwardState(Arena& arena, int64_t rows, int64_t H, int64_t chunk) {
    dc = arena.take<S>(rows * padded<S>(H));
    kept_dh = arena.take<S>(rows * padded<S>(H));
    dz = arena.take<S>((chunk + 1) * rows * 4 * H);
  }
};

template <class S>
class BackwardSteps {
 public:
  BackwardSteps(const BackwardArgs<S>& f, Arena& arena) : f_(f), panels_(f.n.H), inputs_(f.n.I) {
    recurrent_ = arena.take<S>(4 * f.n.H * padded<S>(f.n.H));
    kernel_ = f.dx == nullptr ? nullptr : arena.take<S>(4 * f.n.H * padded<S>(f.n.I));
  }

  // The same for another network, in the same memory.
  BackwardSteps with(const BackwardArgs<S>& f) const {
    BackwardSteps other = *this;
    other.f_ = f;
    return other;
  }

  void pack(int64_t part, int64_t parts) {
    const auto share = [&](const Panels<S>& p, const S* w, S* out) {
      pack_transposed(w, 4 * f_.n.H, p, out, p.count * part / parts, p.count * (part + 1) / parts);
    };
    share(panels_, f_.recurrent, recurrent_);
    if (kernel_ != nullptr) share(inputs_, f_.kernel, kernel_);
  }

  void start(const BackwardState<S>& s, int64_t b_0, int64_t rows) const {
    const int64_t H = f_.n.H, HP = padded<S>(H);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t k = 0; k < HP; k += kLanes<S>) {
        store(s.dc + r * HP + k, load(f_.dc_T + (b_0 + r) * H + k, H - k));
        store(s.kept_dh + r * HP + k, load(f_.dh_T + (b_0 + r) * H + k, H - k));
      }
  }

  // Step n of some rows and some panels of units, from dz of step n + 1 (null for none) to that of
  // step n; n = -1 gives the gradient of the initial hidden state.
  void step(const BackwardState<S>& s, int64_t n, int64_t b_0, int64_t rows, int64_t first,
            int64_t last, const S* dz_next, S* dz) const {
    for (int64_t p = first; p < last; p++)
      with_width(panels_.width(p), [&](auto width) {
        for_tiles(rows, [&](auto height, int64_t row) {
          constexpr int R = decltype(height)::value, N = decltype(width)::value;
          const S* const next = dz_next == nullptr ? nullptr : dz_next + row * 4 * f_.n.H;
          tile<R, N>(s, n, b_0 + row, row, p, next, dz + row * 4 * f_.n.H);
        });
      });
  }

  void finish(const BackwardState<S>& s, int64_t b_0, int64_t rows) const {
    const int64_t H = f_.n.H, HP = padded<S>(H);
    for (int64_t r = 0; r < rows; r++)
      std::memcpy(f_.dc_0 + (b_0 + r) * H, s.dc + r * HP, H * sizeof(S));
  }

  // Gradients of the inputs of some rows of steps: dz W^T.
  void input_gradients(int64_t at, int64_t rows, const S* dz) const {
    const int64_t I = f_.n.I, K = 4 * f_.n.H;
    for (int64_t p = 0; p < inputs_.count; p++)
      with_width(inputs_.width(p), [&](auto width) {
        for_tiles(rows, [&](auto height, int64_t row) {
          constexpr int R = decltype(height)::value, N = decltype(width)::value;
          const int64_t n_0 = inputs_.first(p);
          V<S> sum[R][N] = {};
          multiply<S>(dz + row * K, K, kernel_ + n_0 * K, K, sum);
          for (int r = 0; r < R; r++)
            LSTM_UNROLL for (int v = 0; v < N; v++) {
              const int64_t k = n_0 + v * kLanes<S>;
              store(f_.dx + (at + row + r) * I + k, sum[r][v], I - k);
            }
        });
      });
  }

  int64_t panels() const { return panels_.count; }
  int64_t time(int64_t n) const { return f_.reverse ? f_.n.T - 1 - n : n; }

  bool is_reset(int64_t n, int64_t b) const {
    if (f_.reset == nullptr || n < 0 || n >= f_.n.T) return false;
    const int64_t at = time(n) * f_.n.B + b;
    return f_.reset[at] && (f_.valid == nullptr || f_.valid[at]);
  }

  // The hidden state before step n of a row, or null for zeros.
  const S* hidden_before(int64_t n, int64_t b) const {
    if (is_reset(n, b)) return nullptr;
    return (n > 0 ? f_.hs + time(n - 1) * f_.n.B * f_.n.H : f_.h_0) + b * f_.n.H;
  }

  const BackwardArgs<S>& args() const { return f_; }

 private:
  template <int R, int N>
  __attribute__((noinline)) void tile(const BackwardState<S>& s, int64_t n, int64_t b, int64_t row,
                                      int64_t p, const S* dz_next, S* dz) const {
    constexpr int L = kLanes<S>;
    const int64_t H = f_.n.H, HP = padded<S>(H), n_0 = panels_.first(p);
    const int64_t at = n < 0 ? 0 : time(n) * f_.n.B + b;
    const bool masked = f_.valid != nullptr;

    V<S> dh[R][N] = {};
    if (dz_next != nullptr) multiply<S>(dz_next, 4 * H, recurrent_ + n_0 * 4 * H, 4 * H, dh);
    for (int r = 0; r < R; r++) {
      // No gradient passes a reset before the next step.
      if (f_.reset != nullptr && is_reset(n + 1, b + r))
        LSTM_UNROLL for (int v = 0; v < N; v++) dh[r][v] = V<S>{};
      if (masked || dz_next == nullptr)
        LSTM_UNROLL for (int v = 0; v < N; v++)
          dh[r][v] += load(s.kept_dh + (row + r) * HP + n_0 + v * L);
    }
    if (n < 0) {
      for (int r = 0; r < R; r++)
        LSTM_UNROLL for (int v = 0; v < N; v++) {
          const int64_t k = n_0 + v * L;
          store(f_.dh_0 + (b + r) * H + k, dh[r][v], H - k);
        }
      return;
    }
    LSTM_UNROLL for (int r = 0; r < R; r++) {
      const bool valid = !masked || f_.valid[at + r];
      const bool reset = f_.reset != nullptr && is_reset(n, b + r);
      const S* const c_tm1 =
          (n > 0 ? f_.cs + time(n - 1) * f_.n.B * H : f_.c_0) + (b + r) * H;
      LSTM_UNROLL for (int v = 0; v < N; v++) {
        const int64_t k = n_0 + v * L, lanes = H - k;
        V<S> d = dh[r][v];
        if (f_.dhs != nullptr) d += load(f_.dhs + (at + r) * H + k, lanes);
        S* const kept_dc = s.dc + (row + r) * HP + k;
        S* const out = dz + r * 4 * H + k;
        V<S> dc = load(kept_dc);
        if (f_.dcs != nullptr) dc += load(f_.dcs + (at + r) * H + k, lanes);
        if (!valid) {
          store(s.kept_dh + (row + r) * HP + k, d);
          store(kept_dc, dc);
          for (int g = 0; g < 4; g++) store(out + g * H, V<S>{}, lanes);
          continue;
        }
        const S* const gates = f_.gates + (at + r) * 4 * H + k;
        const V<S> i = load(gates, lanes), f = load(gates + H, lanes);
        const V<S> g = load(gates + 2 * H, lanes), o = load(gates + 3 * H, lanes);
        const V<S> tanh_c = tanh<S>(load(f_.cs + (at + r) * H + k, lanes));
        const V<S> before = reset ? V<S>{} : load(c_tm1 + k, lanes);
        dc += d * o * (S(1) - tanh_c * tanh_c);
        store(out, dc * g * i * (S(1) - i), lanes);
        store(out + H, dc * before * f * (S(1) - f), lanes);
        store(out + 2 * H, dc * i * (S(1) - g * g), lanes);
        store(out + 3 * H, d * tanh_c * o * (S(1) - o), lanes);
        store(kept_dc, reset ? V<S>{} : dc * f);
        if (masked) store(s.kept_dh + (row + r) * HP + k, V<S>{});
      }
    }
  }

  BackwardArgs<S> f_;
  Panels<S> panels_, inputs_;
  S *recurrent_, *kernel_;
};

// The arrays of network g.
template <class S>
BackwardArgs<S> of_network(BackwardArgs<S> f, int64_t g) {
  const int64_t T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const auto move = [g](auto*& p, int64_t size) { p = p == nullptr ? p : p + g * size; };
  move(f.x, T * B * I), move(f.dx, T * B * I);
  move(f.kernel, I * 4 * H), move(f.dkernel, I * 4 * H);
  move(f.recurrent, H * 4 * H), move(f.drecurrent, H * 4 * H);
  move(f.dbias, 4 * H);
  move(f.valid, T * B), move(f.reset, T * B);
  for (const S** p : {&f.h_0, &f.c_0, &f.dh_T, &f.dc_T}) move(*p, B * H);
  for (S** p : {&f.dh_0, &f.dc_0}) move(*p, B * H);
  for (const S** p : {&f.hs, &f.cs, &f.dhs, &f.dcs}) move(*p, T * B * H);
  move(f.gates, T * B * 4 * H);
  return f;
}

}  // namespace lstm::LSTM_ISA
