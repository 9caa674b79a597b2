// Threads that go through the same steps and wait for each other between them.
#pragma once
#include <atomic>
#include <cstdint>
#include <thread>

namespace idiolect {

// Some tens of waits make a layer of a model: libgomp's own barrier, or a parallel region for each step, would cost more
// than the products of a small one. Waiting spins for some microseconds, then gives the core away.
class Team {
 public:
  void wait(int size) {
    if (size == 1) return;
    uint32_t turn = turn_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; turn_.load(std::memory_order_acquire) == turn; ++spins) {
      if (spins < kSpins)
        pause();
      else
        std::this_thread::yield();
    }
  }

  // Tasks of one step, taken one by one; `renew` between two waits makes the next step's.
  int64_t take() { return next_.fetch_add(1, std::memory_order_relaxed); }
  void renew() { next_.store(0, std::memory_order_relaxed); }

 private:
  static constexpr int kSpins = 4096;

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<uint32_t> turn_{0};
  alignas(64) std::atomic<int64_t> next_{0};
};

// One thread of a team.
struct Member {
  Team& team;
  int index, size;

  void wait() const { team.wait(size); }
  // This member's share of `count`: begin and end.
  int64_t begin(int64_t count) const { return count * index / size; }
  int64_t end(int64_t count) const { return count * (index + 1) / size; }
};

}  // namespace idiolect
