// How far stored values are from true ones.
#pragma once
#include "codec_planes.h"

namespace codec {

struct Errors { // as in codec.py
    int64_t count, different, saturated, underflowed, nonfinite;
    double signal, noise, largest;
};

// Sums over a tile, single precision, each lane one of its own.
class Measure {
    struct Sums {
        Native::Floats signal{}, noise{};
        Native::Ints largest{}, different{}, underflowed{}; // largest: bits

        void add(Native::Floats x, Native::Floats y) {
            const Native::Floats off = x - y;
            signal += x * x;
            noise += off * off;
            largest = most(bits(off) & MAGNITUDE, largest);
            different = off != 0.0f ? different + 1 : different;
            underflowed = ((y == 0.0f) & (x != 0.0f)) ? underflowed + 1 : underflowed;
        }
    };
    Sums sums[PARTS];
    Errors rare{};

  public:
    // Nothing saturates, and squares, of errors a thousand times smaller too, are far from the ends of fp32.
    // largest: magnitude of the truth, as bits; limit: of what could be stored.
    static bool ordinary(int32_t largest, float limit) {
        return largest <= bits(limit) && (largest == 0 || (largest > bits(0x1p-40f) && largest < bits(0x1p40f)));
    }
    // a: the truth; b times `scale`: what is stored. Ordinary values.
    void add(const float *a, const float *b, int64_t count, float scale) {
        int64_t i = 0;
        for (; i + LANES <= count; i += LANES) add_sixteen(a + i, b + i, scale);
        if (i == count) return;
        float x[LANES] = {}, y[LANES] = {}; // zeros differ in nothing
        std::copy(a + i, a + count, x);
        std::copy(b + i, b + count, y);
        add_sixteen(x, y, scale);
    }
    // The same for whole groups of codes that planes can be read from.
    template <typename Codes, typename From>
    void add_groups(const uint8_t *a, const uint8_t *row, int64_t first, int64_t count, const Factors &scales) {
        const uint8_t *codes = row + first * Codes::bytes;
        for (int64_t part = 0; part < PARTS; part++) {
            Sums found = sums[part]; // in registers
            const Native::Floats scale = scales.of(part);
            for (int64_t at = part * NATIVE; at < count; at += GROUP) {
                const Native x = From::template planes<Native>(a + at * From::bytes);
                const Native y = Codes::template planes<Native>(codes + at * Codes::bytes);
                for (int p = 0; p < 4; p++) found.add(x.plane[p], y.plane[p] * scale);
            }
            sums[part] = found;
        }
    }
    // Values that may not be finite, saturate, or are very large or small.
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
                errors.largest = std::max(errors.largest, double(number(int32_t(part.largest[lane]))));
            }
    }

  private:
    void add_sixteen(const float *a, const float *b, float scale) {
        for (int64_t part = 0; part < PARTS; part++)
            sums[part].add(number(Native::words(a + part * WIDTH)), number(Native::words(b + part * WIDTH)) * scale);
    }
};

} // namespace codec
