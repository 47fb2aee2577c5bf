// Work shared among the threads of a pool, which is XLA's and may be busy.
//
// Nothing here waits for work that has not started: the caller takes part, so all work is done even
// if the pool never runs what was scheduled.
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

class Pool {
 public:
  virtual ~Pool() = default;
  virtual int threads() const = 0;
  virtual void schedule(std::function<void()> work) = 0;
};

// Schedules work for up to `helpers` threads. That work refers to the caller's memory, so the
// caller must not leave early: if the pool throws, as when memory is exhausted, the exception ends
// here, and the threads that have started do all of the work.
template <class F>
void schedule_helpers(Pool& pool, int helpers, F&& work_of) {
  try {
    for (int k = 0; k < helpers; k++) pool.schedule(work_of(k));
  } catch (...) {
  }
}

inline void spin_pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// f(0), ..., f(n - 1), each once, in any order.
template <class F>
void parallel_for(Pool& pool, int n, F&& f) {
  if (n <= 1 || pool.threads() <= 1) {
    for (int i = 0; i < n; i++) f(i);
    return;
  }
  struct Shared {
    std::atomic<int> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable all_done;
  };
  // Scheduled work may start after the caller has returned. So it shares ownership of its state,
  // and uses `f`, which it does not own, only for tasks that the caller still waits for.
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
  schedule_helpers(pool, helpers, [&](int) { return work; });
  work();
  for (int k = 0; k < 2000 && shared->done.load() < n; k++) spin_pause();
  std::unique_lock<std::mutex> lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done.load() == n; });
}

// f(w, 0), ..., f(w, n - 1), each once; each worker w does one after the other.
template <class F>
void parallel_for_workers(Pool& pool, int workers, int64_t n, F&& f) {
  std::atomic<int64_t> next{0};
  parallel_for(pool, workers, [&](int w) {
    for (int64_t i; (i = next.fetch_add(1)) < n;) f(w, i);
  });
}

// f(e, i) for every epoch e and task i < n; an epoch starts when the one before it is done.
//
// Every worker begins each epoch with its own tasks, so that their data stays in its cache, and
// then claims tasks that no worker has started.
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
          spin_pause();
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
  schedule_helpers(pool, workers - 1, [&](int k) { return [work, k] { work(k + 1); }; });
  work(0);
  while (shared->done.load(std::memory_order_acquire) < epochs * n) std::this_thread::yield();
}

}  // namespace lstm
