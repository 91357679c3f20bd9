// Rows of a block-scaled e4m3 matrix times a few tokens.
//
// Where the scales of a row of blocks are powers of two, or one number times powers of two, they are folded into the
// activations; else every block's sum is multiplied by its scale. bf16 activations are multiplied as bf16, whose products
// with e4m3 are exact; fp32 ones, and those near the ends of the range, as fp32. All sums are fp32.
#pragma once
#include "linear_activations.h"
#include "linear_scales.h"
#include <algorithm>

namespace xq {

// The product of one matrix and some tokens, by one thread; lives no longer than its arguments, and no two at a time in a thread.
class Fp8Product {
    const Fp8Weights &w;
    const Tokens x;
    const int64_t steps = steps_of(w.k), width = steps * STEP;
    struct Rooms {
        Room arranged, wide, quick, folded, restore, unfolded, again;
        PanelScales scales;
    };
    static Rooms &rooms() {
        static thread_local Rooms kept;
        return kept;
    }
    Rooms &room = rooms();
    const E4m3ByF32 by_f32{};
    float *wide = nullptr, *restore = nullptr; // made when first needed
#ifdef XQ_BF16_STEPS
    const E4m3ByBf16 by_bf16{};
    uint16_t *arranged = nullptr; // null: activations are fp32
    bool normal = false;          // see arrange_bf16
#endif
#ifdef XQ_E4M3_SHIFTS
    const E4m3ByShifts by_shifts{};
    float *quick = nullptr; // null: many tokens, or subnormals are slow
    Fit *unfolded = nullptr; // of every token
#endif

    // Room for all tokens, with zeros for those that fill up the last few.
    template <typename T> T *zeros(Room &from) {
        const int64_t count = (x.count / TOGETHER * TOGETHER + padded(x.count % TOGETHER)) * width;
        T *found = from.need<T>(count);
        std::memset(found + x.count * width, 0, size_t(count - x.count * width) * sizeof(T));
        return found;
    }

  public:
    Fp8Product(const Fp8Weights &weights, const Tokens &tokens) : w(weights), x(tokens) {
#ifdef XQ_BF16_STEPS
        if (x.number == Number::bf16) {
            arranged = zeros<uint16_t>(room.arranged);
            normal = arrange_bf16(x, w.k, arranged);
        }
#endif
#ifdef XQ_E4M3_SHIFTS
        // For more tokens decoding matters less, and sums are added up in the order of all processors.
        if (x.count <= TOGETHER && multiplies_subnormals()) {
            quick = zeros<float>(room.quick);
            unfolded = room.unfolded.need<Fit>(x.count);
            arrange_shifts(x, w.k, quick, unfolded);
        }
#endif
    }

    // out[token * out_stride + row - begin] for rows begin to end.
    void rows(int64_t begin, int64_t end, float *out, int64_t out_stride) {
        const int64_t height = std::max(16, w.block_rows); // rows whose scales are prepared together
        for (int64_t row = begin, next; row < end; row = next) {
            next = std::min(end, (row / height + 1) * height);
            room.scales.prepare(w, row, next);
            for (int64_t t = 0; t < x.count; t += TOGETHER)
                few_tokens({w.from(row), next - row, t, std::min(TOGETHER, x.count - t), out + t * out_stride + row - begin, out_stride});
        }
    }

  private:
    struct Part {
        Codes codes;
        int64_t rows, first, tokens;
        float *out;
        int64_t out_stride;
        template <typename Factor> void multiply(Factor factor) const {
            for (int64_t t = 0; t < tokens; t++)
                for (int64_t r = 0; r < rows; r++) out[t * out_stride + r] *= factor(t);
        }
    };

    template <bool scaled, class Kind> void compute(const Kind &kind, const Part &p, const typename Kind::Input *from) const {
        dots<scaled>(kind, p.rows, p.codes, p.tokens, {from, width}, room.scales.all_steps, {p.out, p.out_stride});
    }

