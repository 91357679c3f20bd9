// Numbers that are read in no order: in huge pages where the system has them, so that few addresses have to be looked up.
#pragma once
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace xq {

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
    static constexpr size_t HUGE_PAGE = size_t(1) << 21;
    struct Free {
        void operator()(float *p) const { std::free(p); }
    };
    std::unique_ptr<float[], Free> at;
};

} // namespace xq
