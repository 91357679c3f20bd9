// Every pair of formats on ragged shapes, in buffers of exactly the size that is needed: for a compiler's sanitizers.
#include "../../xinqiao/native/codec.cpp"
#include <cstdio>

using namespace codec;

constexpr int32_t BITS[] = {32, 16, 16, 64, 8, 8, 8, 8, 8, 4, 8, 8, 8, 4, 8};
constexpr int32_t GROUP[][2] = {{32, 34},  {32, 18},   {32, 20},   {32, 22},   {32, 24},
                                {256, 84}, {256, 110}, {256, 144}, {256, 176}, {256, 210}};
constexpr int32_t PLAIN = 15, ALL = 25;

int64_t row_bytes(int32_t element, int64_t columns) {
    if (element < PLAIN) return (columns * BITS[element] + 7) / 8;
    const auto [values, bytes] = GROUP[element - PLAIN];
    return columns / values * bytes;
}

struct Held { // a matrix of random bytes, its rows without a gap
    std::vector<uint8_t> codes;
    std::vector<float> scales;
    Matrix m;
    Held(int32_t element, Size size, int32_t height, int32_t width, bool scaled)
        : codes(size_t(size.rows * row_bytes(element, size.columns))), m{nullptr, nullptr, row_bytes(element, size.columns), element, height, width} {
        const Blocks blocks(m, size);
        scales.assign(size_t((size.rows + blocks.rows - 1) / blocks.rows * blocks.across), 0.125f);
        uint32_t state = 12345;
        for (uint8_t &code : codes) code = uint8_t((state = state * 1664525 + 1013904223) >> 24);
        codes.shrink_to_fit(), scales.shrink_to_fit();
        m.codes = codes.data();
        m.scales = scaled ? scales.data() : nullptr;
    }
};

int main() {
    const Size sizes[] = {{1, 1}, {3, 37}, {5, 256}, {130, 40}, {2, 1279}};
    const int32_t blocks[][2] = {{1, 0}, {128, 128}, {1, 32}, {3, 5}};
    Errors errors{};
    int64_t calls = 0;
    for (const Size size : sizes)
        for (int32_t from = 0; from < ALL; from++)
            for (int32_t to = 0; to < PLAIN; to++)
                for (const auto [height, width] : blocks) {
                    const Size whole{size.rows, from < PLAIN ? size.columns : (size.columns + 255) / 256 * 256};
                    if (!ELEMENTS[to].encode) continue;
                    const Held source(from, whole, height, width, from < PLAIN && to % 2), target(to, whole, height, width, true);
                    for (int32_t scaling = 0; scaling < 4; scaling++) {
                        const int32_t rule = int32_t(calls++ % 4);
                        xq_codec_convert(&source.m, &target.m, whole.rows, whole.columns, scaling, rule, calls % 3 ? &errors : nullptr);
                    }
                    xq_codec_compare(&source.m, &target.m, whole.rows, whole.columns, &errors);
                }
    std::printf("%lld calls\n", static_cast<long long>(calls));
}