    void few_tokens(const Part &p) {
#ifdef XQ_BF16_STEPS
        if (arranged && few_bf16(p)) return;
#endif
#ifdef XQ_E4M3_SHIFTS
        if (quick && few_shifts(p)) return;
#endif
        few_f32(p);
    }

#ifdef XQ_BF16_STEPS
    bool few_bf16(const Part &p) {
        const PanelScales &s = room.scales;
        if (s.common != 0) {
            uint16_t *few = room.folded.need<uint16_t>(TOGETHER * width);
            bool fits = true; // none of them leaves the range
            for (int64_t t = 0; t < padded(p.tokens); t++)
                fits &= fold_bf16(arranged + (p.first + t) * width, s.powers, steps, few + t * width);
            if (fits) {
                compute<false>(by_bf16, p, few);
                if (s.common != 1) p.multiply([&](int64_t) { return s.common; });
                return true;
            }
        }
        if (normal) compute<true>(by_bf16, p, arranged + p.first * width);
        return normal;
    }
#endif

#ifdef XQ_E4M3_SHIFTS
    // Tokens that do not fit are computed again, each by itself: no token changes what another gives.
    bool few_shifts(const Part &p) {
        Fit fits[TOGETHER];
        const float *from = quick + p.first * width;
        const bool folds = room.scales.shared;
        if (folds) {
            float *few = room.folded.need<float>(TOGETHER * width);
            for (int64_t t = 0; t < padded(p.tokens); t++)
                fits[t] = fold_shifts(from + t * width, room.scales.all_steps.at, steps, few + t * width);
            from = few;
        } else {
            if (room.scales.any([](float s) { return uint32_t(s != 0) & uint32_t(!(s >= LEAST_SCALE && s <= MOST_SCALE)); })) return false;
            std::copy_n(unfolded + p.first, p.tokens, fits);
        }
        if (std::count(fits, fits + p.tokens, Fit::none) == p.tokens) return false;
        folds ? compute<false>(by_shifts, p, from) : compute<true>(by_shifts, p, from);
        p.multiply([](int64_t) { return E4m3ByShifts::AFTER; });
        for (int64_t t = 0; t < p.tokens; t++) {
            const Part one{p.codes, p.rows, p.first + t, 1, p.out + t * p.out_stride, p.out_stride};
            if (fits[t] == Fit::none) few_f32(one);
            if (fits[t] == Fit::near) mend(one);
        }
        return true;
    }

    // A token's sums that are so small that what they lost counts; no row changes what another gives.
    void mend(const Part &p) {
        const auto small = [least = least_sum(w.k) * E4m3ByShifts::AFTER](float sum) { return std::abs(sum) < least; };
        if (std::none_of(p.out, p.out + p.rows, small)) return;
        float *again = room.again.need<float>(p.rows);
        few_f32({p.codes, p.rows, p.first, 1, again, p.rows});
        for (int64_t r = 0; r < p.rows; r++)
            if (small(p.out[r])) p.out[r] = again[r];
    }
#endif

    void few_f32(const Part &p) {
        if (!wide) {
            wide = zeros<float>(room.wide);
            restore = room.restore.need<float>(x.count);
            arrange_f32(x, w.k, wide, restore);
        }
        const float *all_tokens = wide + p.first * width;
        if (room.scales.shared) {
            float *few = room.folded.need<float>(TOGETHER * width);
            bool fits[TOGETHER];
            for (int64_t t = 0; t < padded(p.tokens); t++)
                fits[t] = fold_f32(all_tokens + t * width, room.scales.all_steps.at, steps, few + t * width);
            compute<false>(by_f32, p, few);
            for (int64_t t = 0; t < p.tokens; t++) // by itself: no token changes what another gives
                if (!fits[t]) compute<true>(by_f32, {p.codes, p.rows, p.first + t, 1, p.out + t * p.out_stride, p.out_stride}, all_tokens + t * width);
        } else
            compute<true>(by_f32, p, all_tokens);
        p.multiply([&](int64_t t) { return restore[p.first + t]; });
    }
};

} // namespace xq
