// Calls with buffers that are exactly as long as they must be, for a compiler's sanitizers.
#include "../../xinqiao/native/dsa.cpp"
#include <cstdio>
#include <memory>

namespace {

int calls = 0;

template <typename T> std::unique_ptr<T[]> filled(int64_t n) {
    std::unique_ptr<T[]> found(new T[n]);
    for (int64_t i = 0; i < n; i++) found[i] = T(i * 7 % 31 - 15);
    return found;
}

struct Size {
    int64_t batch, length, heads, d, d_v, keys, chosen, page;
};

struct Pages {
    std::unique_ptr<int32_t[]> table;
    int64_t each, blocks;
    explicit Pages(const Size &s) : each(s.page ? s.keys / s.page : 0), blocks(s.page ? s.batch * each : s.batch) {
        if (s.page) table.reset(new int32_t[blocks]);
        for (int64_t i = 0; s.page && i < blocks; i++) table[i] = int32_t(blocks - 1 - i);
    }
    int64_t tokens(const Size &s) const { return s.page ? s.page : s.keys; }
    xq::Cache cache(const Size &s, const void *data, int64_t kind, int64_t d) const {
        return {data, table.get(), kind, tokens(s) * d, d, each, tokens(s)};
    }
};

template <typename T> void index(const Size &s, int64_t kind, int64_t top_k) {
    const Pages pages(s);
    auto q = filled<T>(s.batch * s.length * s.heads * s.d), k = filled<T>(pages.blocks * pages.tokens(s) * s.d);
    auto weights = filled<float>(s.batch * s.length * s.heads);
    auto scales = filled<uint8_t>(pages.blocks * pages.tokens(s));
    std::unique_ptr<int64_t[]> start(new int64_t[s.batch]);
    for (int64_t b = 0; b < s.batch; b++) start[b] = s.keys - s.length - b;
    std::unique_ptr<int32_t[]> choice(new int32_t[s.batch * s.length * top_k]);
    const xq::Index x{q.get(), weights.get(), start.get(), kind, s.batch, s.length, s.heads, s.d, s.keys, top_k, 1, pages.cache(s, k.get(), kind, s.d), pages.cache(s, scales.get(), xq::E4M3, 1)};
    xq_dsa_index(&x, choice.get());
    calls++;
}

template <typename T> void attention(const Size &s, int64_t kind, bool all) {
    const Pages pages(s);
    const int64_t rows = s.batch * s.length * s.heads, cached = pages.blocks * pages.tokens(s) * s.d;
    auto q = filled<T>(rows * s.d), latent = filled<T>(cached);
    std::unique_ptr<int32_t[]> choice(new int32_t[s.batch * s.length * s.chosen]);
    for (int64_t i = 0; i < s.batch * s.length * s.chosen; i++) choice[i] = int32_t(i * 13 % (s.keys + 5)) - 2;
    std::unique_ptr<int64_t[]> start(new int64_t[s.batch]);
    for (int64_t b = 0; b < s.batch; b++) start[b] = s.keys - s.length - b;
    std::unique_ptr<T[]> out(new T[rows * s.d_v]);
    std::unique_ptr<float[]> lse(new float[rows]);
    const xq::Attention x{q.get(), all ? nullptr : choice.get(), start.get(), s.batch, s.length, s.heads, s.d, s.d_v, s.keys, s.chosen, 1, pages.cache(s, latent.get(), kind, s.d), 0.01f};
    xq_dsa_attention(&x, out.get(), lse.get());
    auto d_out = filled<float>(rows * s.d_v), share = filled<float>(rows);
    std::unique_ptr<float[]> d_q(new float[rows * s.d]), d_latent(new float[cached]());
    const xq::Backward of{x, d_out.get(), lse.get(), share.get(), d_q.get(), d_latent.get()};
    xq_dsa_attention_backward(&of);
    calls += 2;
}

} // namespace

int main() {
    const Size sizes[] = {
        {1, 1, 1, 1, 1, 2, 1, 0},      {2, 3, 5, 71, 33, 130, 40, 0}, {1, 9, 17, 64, 64, 96, 70, 16},
        {2, 1, 70, 128, 96, 65, 9, 0}, {1, 2, 8, 128, 40, 150, 65, 75}, {1, 1, 20, 40, 32, 1100, 300, 0},
    };
    for (const Size &s : sizes) {
        for (int64_t top_k : {int64_t(1), s.keys / 2, s.keys + 3}) {
            index<float>(s, xq::F32, top_k);
            index<uint16_t>(s, xq::BF16, top_k);
            index<uint8_t>(s, xq::E4M3, top_k);
        }
        for (bool all : {false, true}) {
            attention<float>(s, xq::F32, all);
            attention<uint16_t>(s, xq::BF16, all);
        }
    }
    std::printf("%d calls\n", calls);
}
