// The backward pass over a whole sequence, on all threads: see divide_work.h for who computes what.
//
// A thread that owns rows sums their share of the weight gradients after each chunk of steps, while
// dz of the chunk is in its cache. Where threads own units, all compute a chunk of steps together,
// and then each sums its own columns.
#pragma once

#include "backward_step.h"
#include "divide_work.h"
#include "weight_gradients.h"

namespace lstm::LSTM_ISA {

// Sets the inputs of rows of steps, row after row and step after step from n_0 on: `count` of them,
// beginning with number `first`.
template <class S>
void set_rows(const BackwardSteps<S>& steps, const StepInputs<S>& inputs, int64_t first,
              int64_t count, int64_t n_0, int64_t b_0, int64_t rows) {
  const BackwardArgs<S>& f = steps.args();
  for (int64_t k = 0; k < count; k++) {
    const int64_t n = n_0 + (first + k) / rows, b = b_0 + (first + k) % rows;
    const int64_t at = steps.time(n) * f.n.B + b;
    inputs.set(k, steps.hidden_before(n, b), f.x + at * f.n.I);
  }
}

// All steps of a block of rows, and their share of the weight gradients.
template <class S>
void backward_rows(const BackwardSteps<S>& steps, const BackwardState<S>& s,
                   const StepInputs<S>* inputs, const WeightGradients<S>* sums, int64_t b_0,
                   int64_t rows, int64_t chunk) {
  const BackwardArgs<S>& f = steps.args();
  const int64_t width = rows * 4 * f.n.H;
  const S* next = nullptr;
  steps.start(s, b_0, rows);
  if (sums != nullptr) sums->clear();
  for (int64_t n_1 = f.n.T; n_1 > 0;) {
    const int64_t n_0 = std::max<int64_t>(0, n_1 - chunk);
    for (int64_t n = n_1 - 1; n >= n_0; n--) {
      S* const dz = s.dz + (n - n_0) * width;
      steps.step(s, n, b_0, rows, 0, steps.panels(), next, dz);
      if (f.dx != nullptr) steps.input_gradients(steps.time(n) * f.n.B + b_0, rows, dz);
      next = dz;
    }
    const int64_t K = (n_1 - n_0) * rows;
    if (sums != nullptr) {
      set_rows(steps, *inputs, 0, K, n_0, b_0, rows);
      for (int64_t p = 0; p < inputs->panels(); p++)
        inputs->add_products(K, s.dz, p, sums->drecurrent, sums->dkernel, sums->dbias, sums->width);
    }
    // The next chunk starts from dz of the first step of this one.
    next = static_cast<const S*>(std::memcpy(s.dz + chunk * width, s.dz, width * sizeof(S)));
    n_1 = n_0;
  }
  steps.step(s, -1, b_0, rows, 0, steps.panels(), next, s.dz);
  steps.finish(s, b_0, rows);
}

// All steps of all rows of one network, by all threads together.
template <class S>
void backward_units(Pool& pool, const BackwardSteps<S>& steps, const BackwardState<S>& s,
                    const std::vector<StepInputs<S>>& inputs, const Division& d) {
  const BackwardArgs<S>& f = steps.args();
  const int64_t T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const int64_t width = B * 4 * H, capacity = rows_summed(d);
  const int workers = pool.threads();
  // There are few panels of units: with the rows in halves the threads share them evenly.
  const int halves = B >= 4 * kRows ? 2 : 1;
  const auto run_steps = [&](int64_t n_1, int64_t n_0, const S* next) {
    const int tasks = static_cast<int>(steps.panels()) * halves;
    in_lockstep(pool, workers, n_1 - n_0, tasks, [&](int64_t e, int i) {
      const int64_t n = n_1 - 1 - e, p = i / halves, b_0 = B * (i % halves) / halves;
      const int64_t count = B * (i % halves + 1) / halves - b_0, shift = b_0 * 4 * f.n.H;
      BackwardState<S> own = s;
      own.dc += b_0 * padded<S>(f.n.H), own.kept_dh += b_0 * padded<S>(f.n.H);
      const S* const after = e > 0 ? s.dz + (n + 1 - n_0) * width : next;
      steps.step(own, n, b_0, count, p, p + 1, after == nullptr ? nullptr : after + shift,
                 s.dz + std::max<int64_t>(0, n - n_0) * width + shift);
    });
  };
  const S* next = nullptr;
  steps.start(s, 0, B);
  if (f.dbias != nullptr) {
    std::fill_n(f.drecurrent, H * 4 * H, S(0)), std::fill_n(f.dkernel, I * 4 * H, S(0));
    std::fill_n(f.dbias, 4 * H, S(0));
  }
  for (int64_t n_1 = T; n_1 > 0;) {
    const int64_t n_0 = std::max<int64_t>(0, n_1 - d.chunk), K = (n_1 - n_0) * B;
    run_steps(n_1, n_0, next);
    if (f.dx != nullptr)
      parallel_for(pool, static_cast<int>(n_1 - n_0), [&](int k) {
        steps.input_gradients(steps.time(n_0 + k) * B, B, s.dz + k * width);
      });
    if (f.dbias != nullptr)
      parallel_for(pool, static_cast<int>(inputs.size()), [&](int k) {
        const StepInputs<S>& own = inputs[k];
        const int64_t parts = static_cast<int64_t>(inputs.size()), all = own.panels();
        for (int64_t first = 0; first < K; first += capacity) {
          const int64_t count = std::min(capacity, K - first);
          set_rows(steps, own, first, count, n_0, 0, B);
          for (int64_t p = all * k / parts; p < all * (k + 1) / parts; p++)
            own.add_products(count, s.dz + first * 4 * H, p, f.drecurrent, f.dkernel, f.dbias,
                             4 * H);
        }
      });
    next = static_cast<const S*>(std::memcpy(s.dz + d.chunk * width, s.dz, width * sizeof(S)));
    n_1 = n_0;
  }
  run_steps(0, -1, next);
  steps.finish(s, 0, B);
}

template <class S>
void backward(Pool& pool, const BackwardArgs<S>& f) {
  const int64_t G = f.n.G, T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const bool summing = f.dbias != nullptr;
  const Division d = divide_backward<S>(f.n, pool.threads());
  const int64_t blocks = d.blocks();

  std::vector<BackwardSteps<S>> steps;
  std::vector<BackwardState<S>> state;
  std::vector<StepInputs<S>> inputs;
  std::vector<WeightGradients<S>> sums;
  const auto lay_out = [&](Arena arena) {
    steps.clear(), state.clear(), inputs.clear(), sums.clear();
    for (int64_t g = 0; g < d.at_once; g++) steps.emplace_back(of_network(f, g), arena);
    for (int64_t k = 0; k < blocks; k++) state.emplace_back(arena, d.rows, H, d.chunk);
    for (int64_t k = 0; summing && k < (d.by_rows ? blocks : pool.threads()); k++)
      inputs.emplace_back(arena, f.n, rows_summed(d));
    for (int64_t k = 0; summing && d.by_rows && k < blocks; k++) sums.emplace_back(arena, f.n);
    return arena.used();
  };
  const Scratch scratch(lay_out(Arena()));
  lay_out(Arena(scratch.get<char>()));
  use_large_pages(f.dx, G * T * B * I * sizeof(S));

  if (d.one_thread_each()) {
    parallel_for_workers(pool, static_cast<int>(d.at_once), G, [&](int w, int64_t g) {
      BackwardSteps<S> own = steps[w].with(of_network(f, g));
      own.pack(0, 1);
      backward_rows(own, state[w], summing ? &inputs[w] : nullptr, summing ? &sums[w] : nullptr, 0,
                    B, d.chunk);
      if (summing) add_blocks(&sums[w], 1, own.args());
    });
    return;
  }

  const int packers = static_cast<int>(d.threads_each);
  const auto pack = [&](int k) { steps[k / packers].pack(k % packers, packers); };
  if (G * 4 * H * H < kQuicklyPacked)
    for (int k = 0; k < G * packers; k++) pack(k);
  else
    parallel_for(pool, static_cast<int>(G) * packers, pack);

  if (!d.by_rows) {
    for (int64_t g = 0; g < G; g++) backward_units(pool, steps[g], state[g], inputs, d);
    return;
  }
  parallel_for(pool, static_cast<int>(blocks), [&](int k) {
    const int64_t p = k % d.parts, b_0 = B * p / d.parts, b_1 = B * (p + 1) / d.parts;
    backward_rows(steps[k / d.parts], state[k], summing ? &inputs[k] : nullptr,
                  summing ? &sums[k] : nullptr, b_0, b_1 - b_0, d.chunk);
  });
  for (int64_t g = 0; summing && g < G; g++)
    add_blocks(&sums[g * d.parts], d.parts, steps[g].args());
}

}  // namespace lstm::LSTM_ISA
