// How far stored values are from true ones.
#pragma once
#include "codec_elements.h"

namespace codec {

struct Errors { // as in codec.py
    int64_t count, different, saturated, underflowed, nonfinite;
    double signal, noise, largest;
};

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
    Counts different[PARTS] = {}, underflowed[PARTS] = {}, saturated[PARTS] = {};
    Errors rare{};

  public:
    // Whether squares of magnitudes up to `largest` (bits), and of errors a thousand times smaller, are far from the ends of fp32.
    static bool ordinary(uint32_t largest) { return largest == 0 || (largest > bits(0x1p-40f) && largest < bits(0x1p40f)); }

    // a: the truth; b times `scale`: what is stored; top: the largest that b could have been.
    void add(const float *a, const float *b, const float *scale, int64_t count, float top) {
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) add_sixteen(a + i, b + i, scale + i, top);
        if (i == count) return;
        float x[LANES] = {}, y[LANES] = {}, z[LANES] = {}; // zeros differ in nothing
        std::copy(a + i, a + count, x);
        std::copy(b + i, b + count, y);
        std::copy(scale + i, scale + count, z);
        add_sixteen(x, y, z, top);
    }
    // The same where some of `a` are not finite, or very large or small.
    void add_any(const float *a, const float *b, const float *scale, int64_t count, float top) {
        for (int64_t i = 0; i < count; i++) {
            const float x = a[i], y = b[i] * scale[i], size = std::fabs(x), off = x - y;
            rare.different += x != y && (x == x || y == y);
            if (!(size < number(INFINITE))) {
                rare.nonfinite++;
                continue;
            }
            rare.saturated += size > top * scale[i];
            rare.underflowed += y == 0 && x != 0;
            rare.signal += double(x) * double(x);
            rare.noise += double(off) * double(off);
            rare.largest = std::max(rare.largest, double(std::fabs(off)));
        }
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
                errors.saturated -= saturated[part][lane];
                errors.signal += double(signal[part][lane]);
                errors.noise += double(noise[part][lane]);
                errors.largest = std::max(errors.largest, double(largest[part][lane]));
            }
    }

  private:
    static Lanes load(const float *from) {
        Lanes found;
        std::memcpy(&found, from, BYTES);
        return found;
    }
    static Lanes magnitude(Lanes x) { return reinterpret_cast<Lanes>(reinterpret_cast<Counts>(x) & int32_t(MAGNITUDE)); }

    void add_sixteen(const float *a, const float *b, const float *scale, float top) {
        for (int64_t part = 0; part < PARTS; part++) {
            const Lanes x = load(a + part * WIDTH), s = load(scale + part * WIDTH), y = load(b + part * WIDTH) * s;
            const Lanes off = x - y, away = magnitude(off);
            signal[part] += x * x;
            noise[part] += off * off;
            largest[part] = away > largest[part] ? away : largest[part];
            different[part] += off != 0.0f;
            underflowed[part] += (y == 0.0f) & (x != 0.0f);
            saturated[part] += magnitude(x) > s * top;
        }
    }
};

} // namespace codec
