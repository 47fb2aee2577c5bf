// How the work of a layer is divided among threads: by rows of the batch or by hidden units, into
// how many parts, and how many steps are computed at once.
//
// Threads that own rows never wait for each other. They need enough rows, and every step reads all
// recurrent weights, which should come from a fast cache; otherwise threads own hidden units, and
// meet once a step. Where there are as many networks as threads, each thread computes one whole
// network after the other.
#pragma once

#include <algorithm>

#include "arguments.h"
#include "matrix_product.h"

namespace lstm::LSTM_ISA {

// Bytes of recurrent weights up to which a row is not shared by several threads.
constexpr int64_t kFewWeights = 128 << 10;
// Numbers of weights below which one thread packs them: waking others takes longer.
constexpr int64_t kQuicklyPacked = 1 << 17;

// Inputs up to this width are multiplied step by step, along with the hidden state.
constexpr int64_t kNarrow = 32;
// Bytes of inputs that are projected at once: they fit the cache of one core, or those of all.
constexpr int64_t kProjectedByOne = 384 << 10, kProjectedByAll = 768 << 10;

// Rows of steps whose weight gradients are summed at once: with a panel of columns they fit the
// cache.
constexpr int64_t kRowsAtOnce = 128;
// Each thread has its own sums of weight gradients up to this many second-level caches.
constexpr int64_t kCachesOfSums = 8;
// Bytes of dz that all threads compute before they sum weight gradients.
constexpr int64_t kChunkOfAll = 16 << 20;

struct Division {
  bool by_rows;          // threads own rows; otherwise hidden units
  int parts;             // blocks of rows, or of units, of each network
  int64_t threads_each;  // threads for each network
  int64_t at_once;       // networks that have memory of their own at the same time
  int64_t rows;          // rows of a block, at most
  int64_t chunk;         // steps whose inputs are projected, or whose dz is kept, at once
  bool one_thread_each() const { return threads_each == 1; }
  int64_t blocks() const { return at_once * (by_rows ? parts : 1); }
};

inline int64_t threads_for_each(const Sizes& n, int threads) {
  return std::max<int64_t>(1, threads / std::max<int64_t>(1, n.G));
}

inline int row_blocks(const Sizes& n, int64_t threads) {
  return static_cast<int>(std::max<int64_t>(1, std::min(n.B, threads)));
}

template <class S>
Division divide_forward(const Sizes& n, int threads) {
  const int64_t size = static_cast<int64_t>(sizeof(S));
  const int64_t weights = 4 * n.H * padded<S>(n.H) * size;
  const int64_t each = threads_for_each(n, threads);
  const bool few_rows = n.B < each && weights > kFewWeights;
  const bool many_weights = 2 * weights > second_level_cache();
  Division d;
  d.by_rows = !(each > 1 && vectors<S>(n.H) >= each && (few_rows || many_weights));
  d.parts = d.by_rows ? row_blocks(n, each) : static_cast<int>(each);
  d.threads_each = each;
  d.at_once = each == 1 ? std::min<int64_t>(n.G, threads) : n.G;
  d.rows = d.by_rows ? (n.B + d.parts - 1) / d.parts : n.B;
  d.chunk = 0;
  if (n.I > kNarrow) {
    const int64_t step = std::max<int64_t>(1, d.rows) * 4 * padded<S>(n.H) * size;
    const int64_t bytes = d.by_rows ? kProjectedByOne : kProjectedByAll;
    d.chunk = std::min(n.T, std::max<int64_t>(1, bytes / step));
  }
  return d;
}

// Rows of steps whose weight gradients a thread sums at once.
inline int64_t rows_summed(const Division& d) { return std::max<int64_t>(d.rows, kRowsAtOnce); }

template <class S>
Division divide_backward(const Sizes& n, int threads) {
  const int64_t size = static_cast<int64_t>(sizeof(S));
  const int64_t weights = 4 * n.H * n.H * size, sums = 4 * n.H * (n.H + n.I + 1) * size;
  const int64_t each = threads_for_each(n, threads);
  const bool few_rows = n.B < each && weights > kFewWeights;
  const bool large_sums = sums > kCachesOfSums * second_level_cache();
  Division d;
  d.by_rows = !(each > 1 && (few_rows || large_sums));
  d.parts = d.by_rows ? row_blocks(n, each) : 1;
  d.threads_each = each;
  d.at_once = each == 1 ? std::min<int64_t>(n.G, threads) : n.G;
  d.rows = std::max<int64_t>(1, (n.B + d.parts - 1) / d.parts);
  const int64_t kept = d.by_rows ? rows_summed(d) : kChunkOfAll / (4 * n.H * size);
  d.chunk = std::max<int64_t>(1, std::min(n.T, kept / d.rows));
  return d;
}

}  // namespace lstm::LSTM_ISA
