// Calls the attention kernels with buffers of exactly the sizes they may touch, under the compiler's sanitizers.
#include "../../xinqiao/native/attention.cpp"
#include <cstdio>
#include <random>

namespace {

std::mt19937 source(1);

int64_t pick(std::initializer_list<int64_t> from) { return *(from.begin() + source() % from.size()); }

std::vector<float> numbers(int64_t count) {
    std::vector<float> found(static_cast<size_t>(count));
    for (float &x : found) x = float(int(source() % 2001) - 1000) / 500.0f;
    return found;
}

std::vector<uint16_t> halves(const std::vector<float> &from) {
    std::vector<uint16_t> found(from.size());
    for (size_t i = 0; i < from.size(); i++) found[i] = uint16_t(__builtin_bit_cast(uint32_t, from[i]) >> 16);
    return found;
}

// One sequence of `keys` rows, in order or in pages, seen by its last `queries` tokens.
void round(int64_t keys, int64_t queries, bool paged, bool half) {
    const int64_t groups = pick({1, 2}), each = pick({1, 3, 16, 32}), heads = groups * each, k_size = pick({16, 48}), v_size = pick({16, 64});
    const int64_t stride = pick({2, 4}), length = stride * pick({1, 2}), block = stride * pick({2, 4, 16}), blocks = pick({3, 6});
    const int64_t made = keys < length ? 0 : (keys - length) / stride + 1, pages = (keys + 63) / 64;
    const int64_t rows = paged ? pages * 64 : keys;
    std::vector<float> q = numbers(queries * heads * k_size), k = numbers(rows * groups * k_size), v = numbers(rows * groups * v_size);
    std::vector<float> ck = numbers(made * groups * k_size), cv = numbers(made * groups * v_size);
    const std::vector<uint16_t> half_k = halves(k), half_v = halves(v);
    std::vector<int32_t> table;
    for (int64_t i = pages; i-- > 0;) table.push_back(int32_t(i));
    const int64_t tokens[5] = {0, queries, 0, keys, keys - queries}, fewer[5] = {0, queries, 0, made, keys - queries};
    std::vector<int64_t> offset, weight;
    for (int64_t i = 1 - length / stride; i < block / stride; i++) offset.push_back(i), weight.push_back(1 + i % 2);
    const Choosing rule{length, stride, block, blocks, 1, 2, int64_t(offset.size()), offset.data(), weight.data()};
    std::vector<float> out(size_t(queries * heads * v_size)), lse(size_t(queries * heads)), gates = numbers(queries * heads * 3);
    std::vector<int32_t> choice(size_t(queries * groups * blocks));

    Call call{q.data(), {ck.data(), cv.data(), 0, groups, k_size, v_size, nullptr, 0, 0}, fewer, 1, heads, 0.25f, 0, nullptr, 0, 0, nullptr, 0, 2};
    xq_nsa_compressed(&call, &rule, out.data(), lse.data(), choice.data());
    std::vector<float> dq(q.size()), dck(ck.size()), dcv(cv.size()), up = numbers(queries * heads * v_size);
    xq_attend_backward(&call, &rule, up.data(), out.data(), lse.data(), dq.data(), dck.data(), dcv.data());

    call.sequences = tokens;
    call.cache = {k.data(), v.data(), 0, groups, k_size, v_size, nullptr, 0, 0};
    if (half) call.cache = {half_k.data(), half_v.data(), 1, groups, k_size, v_size, nullptr, 0, 0};
    if (paged) call.cache.table = table.data(), call.cache.table_row = pages, call.cache.page = 64;
    for (int way = 0; way < 3; way++) {
        call.window = way == 1 ? pick({1, 20, 100}) : 0;
        call.choice = way == 0 ? choice.data() : nullptr;
        call.blocks = blocks;
        call.block = block;
        call.gates = nullptr;
        xq_attend(&call, out.data(), lse.data());
        if (!paged && !half) {
            std::vector<float> dk(k.size()), dv(v.size());
            xq_attend_backward(&call, nullptr, up.data(), out.data(), lse.data(), dq.data(), dk.data(), dv.data());
        }
        call.gates = gates.data();
        call.gate = way;
        xq_attend(&call, out.data(), lse.data());
    }
}

} // namespace

int main() {
    int calls = 0;
    for (int64_t keys : {1, 2, 15, 63, 64, 65, 130, 200})
        for (int64_t queries : {int64_t(1), std::min<int64_t>(keys, 3), keys})
            for (int way = 0; way < 4; way++, calls++) round(keys, queries, way & 1, way & 2);
    std::printf("%d calls\n", calls);
}
