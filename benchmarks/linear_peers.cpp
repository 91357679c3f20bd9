// What the kernels of 8-bit linear layers are measured against: the same loop over bf16 weights, how fast memory is read, and
// how fast numbers are multiplied. Needs AVX-512 BF16, or AVX2.
#include <large.h>
#include <linear_dot.h>

using namespace xq;

namespace {

#if defined(XQ_BF16_STEPS)

struct Bf16Step : Tile<4, 8, 16, 8> {
    using Input = uint16_t;
    struct Weights {
        __m512i part[2];
    };
    using Seen = Unseen;
    using Total = float;
    static constexpr int PARTS = 2, WIDTH = 128;
    static Floats zero() { return all(0.0f); }
    Weights weights(const uint8_t *at, Seen &) const { return {{_mm512_loadu_si512(at), _mm512_loadu_si512(at + 64)}}; }
    static __m512i input(int i, const Input *x) { return _mm512_load_si512(x + 32 * i); }
    Floats part(int i, const Weights &w, __m512i x, Floats sum) const { return {multiply_add(w.part[i], x, sum.v)}; }
};

#else

// Activations are in the order that two shifts leave the weights in: of sixteen, the eight even ones before the odd ones.
struct Bf16Step : Tile<2, 4, 4, 4> {
    using Input = float;
    struct Weights {
        Floats part[4];
    };
    using Seen = Unseen;
    using Total = float;
    static constexpr int PARTS = 4, WIDTH = 128;
    static Floats zero() { return all(0.0f); }
    Weights weights(const uint8_t *at, Seen &) const {
        Weights found;
        for (int i = 0; i < 4; i++) {
            const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at + 32 * i));
            found.part[i] = {_mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16)),
                             _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(int(0xffff0000))))};
        }
        return found;
    }
    static Floats input(int i, const Input *x) { return load(x + 16 * i); }
    Floats part(int i, const Weights &w, Floats x, Floats sum) const { return fma(w.part[i], x, sum); }
};

#endif

} // namespace

extern "C" {

// y [tokens, n] = x [tokens, k] · weightsᵀ; n and k are multiples of 64, tokens at most 8, x has 8 and is aligned.
void peer_bf16(const Bf16Step::Input *x, const uint8_t *weights, float *y, int64_t tokens, int64_t n, int64_t k, int32_t threads) {
    used(weights, size_t(n * k * 2));
    parallel(threads, [&](int thread, int of) {
        const Share share(n, 16, thread, of);
        dots<false>(Bf16Step(), share.end - share.begin, {weights + share.begin * k * 2, k * 2, k}, tokens, {x, k}, {}, {y + share.begin, n});
    });
}

// Reads `size` bytes as fast as it can.
uint64_t peer_read(const uint8_t *from, int64_t size, int32_t threads) {
    used(from, size_t(size));
    uint64_t found[64] = {};
    parallel(threads, [&](int thread, int of) {
        const Share share(size, 4096, thread, of);
        const int64_t part = (share.end - share.begin) / 4 / 64 * 64;
        __m256i sum[4][2] = {};
        for (int64_t i = 0; i < part; i += 64)
            for (int j = 0; j < 4; j++) {
                const uint8_t *at = from + share.begin + j * part + i;
                __builtin_prefetch(at + 1024);
                for (int half = 0; half < 2; half++)
                    sum[j][half] = _mm256_xor_si256(sum[j][half], _mm256_loadu_si256(reinterpret_cast<const __m256i *>(at) + half));
            }
        for (const auto &two : sum)
            for (const __m256i one : two) found[thread] += uint64_t(_mm256_extract_epi64(one, 0)) ^ uint64_t(_mm256_extract_epi64(one, 3));
    });
    return found[0] + found[1];
}

// `count` times 384 products, without memory: of pairs of bf16 where the processor multiplies them, else of fp32.
float peer_peak(int64_t count, int32_t threads) {
    float found[64] = {};
    parallel(threads, [&](int thread, int) {
#if defined(XQ_BF16_STEPS)
        __m512 sum[12];
        for (auto &one : sum) one = _mm512_setzero_ps();
        __m512i x = _mm512_set1_epi16(0x3f80);
        for (int64_t i = 0; i < count; i++) {
            asm volatile("" : "+v"(x));
            for (auto &one : sum) one = _mm512_dpbf16_ps(one, (__m512bh)x, (__m512bh)x);
        }
        for (auto &one : sum) found[thread] += _mm512_reduce_add_ps(one);
#else
        __m256 sum[12], x = _mm256_set1_ps(1);
        for (auto &one : sum) one = _mm256_setzero_ps();
        for (int64_t i = 0; i < 4 * count; i++) {
            asm volatile("" : "+x"(x));
            for (auto &one : sum) one = _mm256_fmadd_ps(x, x, one);
        }
        for (auto &one : sum) found[thread] += _mm256_cvtss_f32(one);
#endif
    });
    return found[0];
}
}
