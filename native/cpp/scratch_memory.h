// Working memory of a call, kept for the next call: page faults of new memory take longer than a
// small layer.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace lstm {

constexpr size_t kPage = size_t{2} << 20;

// Asks the system for large pages for a large array: a fault of a small page takes about 2 us.
inline void use_large_pages(void* p, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (p == nullptr || bytes < 2 * kPage) return;
  const auto first = (reinterpret_cast<uintptr_t>(p) + kPage - 1) & ~(kPage - 1);
  const auto last = (reinterpret_cast<uintptr_t>(p) + bytes) & ~(kPage - 1);
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#else
  (void)p, (void)bytes;
#endif
}

class Scratch {
 public:
  explicit Scratch(size_t bytes) : block_(take(bytes)) {}
  ~Scratch() { give(block_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class S>
  S* get() const {
    return static_cast<S*>(block_.p);
  }

 private:
  struct Block {
    void* p = nullptr;
    size_t bytes = 0;
  };
  // Bytes kept: little beside the arrays of a call that needs so much.
  static constexpr size_t kKept = size_t{32} << 20;
  struct Kept {
    std::mutex mutex;
    std::vector<Block> blocks;
    size_t bytes = 0;
  };
  static Kept& kept() {
    static Kept* const all = new Kept;  // never destroyed: threads may still run at exit
    return *all;
  }

  static Block take(size_t bytes) {
    {
      Kept& all = kept();
      std::lock_guard<std::mutex> lock(all.mutex);
      for (size_t k = all.blocks.size(); k-- > 0;) {
        const Block block = all.blocks[k];
        if (block.bytes < bytes || block.bytes > 4 * bytes + kPage) continue;
        all.blocks.erase(all.blocks.begin() + static_cast<ptrdiff_t>(k));
        all.bytes -= block.bytes;
        return block;
      }
    }
    const size_t unit = bytes < kPage ? 4096 : kPage;
    Block block{nullptr, (bytes + unit - 1) / unit * unit};
    block.p = std::aligned_alloc(unit, block.bytes);
    if (block.p == nullptr) throw std::bad_alloc();
    use_large_pages(block.p, block.bytes);
    return block;
  }

  static void give(Block block) {
    Kept& all = kept();
    std::lock_guard<std::mutex> lock(all.mutex);
    while (!all.blocks.empty() && all.bytes + block.bytes > kKept) {
      all.bytes -= all.blocks.front().bytes;
      std::free(all.blocks.front().p);
      all.blocks.erase(all.blocks.begin());
    }
    if (block.bytes > kKept) {
      std::free(block.p);
      return;
    }
    all.blocks.push_back(block);
    all.bytes += block.bytes;
  }

  Block block_;
};

// Divides a block into arrays, each at a cache line. Without a block it only counts the bytes.
class Arena {
 public:
  explicit Arena(char* p = nullptr) : start_(p) {}
  template <class S>
  S* take(int64_t count) {
    S* const piece = start_ == nullptr ? nullptr : reinterpret_cast<S*>(start_ + used_);
    used_ += (static_cast<size_t>(count) * sizeof(S) + 63) / 64 * 64;
    return piece;
  }
  size_t used() const { return used_; }

 private:
  char* start_;
  size_t used_ = 0;
};

}  // namespace lstm
