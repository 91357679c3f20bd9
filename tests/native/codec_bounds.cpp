// Every pair of number formats on buffers that end where the matrix does; for AddressSanitizer and UBSan.
#include "codec.cpp"
#include <cstdio>

namespace {

constexpr int32_t PLAIN = 15, ALL = sizeof codec::ELEMENTS / sizeof codec::ELEMENTS[0]; // then GGUF's
constexpr int GROUP_VALUES[] = {32, 32, 32, 32, 32, 256, 256, 256, 256, 256};
constexpr int GROUP_BYTES[] = {34, 18, 20, 22, 24, 84, 110, 144, 176, 210};
constexpr int64_t BITS[PLAIN] = {32, 16, 16, 64, 8, 8, 8, 8, 8, 4, 8, 8, 8, 4, 8};
constexpr int32_t BLOCKS[][2] = {{1, 0}, {1, 128}, {128, 128}, {1, 32}, {3, 5}};
constexpr codec::Size SHAPES[] = {{1, 1}, {2, 31}, {5, 95}, {4, 256}, {3, 1311}, {130, 288}};

int64_t row_bytes(int32_t element, int64_t columns) {
    if (element < PLAIN) return (columns * BITS[element] + 7) / 8;
    return columns / GROUP_VALUES[element - PLAIN] * GROUP_BYTES[element - PLAIN];
}

struct Held { // a matrix whose buffers are exactly as long as it needs; `stride` bytes more between its rows
    std::vector<uint8_t> codes;
    std::vector<float> scales;
    codec::Matrix m;
    Held(int32_t element, codec::Size size, const int32_t *block, int64_t gap)
        : codes(size_t(size.rows * (row_bytes(element, size.columns) + gap) - gap)), m{codes.data(), nullptr, row_bytes(element, size.columns) + gap, element, 0, 0} {
        uint32_t state = 1;
        for (uint8_t &code : codes) code = uint8_t((state = state * 1664525 + 1013904223) >> 24);
        if (!block) return;
        m.block_rows = block[0];
        m.block_columns = block[1];
        const codec::Blocks blocks(m, size);
        scales.assign(size_t((size.rows + blocks.rows - 1) / blocks.rows * blocks.across), 0.25f);
        m.scales = scales.data();
    }
};

int64_t pairs(int32_t from, codec::Size size) {
    int64_t done = 0;
    for (int32_t to = 0; to < PLAIN; to++) {
        if (!codec::ELEMENTS[to].f32.encode) continue;
        for (const int32_t *block : {(const int32_t *)nullptr, BLOCKS[0], BLOCKS[1], BLOCKS[2], BLOCKS[3], BLOCKS[4]})
            for (const int64_t gap : {0, 3}) {
                Held a(from, size, from < PLAIN ? block : nullptr, gap), b(to, size, block, gap);
                codec::Errors errors{};
                const auto scaling = block ? codec::Scaling(1 + done % 3) : codec::Scaling::none;
                codec::convert(a.m, b.m, size, scaling, codec::Rule(done % 4), &errors);
                codec::compare(a.m, b.m, size, errors);
                done += errors.count == 2 * size.rows * size.columns;
            }
    }
    return done;
}

} // namespace

int main() {
    int64_t done = 0;
    for (int32_t from = 0; from < ALL; from++)
        for (const codec::Size size : SHAPES)
            if (from < PLAIN || size.columns % GROUP_VALUES[from - PLAIN] == 0) done += pairs(from, size);
    std::printf("%lld\n", (long long)done);
}
