// Huge pages, where the system has them: of what is read in no order, or faster than addresses are looked up.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace xq {

constexpr size_t HUGE_PAGE = size_t(1) << 21;

// Numbers in memory of their own.
class Large {
  public:
    // Of any value.
    void resize(size_t count) {
        const size_t bytes = count * sizeof(float), align = bytes < HUGE_PAGE ? 64 : HUGE_PAGE, whole = (bytes + align - 1) / align * align;
        at.reset(count ? static_cast<float *>(std::aligned_alloc(align, whole)) : nullptr);
        if (count && !at) throw std::bad_alloc();
#if defined(__linux__)
        if (align == HUGE_PAGE) madvise(at.get(), whole, MADV_HUGEPAGE); // a request: without it all is only slower
#endif
    }
    bool empty() const { return !at; }
    float *data() { return at.get(); }
    const float *data() const { return at.get(); }

  private:
    struct Free {
        void operator()(float *p) const { std::free(p); }
    };
    std::unique_ptr<float[], Free> at;
};

// To be called where weights are read as a whole. Those that are read again and again are moved to huge pages, with what lies in
// the same ones: once, and after as many uses as take the time that moving takes. What lies in a file stays there.
inline void used(const void *at, size_t bytes) {
#if defined(__linux__)
    constexpr size_t least = HUGE_PAGE / 8, most_known = 1 << 16;
    constexpr uint32_t often = 16;
    static std::mutex busy;
    static std::unordered_map<uintptr_t, uint32_t> uses;
    if (bytes < least) return;
    const auto start = reinterpret_cast<uintptr_t>(at);
    {
        const std::lock_guard hold(busy);
        if (uses.size() > most_known) uses.clear();
        if (++uses[start] != often) return;
    }
    const uintptr_t first = start / HUGE_PAGE * HUGE_PAGE, end = (start + bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    constexpr int collapse = 25; // MADV_COLLAPSE, Linux 6.1
    for (uintptr_t page = first; page < end; page += HUGE_PAGE) madvise(reinterpret_cast<void *>(page), HUGE_PAGE, collapse);
#else
    (void)at, (void)bytes;
#endif
}

} // namespace xq
