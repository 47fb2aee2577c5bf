// The backward pass. A thread owns rows of the batch, as in the forward pass, and sums their share of
// the weights' gradients over a chunk of steps at a time, while what it needs is in its cache. Where
// such sums would not fit, or rows are fewer than threads, the threads go through a chunk of steps
// together, each with its own hidden units, and then each sums its own columns. Where there are as
// many networks as threads, a thread takes one whole network after the other.
#pragma once

#include "backward_pass.h"
#include "weight_gradients.h"

namespace lstm::LSTM_ISA {

// Rows of steps whose products are summed at once: with a panel of columns they fit the cache.
constexpr int64_t kRowsAtOnce = 128;
// Sums of more than so many second-level caches are not kept by each thread.
constexpr int64_t kCachesOfSums = 8;
// Bytes of dz that all threads work on together before they sum.
constexpr int64_t kChunkOfAll = 16 << 20;

// What went into steps from n_0 on of some rows, row after row and step after step: `count` of them,
// beginning with `first`.
template <class S>
void set_rows(const BackwardPass<S>& pass, const Products<S>& products, int64_t first,
              int64_t count, int64_t n_0, int64_t b_0, int64_t rows) {
  const Backward<S>& f = pass.problem();
  for (int64_t k = 0; k < count; k++) {
    const int64_t n = n_0 + (first + k) / rows, b = b_0 + (first + k) % rows;
    const int64_t at = pass.time(n) * f.n.B + b;
    products.set(k, pass.hidden_before(n, b), f.x + at * f.n.I);
  }
}

// All steps of a block of rows, and their share of the sums.
template <class S>
void run_rows(const BackwardPass<S>& pass, const BackwardState<S>& s, const Products<S>* products,
              const Sums<S>* sums, int64_t b_0, int64_t rows, int64_t chunk) {
  const Backward<S>& f = pass.problem();
  const int64_t width = rows * 4 * f.n.H;
  const S* next = nullptr;
  pass.start(s, b_0, rows);
  if (sums != nullptr) sums->clear();
  for (int64_t n_1 = f.n.T; n_1 > 0;) {
    const int64_t n_0 = std::max<int64_t>(0, n_1 - chunk);
    for (int64_t n = n_1 - 1; n >= n_0; n--) {
      S* const dz = s.dz + (n - n_0) * width;
      pass.step(s, n, b_0, rows, 0, pass.panels(), next, dz);
      if (f.dx != nullptr) pass.inputs(pass.time(n) * f.n.B + b_0, rows, dz);
      next = dz;
    }
    const int64_t K = (n_1 - n_0) * rows;
    if (sums != nullptr) {
      set_rows(pass, *products, 0, K, n_0, b_0, rows);
      for (int64_t p = 0; p < products->panels(); p++)
        products->add(K, s.dz, p, sums->drecurrent, sums->dkernel, sums->dbias, sums->width);
    }
    // The next chunk begins with the last one of this.
    next = static_cast<const S*>(std::memcpy(s.dz + chunk * width, s.dz, width * sizeof(S)));
    n_1 = n_0;
  }
  pass.step(s, -1, b_0, rows, 0, pass.panels(), next, s.dz);
  pass.finish(s, b_0, rows);
}

// All steps of all rows of one network, by all threads together.
template <class S>
void run_together(Pool& pool, const BackwardPass<S>& pass, const BackwardState<S>& s,
                  const std::vector<Products<S>>& products, int64_t capacity, int64_t chunk) {
  const Backward<S>& f = pass.problem();
  const int64_t T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const int64_t width = B * 4 * H;
  const int workers = pool.threads();
  // Panels are wide and few: halving the rows as well lets the threads share them evenly.
  const int halves = B >= 4 * kRows ? 2 : 1;
  const auto steps = [&](int64_t n_1, int64_t n_0, const S* next) {
    const int tasks = static_cast<int>(pass.panels()) * halves;
    in_lockstep(pool, workers, n_1 - n_0, tasks, [&](int64_t e, int i) {
      const int64_t n = n_1 - 1 - e, p = i / halves, b_0 = B * (i % halves) / halves;
      const int64_t count = B * (i % halves + 1) / halves - b_0, shift = b_0 * 4 * f.n.H;
      BackwardState<S> own = s;
      own.dc += b_0 * padded<S>(f.n.H), own.held += b_0 * padded<S>(f.n.H);
      const S* const after = e > 0 ? s.dz + (n + 1 - n_0) * width : next;
      pass.step(own, n, b_0, count, p, p + 1, after == nullptr ? nullptr : after + shift,
                s.dz + std::max<int64_t>(0, n - n_0) * width + shift);
    });
  };
  const S* next = nullptr;
  pass.start(s, 0, B);
  if (f.dbias != nullptr) {
    std::fill_n(f.drecurrent, H * 4 * H, S(0)), std::fill_n(f.dkernel, I * 4 * H, S(0));
    std::fill_n(f.dbias, 4 * H, S(0));
  }
  for (int64_t n_1 = T; n_1 > 0;) {
    const int64_t n_0 = std::max<int64_t>(0, n_1 - chunk), K = (n_1 - n_0) * B;
    steps(n_1, n_0, next);
    if (f.dx != nullptr)
      for_each(pool, static_cast<int>(n_1 - n_0), [&](int k) {
        pass.inputs(pass.time(n_0 + k) * B, B, s.dz + k * width);
      });
    if (f.dbias != nullptr)
      for_each(pool, static_cast<int>(products.size()), [&](int k) {
        const Products<S>& own = products[k];
        const int64_t parts = static_cast<int64_t>(products.size()), all = own.panels();
        for (int64_t first = 0; first < K; first += capacity) {
          const int64_t count = std::min(capacity, K - first);
          set_rows(pass, own, first, count, n_0, 0, B);
          for (int64_t p = all * k / parts; p < all * (k + 1) / parts; p++)
            own.add(count, s.dz + first * 4 * H, p, f.drecurrent, f.dkernel, f.dbias, 4 * H);
        }
      });
    next = static_cast<const S*>(std::memcpy(s.dz + chunk * width, s.dz, width * sizeof(S)));
    n_1 = n_0;
  }
  steps(0, -1, next);
  pass.finish(s, 0, B);
}

template <class S>
void backward(Pool& pool, const Backward<S>& f) {
  const int64_t G = f.n.G, T = f.n.T, B = f.n.B, I = f.n.I, H = f.n.H;
  const bool summing = f.dbias != nullptr;
  const int64_t size = static_cast<int64_t>(sizeof(S));
  const int64_t each = std::max<int64_t>(1, pool.threads() / std::max<int64_t>(1, G));
  const int64_t weights = 4 * H * H * size, sum = 4 * H * (H + I + 1) * size;
  const bool few_rows = B < each && weights > kFewWeights;
  const bool together = each > 1 && (few_rows || sum > kCachesOfSums * second_level_cache());
  const int parts = together ? 1 : static_cast<int>(std::max<int64_t>(1, std::min(B, each)));
  const int64_t rows = std::max<int64_t>(1, (B + parts - 1) / parts);
  const int64_t capacity = std::max<int64_t>(rows, kRowsAtOnce);  // rows of steps
  const int64_t room = together ? kChunkOfAll / (4 * H * size) : capacity;
  const int64_t chunk = std::max<int64_t>(1, std::min(T, room / rows));
  // A network that has one thread is packed and run by it, in the place of the one before it.
  const bool alone = each == 1;
  const int64_t at_work = alone ? std::min<int64_t>(G, pool.threads()) : G;
  const int64_t states = at_work * parts;

  std::vector<BackwardPass<S>> passes;
  std::vector<BackwardState<S>> state;
  std::vector<Products<S>> products;
  std::vector<Sums<S>> sums;
  const auto lay_out = [&](Pieces pieces) {
    passes.clear(), state.clear(), products.clear(), sums.clear();
    for (int64_t g = 0; g < at_work; g++) passes.emplace_back(network(f, g), pieces);
    for (int64_t k = 0; k < states; k++) state.emplace_back(pieces, rows, H, chunk);
    for (int64_t k = 0; summing && k < (together ? pool.threads() : states); k++)
      products.emplace_back(pieces, f.n, capacity);
    for (int64_t k = 0; summing && !together && k < states; k++) sums.emplace_back(pieces, f.n);
    return pieces.used();
  };
  const Scratch scratch(lay_out(Pieces()));
  lay_out(Pieces(scratch.get<char>()));
  prefer_large_pages(f.dx, G * T * B * I * sizeof(S));

  if (alone) {
    for_each_by(pool, static_cast<int>(at_work), G, [&](int w, int64_t g) {
      BackwardPass<S> pass = passes[w].with(network(f, g));
      pass.pack(0, 1);
      run_rows(pass, state[w], summing ? &products[w] : nullptr, summing ? &sums[w] : nullptr, 0,
               B, chunk);
      if (summing) join(&sums[w], 1, pass.problem());
    });
    return;
  }

  const int packers = static_cast<int>(each);
  const auto pack = [&](int k) { passes[k / packers].pack(k % packers, packers); };
  if (G * 4 * H * H < kQuicklyPacked)
    for (int k = 0; k < G * packers; k++) pack(k);
  else
    for_each(pool, static_cast<int>(G) * packers, pack);

  if (together) {
    for (int64_t g = 0; g < G; g++)
      run_together(pool, passes[g], state[g], products, capacity, chunk);
    return;
  }
  for_each(pool, static_cast<int>(states), [&](int k) {
    const int64_t p = k % parts, b_0 = B * p / parts, b_1 = B * (p + 1) / parts;
    run_rows(passes[k / parts], state[k], summing ? &products[k] : nullptr,
             summing ? &sums[k] : nullptr, b_0, b_1 - b_0, chunk);
  });
  for (int64_t g = 0; summing && g < G; g++) join(&sums[g * parts], parts, passes[g].problem());
}

}  // namespace lstm::LSTM_ISA
