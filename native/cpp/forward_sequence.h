// The forward pass over a whole sequence, on all threads: see divide_work.h for who computes what.
#pragma once

#include "divide_work.h"
#include "forward_step.h"

namespace lstm::LSTM_ISA {

// All steps of a block of rows.
template <class S>
void forward_rows(const ForwardSteps<S>& steps, const ForwardState<S>& s, int64_t T, int64_t b_0,
                  int64_t rows) {
  steps.start(s, b_0, rows);
  for (int64_t n = 0; n < T; n++) steps.step(s, n, b_0, rows, 0, steps.units());
  steps.finish(s, b_0, rows);
}

template <class S>
void forward(Pool& pool, const ForwardArgs<S>& f) {
  const int64_t G = f.n.G, T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const Division d = divide_forward<S>(f.n, pool.threads());

  std::vector<ForwardSteps<S>> steps;
  std::vector<ForwardState<S>> state;
  const auto lay_out = [&](Arena arena) {
    steps.clear(), state.clear();
    for (int64_t g = 0; g < d.at_once; g++) steps.emplace_back(of_network(f, g), arena, d.chunk);
    for (int64_t k = 0; k < d.blocks(); k++) state.emplace_back(arena, d.rows, H, d.chunk);
    return arena.used();
  };
  const Scratch scratch(lay_out(Arena()));
  lay_out(Arena(scratch.get<char>()));
  use_large_pages(f.hs, G * T * B * H * sizeof(S));
  use_large_pages(f.cs, G * T * B * H * sizeof(S));
  use_large_pages(f.gates, G * T * B * 4 * H * sizeof(S));

  if (d.one_thread_each()) {
    parallel_for_workers(pool, static_cast<int>(d.at_once), G, [&](int w, int64_t g) {
      ForwardSteps<S> own = steps[w].with(of_network(f, g));
      own.pack(0, own.units());
      forward_rows(own, state[w], T, 0, B);
    });
    return;
  }

  const int64_t units = vectors<S>(H);
  const bool small = G * (H + I) * 4 * H < kQuicklyPacked;
  const int packers = small ? 1 : static_cast<int>(d.threads_each);
  const auto pack = [&](int k) {
    const int64_t p = k % packers;
    steps[k / packers].pack(units * p / packers, units * (p + 1) / packers);
  };
  if (small)
    for (int g = 0; g < G; g++) pack(g);
  else
    parallel_for(pool, static_cast<int>(G) * packers, pack);

  if (d.by_rows) {
    parallel_for(pool, static_cast<int>(d.blocks()), [&](int k) {
      const int64_t p = k % d.parts, b_0 = B * p / d.parts, b_1 = B * (p + 1) / d.parts;
      forward_rows(steps[k / d.parts], state[k], T, b_0, b_1 - b_0);
    });
    return;
  }
  for (int64_t g = 0; g < G; g++) {
    const int workers = pool.threads();
    const int tasks = static_cast<int>(std::min<int64_t>(units, 4 * workers));
    steps[g].start(state[g], 0, B);
    in_lockstep(pool, workers, T, tasks, [&](int64_t n, int i) {
      steps[g].step(state[g], n, 0, B, units * i / tasks, units * (i + 1) / tasks);
    });
    steps[g].finish(state[g], 0, B);
  }
}

}  // namespace lstm::LSTM_ISA
