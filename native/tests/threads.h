// A pool of threads for tests.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "../cpp/thread_pool.h"

class Threads : public lstm::Pool {
 public:
  explicit Threads(int count) : count_(count) {
    for (int k = 1; k < count; k++) workers_.emplace_back([this] { work(); });
  }
  ~Threads() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }
  int threads() const override { return count_; }
  void schedule(std::function<void()> work) override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(std::move(work));
    }
    wake_.notify_one();
  }

 private:
  void work() {
    for (;;) {
      std::function<void()> next;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return ended_ || !queue_.empty(); });
        if (queue_.empty()) return;
        next = std::move(queue_.front());
        queue_.pop_front();
      }
      next();
    }
  }

  int count_;
  bool ended_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  std::vector<std::thread> workers_;
};

// A pool that throws at every second piece of work.
class Failing : public Threads {
 public:
  using Threads::Threads;
  void schedule(std::function<void()> work) override {
    failing_ = !failing_;
    if (!failing_) throw std::runtime_error("failing");
    Threads::schedule(std::move(work));
  }

 private:
  bool failing_ = false;
};
