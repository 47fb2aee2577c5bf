// Gradients of the weights: [h_{t-1}, x_t, 1]^T dz_t, summed over steps and rows.
#pragma once

#include <algorithm>

#include "arguments.h"
#include "matrix_product.h"
#include "scratch_memory.h"

namespace lstm::LSTM_ISA {

// out [R, N vectors] += a^T d, of K rows of a and of d, which is packed as [K][N][lanes].
template <class S, int R, int N>
__attribute__((noinline)) void add_outer(const S* a, int64_t lda, const S* d, int64_t K, S* out,
                                         int64_t ldo, int64_t lanes) {
  constexpr int L = kLanes<S>;
  V<S> sum[R][N];
  LSTM_UNROLL for (int r = 0; r < R; r++)
    LSTM_UNROLL for (int v = 0; v < N; v++) sum[r][v] = load(out + r * ldo + v * L, lanes - v * L);
  for (int64_t k = 0; k < K; k++, a += lda, d += N * L) {
    V<S> column[N];
    LSTM_UNROLL for (int v = 0; v < N; v++) column[v] = load(d + v * L);
    LSTM_UNROLL for (int r = 0; r < R; r++) {
      const V<S> x = splat(a[r]);
      LSTM_UNROLL for (int v = 0; v < N; v++) sum[r][v] += x * column[v];
    }
  }
  LSTM_UNROLL for (int r = 0; r < R; r++)
    LSTM_UNROLL for (int v = 0; v < N; v++) store(out + r * ldo + v * L, sum[r][v], lanes - v * L);
}

// The inputs [h_{t-1}, x_t, 1] of some rows of steps, and memory for a panel of dz.
template <class S>
class StepInputs {
 public:
  StepInputs(Arena& arena, const Sizes& n, int64_t capacity)
      : n_(n), inputs_(n.H + n.I + 1), panels_(4 * n.H) {
    rows_ = arena.take<S>(capacity * inputs_);
    panel_ = arena.take<S>(capacity * 4 * kLanes<S>);
  }

  // Sets row k: a hidden state, or null for zeros, and an input.
  void set(int64_t k, const S* h, const S* x) const {
    S* const row = rows_ + k * inputs_;
    if (h != nullptr)
      std::memcpy(row, h, n_.H * sizeof(S));
    else
      std::fill_n(row, n_.H, S(0));
    std::copy_n(x, n_.I, row + n_.H);
    row[n_.H + n_.I] = S(1);
  }

  // Adds the products of the first K rows with panel p of dz [K, 4H]: those of h to
  // drecurrent [H, ldo], of x to dkernel [I, ldo], of 1 to dbias.
  void add_products(int64_t K, const S* dz, int64_t p, S* drecurrent, S* dkernel, S* dbias,
                    int64_t ldo) const {
    with_width(panels_.width(p), [&](auto columns) {
      constexpr int N = decltype(columns)::value, L = kLanes<S>;
      const int64_t n_0 = panels_.first(p), lanes = ldo - n_0;
      for (int64_t k = 0; k < K; k++)
        LSTM_UNROLL for (int v = 0; v < N; v++) {
          const int64_t n = n_0 + v * L;
          store(panel_ + (k * N + v) * L, load(dz + k * 4 * n_.H + n, 4 * n_.H - n));
        }
      const auto add_to = [&](S* out, int64_t first, int64_t count) {
        for_tiles(count, [&](auto height, int64_t row) {
          constexpr int R = decltype(height)::value;
          add_outer<S, R, N>(rows_ + first + row, inputs_, panel_, K, out + row * ldo + n_0, ldo,
                             lanes);
        });
      };
      add_to(drecurrent, 0, n_.H);
      add_to(dkernel, n_.H, n_.I);
      add_to(dbias, n_.H + n_.I, 1);
    });
  }

  int64_t panels() const { return panels_.count; }

 private:
  Sizes n_;
  int64_t inputs_;
  Panels<S> panels_;
  S *rows_, *panel_;
};

// The sums of one block of rows, each row padded to whole vectors.
template <class S>
struct WeightGradients {
  int64_t width, size;
  S *drecurrent, *dkernel, *dbias;
  WeightGradients(Arena& arena, const Sizes& n) : width(padded<S>(4 * n.H)) {
    size = (n.H + n.I + 1) * width;
    drecurrent = arena.take<S>(size);
    dkernel = drecurrent == nullptr ? nullptr : drecurrent + n.H * width;
    dbias = dkernel == nullptr ? nullptr : dkernel + n.I * width;
  }
  void clear() const { std::fill_n(drecurrent, size, S(0)); }
};

// Adds the sums of all blocks, in their order, into the results.
template <class S>
void add_blocks(const WeightGradients<S>* blocks, int count, const BackwardArgs<S>& f) {
  const int64_t I = f.n.I, H = f.n.H;
  for (int64_t row = 0; row < H + I + 1; row++) {
    S* const out = row < H       ? f.drecurrent + row * 4 * H
                   : row < H + I ? f.dkernel + (row - H) * 4 * H
                                 : f.dbias;
    const int64_t at = row * blocks[0].width;
    std::memcpy(out, blocks[0].drecurrent + at, 4 * H * sizeof(S));
    for (int b = 1; b < count; b++)
      for (int64_t k = 0; k < 4 * H; k++) out[k] += blocks[b].drecurrent[at + k];
  }
}

}  // namespace lstm::LSTM_ISA
