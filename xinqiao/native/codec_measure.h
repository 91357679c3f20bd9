// How far stored values are from true ones.
#pragma once
#include "codec_elements.h"

namespace codec {

struct Errors { // as in codec.py
    int64_t count, different, saturated, underflowed, nonfinite;
    double signal, noise, largest;
};

inline uint32_t largest_magnitude(const float *values, int64_t count) { // as bits: above INFINITE where one is NaN
    int32_t found = 0;
    for (int64_t i = 0; i < count; i++) found = std::max(found, int32_t(bits(values[i]) & MAGNITUDE));
    return uint32_t(found);
}

// As many lanes at a time as the processor has; sixteen in all, so that sums are the same on every one.
#if defined(__AVX512F__)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif
typedef float Lanes __attribute__((vector_size(BYTES)));
typedef int32_t Counts __attribute__((vector_size(BYTES)));
constexpr int64_t LANES = 16, WIDTH = BYTES / 4, PARTS = LANES / WIDTH;

// Sums over a tile, single precision, each lane one of its own.
class Measure {
    Lanes signal[PARTS] = {}, noise[PARTS] = {}, largest[PARTS] = {};
    Counts different[PARTS] = {}, underflowed[PARTS] = {};
    Errors rare{};

  public:
    // a: the truth; b times `scale`: what is stored; limit: the largest that could have been.
    void add(const float *a, const float *b, int64_t count, float scale, float limit) {
        const uint32_t size = largest_magnitude(a, count);
        // Squares of these, and of errors a thousand times smaller, are far from the ends of fp32.
        const bool ordinary = size == 0 || (size > bits(0x1p-40f) && size < bits(0x1p40f));
        if (!ordinary || size > bits(limit)) return add_any(a, b, count, scale, limit);
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) add_sixteen(a + i, b + i, scale);
        if (i == count) return;
        float x[LANES] = {}, y[LANES] = {}; // zeros differ in nothing
        std::copy(a + i, a + count, x);
        std::copy(b + i, b + count, y);
        add_sixteen(x, y, scale);
    }

    void fold(int64_t count, Errors &errors) const {
        errors.count += count;
        errors.different += rare.different;
        errors.saturated += rare.saturated;
        errors.underflowed += rare.underflowed;
        errors.nonfinite += rare.nonfinite;
        errors.signal += rare.signal;
        errors.noise += rare.noise;
        errors.largest = std::max(errors.largest, rare.largest);
        for (int64_t part = 0; part < PARTS; part++)
            for (int64_t lane = 0; lane < WIDTH; lane++) {
                errors.different -= different[part][lane]; // a lane that is true is -1
                errors.underflowed -= underflowed[part][lane];
                errors.signal += double(signal[part][lane]);
                errors.noise += double(noise[part][lane]);
                errors.largest = std::max(errors.largest, double(largest[part][lane]));
            }
    }

  private:
    void add_sixteen(const float *a, const float *b, float scale) {
        for (int64_t part = 0; part < PARTS; part++) {
            Lanes x, y;
            std::memcpy(&x, a + part * WIDTH, BYTES);
            std::memcpy(&y, b + part * WIDTH, BYTES);
            y *= scale;
            const Lanes off = x - y;
            const Lanes away = reinterpret_cast<Lanes>(reinterpret_cast<Counts>(off) & int32_t(MAGNITUDE));
            signal[part] += x * x;
            noise[part] += off * off;
            largest[part] = away > largest[part] ? away : largest[part];
            different[part] += off != 0.0f;
            underflowed[part] += (y == 0.0f) & (x != 0.0f);
        }
    }
    // Values that are not finite, saturate, or are very large or small.
    void add_any(const float *a, const float *b, int64_t count, float scale, float limit) {
        for (int64_t i = 0; i < count; i++) {
            const float x = a[i], y = b[i] * scale, size = std::fabs(x), off = x - y;
            rare.different += x != y && (x == x || y == y);
            if (!(size < number(INFINITE))) {
                rare.nonfinite++;
                continue;
            }
            rare.saturated += size > limit;
            rare.underflowed += y == 0 && x != 0;
            rare.signal += double(x) * double(x);
            rare.noise += double(off) * double(off);
            rare.largest = std::max(rare.largest, double(std::fabs(off)));
        }
    }
};

} // namespace codec
