// Work shared among threads of a pool that belongs to someone else.
//
// Nothing here waits for work that nobody has started: the caller takes part, so that it all gets
// done even if the pool never runs what it was given.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lstm {

// Bytes of recurrent weights below which a row is not worth more than one thread.
constexpr int64_t kFewWeights = 128 << 10;
// Weights below which packing them is not worth waking other threads.
constexpr int64_t kQuicklyPacked = 1 << 17;

class Pool {
 public:
  virtual ~Pool() = default;
  virtual int threads() const = 0;
  virtual void schedule(std::function<void()> work) = 0;
};

// Hands work to the pool for up to so many helpers. What they were given refers to the caller, who
// has to stay until it is done: so what the pool throws, as for want of memory, ends here, and those
// who are there do it all.
template <class F>
void ask_for_help(Pool& pool, int helpers, F&& work_of) {
  try {
    for (int k = 0; k < helpers; k++) pool.schedule(work_of(k));
  } catch (...) {
  }
}

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// f(0), ..., f(n - 1), each once, in any order.
template <class F>
void for_each(Pool& pool, int n, F&& f) {
  if (n <= 1 || pool.threads() <= 1) {
    for (int i = 0; i < n; i++) f(i);
    return;
  }
  struct Shared {
    std::atomic<int> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  // What is scheduled may start after the caller has left: it holds on to what it looks at, and
  // touches `f`, which it does not, only for work that the caller is still waiting for.
  auto shared = std::make_shared<Shared>();
  auto work = [shared, n, task = &f] {
    for (int i; (i = shared->next.fetch_add(1)) < n;) {
      (*task)(i);
      if (shared->done.fetch_add(1) + 1 == n) {
        std::lock_guard<std::mutex> lock(shared->mutex);
        shared->all_done.notify_all();
      }
    }
  };
  const int helpers = (n < pool.threads() ? n : pool.threads()) - 1;
  ask_for_help(pool, helpers, [&](int) { return work; });
  work();
  for (int k = 0; k < 2000 && shared->done.load() < n; k++) relax();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == n; });
}

// f(w, 0), ..., f(w, n - 1), each once, by workers w who do one after the other.
template <class F>
void for_each_by(Pool& pool, int workers, int64_t n, F&& f) {
  std::atomic<int64_t> next{0};
  for_each(pool, workers, [&](int w) {
    for (int64_t i; (i = next.fetch_add(1)) < n;) f(w, i);
  });
}

// f(e, i) for every epoch e and task i < n, an epoch starting when the one before it is done.
//
// Every worker begins each epoch with tasks of its own, so that what they read stays in its cache,
// and then takes those that nobody has claimed.
template <class F>
void in_lockstep(Pool& pool, int workers, int64_t epochs, int n, F&& f) {
  struct Shared {
    std::atomic<int64_t> done{0};
    std::vector<std::atomic<int64_t>> claimed;  // epochs for which a task has been claimed
    explicit Shared(int n) : claimed(n) {
      for (auto& c : claimed) c.store(0);
    }
  };
  auto shared = std::make_shared<Shared>(n);
  auto work = [shared, n, workers, epochs, task = &f](int worker) {
    const int own = static_cast<int>(static_cast<int64_t>(n) * worker / workers);
    for (int64_t e = shared->done.load(std::memory_order_acquire) / n; e < epochs; e++) {
      for (int spins = 0; shared->done.load(std::memory_order_acquire) < e * n;)
        if (++spins < 4000)
          relax();
        else
          std::this_thread::yield();
      for (int k = 0; k < n; k++) {
        const int i = (own + k) % n;
        int64_t unclaimed = e;
        if (shared->claimed[i].load(std::memory_order_relaxed) != e) continue;
        if (!shared->claimed[i].compare_exchange_strong(unclaimed, e + 1)) continue;
        (*task)(e, i);
        shared->done.fetch_add(1, std::memory_order_release);
      }
    }
  };
  ask_for_help(pool, workers - 1, [&](int k) { return [work, k] { work(k + 1); }; });
  work(0);
  while (shared->done.load(std::memory_order_acquire) < epochs * n) std::this_thread::yield();
}

}  // namespace lstm
