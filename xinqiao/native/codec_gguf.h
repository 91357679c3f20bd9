// The block formats of GGUF files (ggml's block_q8_0 to block_q6_K), to fp32. Decoding only.
#pragma once
#include "codec_elements.h"

namespace codec::gguf {

using ConstBytes = const uint8_t *__restrict;
using Floats = float *__restrict;

inline float half(ConstBytes block, int64_t at) {
    uint16_t code;
    std::memcpy(&code, block + at, 2);
    return F16::value(code);
}

// Thirty-two values: a scale, then nibbles (values 0 to 15 in the low halves, 16 to 31 in the high ones).
struct Q8_0 {
    static constexpr int64_t count = 32, bytes = 34;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0);
        for (int i = 0; i < 32; i++) out[i] = d * float(int8_t(b[2 + i]));
    }
};
struct Q4_0 {
    static constexpr int64_t count = 32, bytes = 18;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0);
        for (int i = 0; i < 16; i++) {
            out[i] = d * float(int(b[2 + i] & 15) - 8);
            out[i + 16] = d * float(int(b[2 + i] >> 4) - 8);
        }
    }
};
struct Q4_1 {
    static constexpr int64_t count = 32, bytes = 20;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0), m = half(b, 2);
        for (int i = 0; i < 16; i++) {
            out[i] = d * float(b[4 + i] & 15) + m;
            out[i + 16] = d * float(b[4 + i] >> 4) + m;
        }
    }
};
inline int fifth(ConstBytes high, int i) { return (high[i / 8] >> (i % 8) & 1) << 4; }
struct Q5_0 {
    static constexpr int64_t count = 32, bytes = 22;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0);
        for (int i = 0; i < 16; i++) {
            out[i] = d * float(((b[6 + i] & 15) | fifth(b + 2, i)) - 16);
            out[i + 16] = d * float(((b[6 + i] >> 4) | fifth(b + 2, i + 16)) - 16);
        }
    }
};
struct Q5_1 {
    static constexpr int64_t count = 32, bytes = 24;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0), m = half(b, 2);
        for (int i = 0; i < 16; i++) {
            out[i] = d * float((b[8 + i] & 15) | fifth(b + 4, i)) + m;
            out[i + 16] = d * float((b[8 + i] >> 4) | fifth(b + 4, i + 16)) + m;
        }
    }
};

// Two hundred and fifty-six values in groups of 16 or 32, each group with a small integer scale (and minimum).
struct Q2_K {
    static constexpr int64_t count = 256, bytes = 84;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 80), low = half(b, 82);
        for (int group = 0; group < 16; group++) {
            const float scale = d * float(b[group] & 15), least = low * float(b[group] >> 4);
            const uint8_t *q = b + 16 + group / 8 * 32 + group % 2 * 16;
            for (int i = 0; i < 16; i++) out[16 * group + i] = scale * float(q[i] >> (group / 2 % 4 * 2) & 3) - least;
        }
    }
};
struct Q3_K {
    static constexpr int64_t count = 256, bytes = 110;
    static void decode(ConstBytes b, Floats out) {
        const uint8_t *s = b + 96;
        const float d = half(b, 108);
        for (int group = 0; group < 16; group++) {
            const int four = group < 8 ? s[group] & 15 : s[group - 8] >> 4;
            const int two = s[8 + group % 4] >> (group / 4 * 2) & 3;
            const float scale = d * float((four | two << 4) - 32);
            const int half_ = group % 2 * 16;
            const uint8_t *q = b + 32 + group / 8 * 32 + half_, *high = b + half_;
            for (int i = 0; i < 16; i++) {
                const int third = high[i] >> (group / 2) & 1 ? 0 : 4;
                out[16 * group + i] = scale * float(int(q[i] >> (group / 2 % 4 * 2) & 3) - third);
            }
        }
    }
};
// Scale and minimum of group 0 to 7, six bits each in twelve bytes.
inline int scale_of(ConstBytes s, int group) { return group < 4 ? s[group] & 63 : (s[group + 4] & 15) | s[group - 4] >> 6 << 4; }
inline int least_of(ConstBytes s, int group) { return group < 4 ? s[group + 4] & 63 : s[group + 4] >> 4 | s[group] >> 6 << 4; }
struct Q4_K {
    static constexpr int64_t count = 256, bytes = 144;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0), low = half(b, 2);
        for (int group = 0; group < 8; group++) {
            const float scale = d * float(scale_of(b + 4, group)), least = low * float(least_of(b + 4, group));
            const uint8_t *q = b + 16 + group / 2 * 32;
            for (int i = 0; i < 32; i++) out[32 * group + i] = scale * float(q[i] >> (group % 2 * 4) & 15) - least;
        }
    }
};
struct Q5_K {
    static constexpr int64_t count = 256, bytes = 176;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 0), low = half(b, 2);
        for (int group = 0; group < 8; group++) {
            const float scale = d * float(scale_of(b + 4, group)), least = low * float(least_of(b + 4, group));
            const uint8_t *q = b + 48 + group / 2 * 32, *high = b + 16;
            for (int i = 0; i < 32; i++) {
                const int code = (q[i] >> (group % 2 * 4) & 15) | (high[i] >> group & 1) << 4;
                out[32 * group + i] = scale * float(code) - least;
            }
        }
    }
};
struct Q6_K {
    static constexpr int64_t count = 256, bytes = 210;
    static void decode(ConstBytes b, Floats out) {
        const float d = half(b, 208);
        for (int group = 0; group < 16; group++) {
            const float scale = d * float(int8_t(b[192 + group]));
            const int quarter = group / 2 % 4; // of 128 values: which nibble and which two bits
            const uint8_t *q = b + group / 8 * 64 + quarter % 2 * 32 + group % 2 * 16;
            const uint8_t *high = b + 128 + group / 8 * 32 + group % 2 * 16;
            for (int i = 0; i < 16; i++) {
                const int code = (q[i] >> (quarter / 2 * 4) & 15) | (high[i] >> (quarter * 2) & 3) << 4;
                out[16 * group + i] = scale * float(code - 32);
            }
        }
    }
};

// `first` and `count` are multiples of the block.
template <typename Block> void rows(ConstBytes row, int64_t first, int64_t count, Floats out) {
    const uint8_t *block = row + first / Block::count * Block::bytes;
    for (int64_t i = 0; i < count; i += Block::count, block += Block::bytes) Block::decode(block, out + i);
}

} // namespace codec::gguf
