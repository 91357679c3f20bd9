// Block-scaled e4m3 matrices, and their scales as the kernels want them.
#pragma once
#include "linear_dot.h"

namespace xq {

struct Fp8Weights {
    const uint8_t *codes;  // [n, k] e4m3fn
    const void *scales;    // [ceil(n / block_rows), ceil(k / block_columns)]
    int64_t n, k;
    int32_t scale_bytes;   // 4: fp32; 1: UE8M0
    int32_t block_rows;
    int32_t block_columns; // a multiple of 32

    int64_t across() const { return (k + block_columns - 1) / block_columns; }
    Codes from(int64_t row) const { return {codes + row * k, k, k}; }

    // The scales of a row's blocks of 32 columns, as many as two a step; of columns that are not there: 0.
    void scales_of(int64_t row, float *found) const {
        const int64_t blocks = across(), parts = block_columns / 32, wanted = 2 * steps_of(k), start = row / block_rows * blocks;
        const float *floats = static_cast<const float *>(scales) + start;
        const uint8_t *bytes = static_cast<const uint8_t *>(scales) + start;
        if (parts == 1 && scale_bytes == 1) {
            for (int64_t i = 0; i < blocks; i++) found[i] = codec::E8M0::value(bytes[i]);
        } else {
            for (int64_t b = 0; b < blocks; b++) {
                const float scale = scale_bytes == 4 ? floats[b] : codec::E8M0::value(bytes[b]);
                for (int64_t i = b * parts; i < std::min(wanted, (b + 1) * parts); i++) found[i] = scale;
            }
        }
        for (int64_t i = blocks * parts; i < wanted; i++) found[i] = 0;
    }
};

// Scales of rows that are computed together.
class PanelScales {
    Room room, exponents;
    int64_t steps = 0, count = 0;

  public:
    StepScales all_steps;
    bool shared = false; // by all rows, and by both halves of every step
    float common = 0;    // what every scale has beside a power of two, from 1 to 2; 0: no such number, or none that is shared
    int16_t *powers = nullptr;

    // Rows begin to end lie in one row of blocks, or each in its own.
    void prepare(const Fp8Weights &w, int64_t begin, int64_t end) {
        steps = steps_of(w.k);
        const int64_t lines = w.block_rows > 1 ? 1 : end - begin;
        count = lines * 2 * steps;
        float *scales = room.need<float>(count);
        for (int64_t line = 0; line < lines; line++) w.scales_of(begin + line, scales + line * 2 * steps);
        all_steps = {scales, lines == 1 ? 0 : 2 * steps};
        shared = lines == 1 && w.block_columns % STEP == 0;
        common = 0;
        if (shared) split();
    }

    // is(scale): 0 or 1.
    template <typename Is> bool any(Is is) const {
        uint32_t found = 0;
        for (int64_t i = 0; i < count; i++) found |= is(all_steps.at[i]);
        return found;
    }

  private:
    void split() {
        powers = exponents.need<int16_t>(steps);
        const uint32_t mantissa = steps ? codec::bits(all_steps.at[0]) & 0x7fffff : 0;
        bool same = true;
        for (int64_t s = 0; s < steps; s++) {
            const uint32_t bits = codec::bits(all_steps.at[2 * s]);
            same &= (bits & 0x7fffff) == mantissa && (bits >> 23) - 1 < 254; // neither negative nor subnormal, infinite or NaN
            powers[s] = int16_t(int32_t(bits >> 23) - 127);
        }
        if (same) common = codec::number(127u << 23 | mantissa);
    }
};

} // namespace xq
