// Which experts a token takes. The arithmetic and its order are those of ops/reference/exact.py.
#pragma once
#include "vector.h"
#include <cmath>
#include <vector>

namespace xq::moe {

enum class Score : int32_t { sigmoid, softmax, as_is };

// Scores of a row, padded to whole vectors in `to`.
inline void score(const float *logits, const float *bias, int64_t count, Score kind, float *to) {
    const int64_t padded = (count + LANES - 1) / LANES * LANES;
    std::memcpy(to, logits, size_t(count) * sizeof(float));
    std::fill(to + count, to + padded, 0.0f);
    if (kind == Score::sigmoid)
        for (int64_t i = 0; i < padded; i += LANES) store(to + i, all(1.0f) / (all(1.0f) + exp(all(0.0f) - load(to + i))));
    if (kind == Score::softmax) {
        const Floats top = all(*std::max_element(logits, logits + count));
        Floats sum = all(0.0f);
        for (int64_t i = 0; i < padded; i += LANES) {
            const Floats power = exp(load(to + i) - top);
            store(to + i, power);
            sum = sum + keep(power, 0, int(std::min<int64_t>(LANES, count - i)), 0.0f);
        }
        const Floats whole = all(total(sum));
        for (int64_t i = 0; i < padded; i += LANES) store(to + i, load(to + i) / whole);
    }
    if (bias)
        for (int64_t i = 0; i < count; i++) to[i] = to[i] + bias[i];
}

// The indices of the `top` largest, the best first, of equal ones the lower: `found` is filled up to the returned number.
// taken(i): whether i may be chosen at all.
template <class Taken> inline int64_t largest(const float *values, int64_t count, int64_t top, int64_t *found, Taken taken) {
    int64_t have = 0;
    for (int64_t i = 0; i < count; i++) {
        if (!taken(i) || (have == top && !(values[i] > values[found[have - 1]]))) continue;
        int64_t at = have < top ? have++ : have - 1;
        for (; at > 0 && values[i] > values[found[at - 1]]; at--) found[at] = found[at - 1];
        found[at] = i;
    }
    return have;
}

struct Router {
    int64_t experts, top_k, groups, kept;
    Score kind;
};

class Chooser {
    const Router &rule;
    std::vector<float> scores, worth;
    std::vector<int64_t> best;
    std::vector<char> kept;

    float worth_of(int64_t group, bool two) const { // its largest score, or the sum of its two largest
        const int64_t size = rule.experts / rule.groups;
        const float *from = scores.data() + group * size;
        int64_t top[2];
        largest(from, size, std::min<int64_t>(2, size), top, [](int64_t) { return true; });
        return two && size > 1 ? from[top[0]] + from[top[1]] : from[top[0]];
    }

  public:
    explicit Chooser(const Router &r)
        : rule(r), scores(size_t(r.experts + LANES)), worth(size_t(r.groups)), best(size_t(r.kept)), kept(size_t(r.groups)) {}

    void choose(const float *logits, const float *bias, int64_t *chosen) {
        const int64_t size = rule.experts / rule.groups;
        score(logits, bias, rule.experts, rule.kind, scores.data());
        bool lost = false;
        for (int64_t i = 0; i < rule.experts; i++) lost |= std::isnan(scores[size_t(i)]);
        for (int64_t g = 0; g < rule.groups && !lost; g++) lost |= std::isnan(worth[size_t(g)] = worth_of(g, bias != nullptr));
        if (lost) {
            std::fill(scores.begin(), scores.end(), 0.0f);
            std::fill(worth.begin(), worth.end(), 0.0f);
        }
        std::fill(kept.begin(), kept.end(), 0);
        const int64_t groups = largest(worth.data(), rule.groups, rule.kept, best.data(), [](int64_t) { return true; });
        for (int64_t g = 0; g < groups; g++) kept[size_t(best[size_t(g)])] = 1;
        if (rule.groups == 1) return void(largest(scores.data(), rule.experts, rule.top_k, chosen, [](int64_t) { return true; }));
        largest(scores.data(), rule.experts, rule.top_k, chosen, [&](int64_t i) { return kept[size_t(i / size)]; });
    }
};

} // namespace xq::moe
