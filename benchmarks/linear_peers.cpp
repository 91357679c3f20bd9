// What the kernels of 8-bit linear layers are measured against: the same loop over bf16 weights, how fast memory is read, and
// how fast bf16 is multiplied. Needs AVX-512 BF16.
#include <linear_dot.h>

using namespace xq;

namespace {

struct Bf16Step {
    using Input = uint16_t;
    struct Weights {
        __m512i part[2];
    };
    using Total = float;
    static constexpr int PARTS = 2, WIDTH = 128;
    static Floats zero() { return all(0.0f); }
    Weights weights(const uint8_t *at) const { return {{_mm512_loadu_si512(at), _mm512_loadu_si512(at + 64)}}; }
    static __m512i input(int i, const Input *x) { return _mm512_load_si512(x + 32 * i); }
    Floats part(int i, const Weights &w, __m512i x, Floats sum) const { return {multiply_add(w.part[i], x, sum.v)}; }
};

} // namespace

extern "C" {

// y [tokens, n] = x [tokens, k] · weightsᵀ; n and k are multiples of 64, tokens at most 8, x has 8 and is aligned.
void peer_bf16(const uint16_t *x, const uint8_t *weights, float *y, int64_t tokens, int64_t n, int64_t k, int32_t threads) {
    parallel(threads, [&](int thread, int of) {
        const Share share(n, 16, thread, of);
        dots<false>(Bf16Step(), share.end - share.begin, {weights + share.begin * k * 2, k * 2, k}, tokens, {x, k}, {}, {y + share.begin, n});
    });
}

// Reads `size` bytes as fast as it can.
uint64_t peer_read(const uint8_t *from, int64_t size, int32_t threads) {
    uint64_t found[64] = {};
    parallel(threads, [&](int thread, int of) {
        const Share share(size, 4096, thread, of);
        const int64_t part = (share.end - share.begin) / 4 / 64 * 64;
        __m512i sum[4] = {};
        for (int64_t i = 0; i < part; i += 64)
            for (int j = 0; j < 4; j++) {
                const uint8_t *at = from + share.begin + j * part + i;
                __builtin_prefetch(at + 1024);
                sum[j] = _mm512_xor_si512(sum[j], _mm512_loadu_si512(at));
            }
        const __m512i one = _mm512_xor_si512(_mm512_xor_si512(sum[0], sum[1]), _mm512_xor_si512(sum[2], sum[3]));
        found[thread] = uint64_t(_mm512_reduce_add_epi64(one));
    });
    return found[0] + found[1];
}

// `count` times twelve products of 32 pairs of bf16, without memory.
float peer_peak(int64_t count, int32_t threads) {
    float found[64] = {};
    parallel(threads, [&](int thread, int) {
        __m512 sum[12];
        for (auto &one : sum) one = _mm512_setzero_ps();
        __m512i x = _mm512_set1_epi16(0x3f80);
        for (int64_t i = 0; i < count; i++) {
            asm volatile("" : "+v"(x));
            for (auto &one : sum) one = _mm512_dpbf16_ps(one, (__m512bh)x, (__m512bh)x);
        }
        __m512 all_of = _mm512_setzero_ps();
        for (auto &one : sum) all_of = _mm512_add_ps(all_of, one);
        found[thread] = _mm512_reduce_add_ps(all_of);
    });
    return found[0];
}
}
