// What the kernels of linear layers share: numbers, activations in memory, threads, and room to work in.
#pragma once
#include "codec_elements.h"
#include "vector.h"
#include <memory>
#if defined(_OPENMP) && __has_include(<omp.h>)
#define XQ_THREADS
#include <omp.h>
#endif
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // of GCC 12's own AVX-512 headers (its bug 105593)
#endif

namespace xq {

constexpr int64_t STEP = 64;    // columns that one step of a kernel takes
constexpr int64_t TOGETHER = 8; // tokens for which weights are decoded once

inline int64_t steps_of(int64_t columns) { return (columns + STEP - 1) / STEP; }

enum class Number : int32_t { f32, bf16 };

inline float read(const void *at, Number number, int64_t i) {
    return number == Number::f32 ? static_cast<const float *>(at)[i] : codec::BF16::value(static_cast<const uint16_t *>(at)[i]);
}
inline void write(void *at, Number number, int64_t i, float value) {
    if (number == Number::f32)
        static_cast<float *>(at)[i] = value;
    else
        static_cast<uint16_t *>(at)[i] = uint16_t(codec::BF16::code(value));
}

// Rows of numbers, `stride` numbers apart.
struct Tokens {
    const void *at;
    Number number;
    int64_t count, stride;

    const void *row(int64_t token) const {
        return static_cast<const uint8_t *>(at) + token * stride * (number == Number::f32 ? 4 : 2);
    }
    Tokens from(int64_t first, int64_t most) const { return {row(first), number, std::min(most, count - first), stride}; }
};

// Memory of a thread that is kept from call to call, at an address that vectors like. `need` may forget what was there.
class Room {
    std::unique_ptr<uint8_t[]> bytes;
    size_t size = 0;

  public:
    template <typename T> T *need(int64_t count) {
        const size_t wanted = size_t(count) * sizeof(T) + 64;
        if (wanted > size) {
            bytes.reset(new uint8_t[wanted]);
            size = wanted;
        }
        return reinterpret_cast<T *>((reinterpret_cast<uintptr_t>(bytes.get()) + 63) & ~uintptr_t(63));
    }
};

// Calls work(thread, threads) in every thread of the pool that PyTorch uses, too.
template <typename Work> inline void parallel(int32_t threads, Work work) {
#ifdef XQ_THREADS
    if (threads > 1) {
#pragma omp parallel num_threads(threads)
        work(omp_get_thread_num(), omp_get_num_threads());
        return;
    }
#endif
    (void)threads;
    work(0, 1);
}

// The part of [0, count) that thread `thread` of `threads` takes, in multiples of `unit`.
struct Share {
    int64_t begin, end;
    Share(int64_t count, int64_t unit, int thread, int threads) {
        const int64_t units = (count + unit - 1) / unit;
        begin = std::min(count, units * thread / threads * unit);
        end = std::min(count, units * (thread + 1) / threads * unit);
    }
};

} // namespace xq
