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

struct Sums {
    Lanes signal, noise;
    Counts largest, different, underflowed;

    void add(const float *a, const float *b, const float *scale) {
        const Lanes x = lanes(a), y = lanes(b) * lanes(scale), off = x - y;
        const Counts away = reinterpret_cast<Counts>(off) & int32_t(MAGNITUDE);
        signal += x * x;
        noise += off * off;
        largest = away > largest ? away : largest;
        different = off != 0.0f ? different + 1 : different;
        underflowed = ((off != 0.0f) & (y == 0.0f)) ? underflowed + 1 : underflowed;
    }

  private:
    static Lanes lanes(const float *from) {
        Lanes found;
        std::memcpy(&found, from, BYTES);
        return found;
    }
};

// Sums over a tile, single precision, each lane one of its own.
class Measure {
    Sums sums[PARTS] = {};
    Errors rare{};

    void add_lanes(const float *a, const float *b, const float *scale, int64_t count) {
        for (int64_t part = 0; part < PARTS; part++) {
            Sums kept = sums[part]; // in registers
            for (int64_t i = part * WIDTH; i < count; i += LANES) kept.add(a + i, b + i, scale + i);
            sums[part] = kept;
        }
    }

  public:
    // Whether squares of magnitudes up to `largest` (bits), and of errors a thousand times smaller, are far from the ends of fp32.
    static bool ordinary(uint32_t largest) { return largest == 0 || (largest > bits(0x1p-40f) && largest < bits(0x1p40f)); }

    // a: the truth; b times `scale`: what is stored.
    void add(const float *a, const float *b, const float *scale, int64_t count) {
        const int64_t whole = count / LANES * LANES, rest = count - whole;
        add_lanes(a, b, scale, whole);
        if (!rest) return;
        float x[LANES] = {}, y[LANES] = {}, z[LANES] = {}; // zeros differ in nothing
        std::copy_n(a + whole, rest, x);
        std::copy_n(b + whole, rest, y);
        std::copy_n(scale + whole, rest, z);
        add_lanes(x, y, z, LANES);
    }
    // top: the largest that b could have been.
    void add_saturated(const float *a, const float *scale, int64_t count, float top) {
        int32_t found = 0;
        for (int64_t i = 0; i < count; i++) found += std::fabs(a[i]) > top * scale[i];
        rare.saturated += found;
    }
    // All of this where some of `a` are not finite, or very large or small.
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
        for (const Sums &part : sums)
            for (int64_t lane = 0; lane < WIDTH; lane++) {
                errors.different += part.different[lane];
                errors.underflowed += part.underflowed[lane];
                errors.signal += double(part.signal[lane]);
                errors.noise += double(part.noise[lane]);
                errors.largest = std::max(errors.largest, double(number(uint32_t(part.largest[lane]))));
            }
    }
};

} // namespace codec
