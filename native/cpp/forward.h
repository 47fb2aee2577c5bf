// The forward pass. A thread owns rows of the batch for all time, and waits for nobody; where there
// are more weights than a core's cache holds, or fewer rows than threads, it owns hidden units for
// all rows instead, and the threads meet once a step.
#pragma once

#include <algorithm>

#include "problem.h"
#include "product.h"
#include "scratch.h"

namespace lstm::LSTM_ISA {

// Inputs up to this wide are multiplied step by step, along with the hidden state.
constexpr int64_t kNarrow = 32;
// Bytes of recurrent weights below which a row is not worth more than one thread.
constexpr int64_t kFewWeights = 128 << 10;
// Weights below which packing them is not worth waking other threads.
constexpr int64_t kQuicklyPacked = 1 << 17;
// Bytes of inputs that are projected at once: they stay in a core's cache, or in those of all.
constexpr int64_t kProjectedByOne = 384 << 10, kProjectedByAll = 768 << 10;

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
  const auto [G, T, B, I, H] = f.n;
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

// How the work is divided: rows, or vectors of units, into so many parts for each network.
struct Division {
  bool by_rows;
  int parts;
};

template <class S>
Division divide(const Sizes& n, int threads) {
  const int64_t weights = 4 * n.H * padded<S>(n.H) * static_cast<int64_t>(sizeof(S));
  const int64_t units = vectors<S>(n.H);
  const int64_t each = std::max<int64_t>(1, threads / std::max<int64_t>(1, n.G));
  const bool few_rows = n.B < each && weights > kFewWeights;
  const bool many_weights = 2 * weights > second_level_cache();
  if (each > 1 && units >= each && (few_rows || many_weights))
    return {false, static_cast<int>(each)};
  return {true, static_cast<int>(std::max<int64_t>(1, std::min(n.B, each)))};
}

template <class S>
void forward(Pool& pool, const Forward<S>& f) {
  const auto [G, T, B, I, H] = f.n;
  const Division division = divide<S>(f.n, pool.threads());
  const int parts = division.parts;
  const int64_t rows = division.by_rows ? (B + parts - 1) / parts : B;
  int64_t chunk = 0;
  if (I > kNarrow) {
    const int64_t step = std::max<int64_t>(1, rows) * 4 * padded<S>(H) * static_cast<int64_t>(sizeof(S));
    const int64_t room = division.by_rows ? kProjectedByOne : kProjectedByAll;
    chunk = std::min(T, std::max<int64_t>(1, room / step));
  }
  const int64_t states = G * (division.by_rows ? parts : 1);

  std::vector<ForwardPass<S>> passes;
  std::vector<ForwardState<S>> state;
  const auto lay_out = [&](Pieces pieces) {
    passes.clear(), state.clear();
    for (int64_t g = 0; g < G; g++) passes.emplace_back(network(f, g), pieces, chunk);
    for (int64_t k = 0; k < states; k++) state.emplace_back(pieces, rows, H, chunk);
    return pieces.used();
  };
  const Scratch scratch(lay_out(Pieces()));
  lay_out(Pieces(scratch.get<char>()));
  prefer_large_pages(f.hs, G * T * B * H * sizeof(S));
  prefer_large_pages(f.cs, G * T * B * H * sizeof(S));
  prefer_large_pages(f.gates, G * T * B * 4 * H * sizeof(S));

  const int64_t units = vectors<S>(H);
  const bool small = G * (H + I) * 4 * H < kQuicklyPacked;
  const int packers = small ? 1 : std::max<int>(1, pool.threads() / static_cast<int>(G));
  const auto pack = [&](int k) {
    const int64_t p = k % packers;
    passes[k / packers].pack(units * p / packers, units * (p + 1) / packers);
  };
  if (small)
    for (int g = 0; g < G; g++) pack(g);
  else
    for_each(pool, static_cast<int>(G) * packers, pack);

  if (division.by_rows) {
    for_each(pool, static_cast<int>(states), [&](int k) {
      const ForwardPass<S>& pass = passes[k / parts];
      const int64_t p = k % parts, b_0 = B * p / parts, count = B * (p + 1) / parts - b_0;
      pass.start(state[k], b_0, count);
      for (int64_t n = 0; n < T; n++) pass.step(state[k], n, b_0, count, 0, units);
      pass.finish(state[k], b_0, count);
    });
  } else {
    for (int64_t g = 0; g < G; g++) {
      const int workers = pool.threads();
      const int tasks = static_cast<int>(std::min<int64_t>(units, 4 * workers));
      passes[g].start(state[g], 0, B);
      in_lockstep(pool, workers, T, tasks, [&](int64_t n, int i) {
        passes[g].step(state[g], n, 0, B, units * i / tasks, units * (i + 1) / tasks);
      });
      passes[g].finish(state[g], 0, B);
    }
  }
}

}  // namespace lstm::LSTM_ISA
