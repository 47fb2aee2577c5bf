// The forward pass. A thread owns rows of the batch for all time, and waits for nobody; where there
// are more weights than a core's cache holds, or fewer rows than threads, it owns hidden units for
// all rows instead, and the threads meet once a step. Where there are as many networks as threads, it
// takes one whole network after the other.
#pragma once

#include "forward_pass.h"

namespace lstm::LSTM_ISA {

// Inputs up to this wide are multiplied step by step, along with the hidden state.
constexpr int64_t kNarrow = 32;
// Bytes of inputs that are projected at once: they stay in a core's cache, or in those of all.
constexpr int64_t kProjectedByOne = 384 << 10, kProjectedByAll = 768 << 10;

// How the work is divided: rows, or vectors of units, into so many parts for each network.
struct Division {
  bool by_rows;
  int parts;
  int64_t each;  // threads for each network
};

template <class S>
Division divide(const Sizes& n, int threads) {
  const int64_t weights = 4 * n.H * padded<S>(n.H) * static_cast<int64_t>(sizeof(S));
  const int64_t units = vectors<S>(n.H);
  const int64_t each = std::max<int64_t>(1, threads / std::max<int64_t>(1, n.G));
  const bool few_rows = n.B < each && weights > kFewWeights;
  const bool many_weights = 2 * weights > second_level_cache();
  if (each > 1 && units >= each && (few_rows || many_weights))
    return {false, static_cast<int>(each), each};
  return {true, static_cast<int>(std::max<int64_t>(1, std::min(n.B, each))), each};
}

// All steps of a block of rows.
template <class S>
void run_rows(const ForwardPass<S>& pass, const ForwardState<S>& s, int64_t T, int64_t b_0,
              int64_t rows) {
  pass.start(s, b_0, rows);
  for (int64_t n = 0; n < T; n++) pass.step(s, n, b_0, rows, 0, pass.units());
  pass.finish(s, b_0, rows);
}

template <class S>
void forward(Pool& pool, const Forward<S>& f) {
  const int64_t G = f.n.G, T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const int64_t size = static_cast<int64_t>(sizeof(S));
  const Division division = divide<S>(f.n, pool.threads());
  const int parts = division.parts;
  const bool by_rows = division.by_rows;
  const int64_t rows = by_rows ? (B + parts - 1) / parts : B;
  int64_t chunk = 0;
  if (I > kNarrow) {
    const int64_t step = std::max<int64_t>(1, rows) * 4 * padded<S>(H) * size;
    const int64_t room = by_rows ? kProjectedByOne : kProjectedByAll;
    chunk = std::min(T, std::max<int64_t>(1, room / step));
  }
  // A network that has one thread is packed and run by it, in the place of the one before it.
  const bool alone = division.each == 1;
  const int64_t at_work = alone ? std::min<int64_t>(G, pool.threads()) : G;
  const int64_t states = at_work * (by_rows ? parts : 1);

  std::vector<ForwardPass<S>> passes;
  std::vector<ForwardState<S>> state;
  const auto lay_out = [&](Pieces pieces) {
    passes.clear(), state.clear();
    for (int64_t g = 0; g < at_work; g++) passes.emplace_back(network(f, g), pieces, chunk);
    for (int64_t k = 0; k < states; k++) state.emplace_back(pieces, rows, H, chunk);
    return pieces.used();
  };
  const Scratch scratch(lay_out(Pieces()));
  lay_out(Pieces(scratch.get<char>()));
  prefer_large_pages(f.hs, G * T * B * H * sizeof(S));
  prefer_large_pages(f.cs, G * T * B * H * sizeof(S));
  prefer_large_pages(f.gates, G * T * B * 4 * H * sizeof(S));

  if (alone) {
    for_each_by(pool, static_cast<int>(at_work), G, [&](int w, int64_t g) {
      ForwardPass<S> pass = passes[w].with(network(f, g));
      pass.pack(0, pass.units());
      run_rows(pass, state[w], T, 0, B);
    });
    return;
  }

  const int64_t units = vectors<S>(H);
  const bool small = G * (H + I) * 4 * H < kQuicklyPacked;
  const int packers = small ? 1 : static_cast<int>(division.each);
  const auto pack = [&](int k) {
    const int64_t p = k % packers;
    passes[k / packers].pack(units * p / packers, units * (p + 1) / packers);
  };
  if (small)
    for (int g = 0; g < G; g++) pack(g);
  else
    for_each(pool, static_cast<int>(G) * packers, pack);

  if (by_rows) {
    for_each(pool, static_cast<int>(states), [&](int k) {
      const int64_t p = k % parts, b_0 = B * p / parts, b_1 = B * (p + 1) / parts;
      run_rows(passes[k / parts], state[k], T, b_0, b_1 - b_0);
    });
    return;
  }
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

}  // namespace lstm::LSTM_ISA
