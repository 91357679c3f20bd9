// Attention over chosen blocks of keys, over a window, over all keys and over compressed keys. C interface; see
// `xinqiao/ops/cpu/nsa.py`, and `xinqiao/ops/reference/nsa.py` for what is computed.
#include "nsa_choose.h"
#include <atomic>
#include <memory>

using namespace xq;

namespace {

struct Call {
    const float *q; // [rows, heads, k_size]
    Cache cache;
    const int64_t *sequences; // [count, 5]
    int64_t count, heads;
    float scale;
    int64_t window; // keys seen: 0: all
    const int32_t *choice; // [rows, kv_heads, blocks], or null
    int64_t blocks, block;
    const float *gates; // [rows, heads, 3]: results are added to `out` times column `gate` of them; null: they are `out`
    int64_t gate;
    int64_t threads;
};

// A row's result: `from` times `part`.
void give(const Call &call, int64_t row, const float *from, int64_t size, float part, float *out) {
    float *to = out + row * size;
    const Floats factor = all(call.gates ? part * call.gates[row * 3 + call.gate] : part);
    for (int64_t d = 0; d < size; d += LANES) store(to + d, call.gates ? fma(load(from + d), factor, load(to + d)) : load(from + d) * factor);
}

// A sequence and key head, cut into runs of queries that are computed together.
struct Part {
    Sequence s;
    int64_t sequence, group, together;
    std::unique_ptr<Blocks> blocks;
};

Sizes sizes(const Call &call) { return {call.heads / call.cache.kv_heads, call.cache.k_size, call.cache.v_size, call.scale}; }

std::vector<Part> parts(const Call &call, bool one_by_one, bool backward) {
    std::vector<Part> found;
    const int64_t each = call.heads / call.cache.kv_heads, together = one_by_one ? 1 : std::max<int64_t>(1, LANES / each);
    for (int64_t i = 0; i < call.count; i++)
        for (int64_t group = 0; group < call.cache.kv_heads; group++) {
            const int64_t *row = call.sequences + 5 * i;
            found.push_back({{row[0], row[1], row[2], row[3], row[4]}, i, group, together, nullptr});
        }
    #pragma omp parallel for num_threads(int(std::clamp<int64_t>(int64_t(found.size()), 1, call.threads))) schedule(dynamic)
    for (size_t i = 0; i < found.size(); i++) {
        Part &part = found[i];
        part.blocks = std::make_unique<Blocks>(call.cache, part.s, part.sequence, part.group);
        if (backward || part.s.queries > TILE) part.blocks->prepare(!backward);
    }
    return found;
}

// Calls f(part, first query, queries) for all, in parallel; f is made once for each thread by `make(thread)`.
template <typename Make> void everywhere(const Call &call, const std::vector<Part> &all_parts, bool in_order, Make make) {
    struct Piece {
        int64_t part, query, queries;
    };
    std::vector<Piece> pieces;
    for (size_t i = 0; i < all_parts.size(); i++)
        for (int64_t t = 0; t < all_parts[i].s.queries; t += all_parts[i].together)
            pieces.push_back({int64_t(i), t, std::min(all_parts[i].together, all_parts[i].s.queries - t)});
    constexpr int64_t TAKE = 8;
    const int64_t count = int64_t(pieces.size()), threads = std::max<int64_t>(1, std::min(call.threads, (count + TAKE - 1) / TAKE));
    std::atomic<int64_t> next{0};
    #pragma omp parallel for num_threads(int(threads)) schedule(static, 1)
    for (int64_t thread = 0; thread < threads; thread++) {
        auto f = make(thread);
        int64_t from = in_order ? thread * TAKE : next.fetch_add(TAKE);
        while (from < count) {
            for (int64_t i = from; i < std::min(count, from + TAKE); i++) f(all_parts[size_t(pieces[size_t(i)].part)], pieces[size_t(i)].query, pieces[size_t(i)].queries);
            from = in_order ? from + threads * TAKE : next.fetch_add(TAKE);
        }
    }
}

const float *gather(const float *from, int64_t heads, int64_t size, const Part &part, int64_t query, int64_t queries, int64_t each, float *room) {
    const float *first = from + ((part.s.q + query) * heads + part.group * each) * size;
    if (queries == 1) return first;
    for (int64_t i = 0; i < queries; i++) std::copy_n(first + i * heads * size, each * size, room + i * each * size);
    return room;
}

// Calls f(block, seen) for what the queries see: with a rule, compressed keys; one query's chosen blocks; or the last keys.
template <typename F> void visit(const Call &call, const Choosing *rule, const Part &part, int64_t query, int64_t queries, int64_t each, F f) {
    const int64_t position = part.s.start + query;
    const auto end = [&](int64_t at) { return rule ? ended(*rule, at, part.s.keys) : std::min(part.s.keys, at + 1); };
    const auto range = [&](int64_t from, int64_t to, int64_t rows) {
        for (int64_t b = from / TILE; b * TILE < to; b++) {
            Seen seen;
            for (int64_t r = 0; r < rows; r++) {
                const int64_t at = position + r / each;
                seen.set(r, std::max(from, call.window ? at + 1 - call.window : 0) - b * TILE, std::min(to, end(at)) - b * TILE);
            }
            f(b, seen);
        }
    };
    if (!call.choice) {
        range(std::max<int64_t>(0, call.window ? position + 1 - call.window : 0), end(position + queries - 1), queries * each);
        return;
    }
    const int32_t *chosen = call.choice + ((part.s.q + query) * call.cache.kv_heads + part.group) * call.blocks;
    for (int64_t i = 0; i < call.blocks && chosen[i] >= 0; i++) {
        if (i + 1 < call.blocks && chosen[i + 1] >= 0) part.blocks->prefetch(chosen[i + 1] * call.block / TILE);
        range(chosen[i] * call.block, std::min({part.s.keys, position + 1, (chosen[i] + 1) * call.block}), each);
    }
}

int64_t room_of(const Cache &cache) { return TILE * (2 * cache.k_size + cache.v_size); }

} // namespace

#pragma GCC visibility push(default)
extern "C" {

void xq_attend(const Call *call, float *out, float *lse) {
    const Sizes size = sizes(*call);
    const auto all_parts = parts(*call, call->choice, false);
    everywhere(*call, all_parts, false, [&](int64_t) {
        return [&, room = std::vector<float>(size_t(room_of(call->cache) + MOST_ROWS * (TILE + size.k + size.v)))](const Part &part, int64_t query, int64_t queries) mutable {
            float *score = room.data() + room_of(call->cache), *sum = score + MOST_ROWS * TILE, *copied = sum + MOST_ROWS * size.v;
            const int64_t rows = queries * size.each;
            const float *q = gather(call->q, call->heads, size.k, part, query, queries, size.each, copied);
            std::fill_n(sum, rows * size.v, 0.0f);
            Running run;
            visit(*call, nullptr, part, query, queries, size.each, [&](int64_t b, const Seen &seen) {
                step(rows, q, size, part.blocks->keys(b, room.data()), part.blocks->values(b, room.data() + 2 * TILE * size.k), seen, run, score, sum);
            });
            for (int64_t r = 0; r < rows; r++) {
                const int64_t row = (part.s.q + query + r / size.each) * call->heads + part.group * size.each + r % size.each;
                give(*call, row, sum + r * size.v, size.v, run.sum[r] == 0.0f ? 0.0f : 1.0f / run.sum[r], out);
                lse[row] = run.high[r] + std::log(run.sum[r]);
            }
        };
    });
}

// What `xq_attend` gave, or with a rule `xq_nsa_compressed`: out and lse. gradient: that of out. dk and dv come zeroed. No table.
void xq_attend_backward(const Call *call, const Choosing *rule, const float *gradient, const float *out, const float *lse, float *dq, float *dk, float *dv) {
    const Sizes size = sizes(*call);
    const Cache &cache = call->cache;
    Call turned = *call;
    turned.cache.k = cache.v;
    turned.cache.k_size = size.v;
    const auto all_parts = parts(*call, call->choice, true), value_parts = parts(turned, call->choice, true);
    int64_t keys = 0;
    for (int64_t i = 0; i < call->count; i++) keys = std::max(keys, call->sequences[5 * i + 2] + call->sequences[5 * i + 3]);
    const int64_t k_row = cache.kv_heads * size.k, v_row = cache.kv_heads * size.v;
    std::vector<std::vector<float>> others(size_t(call->threads)); // of every thread but the first: dk, then dv
    everywhere(*call, all_parts, true, [&](int64_t thread) {
        if (thread) others[size_t(thread)].assign(size_t(keys * (k_row + v_row)), 0.0f);
        float *own_dk = thread ? others[size_t(thread)].data() : dk, *own_dv = thread ? own_dk + keys * k_row : dv;
        return [&, own_dk, own_dv, room = std::vector<float>(size_t(room_of(cache) + MOST_ROWS * (2 * TILE + 2 * size.k + 2 * size.v)))](
                   const Part &part, int64_t query, int64_t queries) mutable {
            float *slopes = room.data() + room_of(cache), *sum = slopes + 2 * MOST_ROWS * TILE;
            float *room_q = sum + MOST_ROWS * size.k, *room_up = room_q + MOST_ROWS * size.k, *room_out = room_up + MOST_ROWS * size.v;
            const int64_t rows = queries * size.each;
            const float *q = gather(call->q, call->heads, size.k, part, query, queries, size.each, room_q);
            const float *up = gather(gradient, call->heads, size.v, part, query, queries, size.each, room_up);
            const float *o = gather(out, call->heads, size.v, part, query, queries, size.each, room_out);
            float inner[MOST_ROWS], denominator[MOST_ROWS];
            const auto row_of = [&](int64_t r) { return (part.s.q + query + r / size.each) * call->heads + part.group * size.each + r % size.each; };
            for (int64_t r = 0; r < rows; r++) {
                Floats both = all(0.0f);
                for (int64_t d = 0; d < size.v; d += LANES) both = fma(load(o + r * size.v + d), load(up + r * size.v + d), both);
                inner[r] = total(both);
                denominator[r] = lse[row_of(r)];
            }
            std::fill_n(sum, rows * size.k, 0.0f);
            const Blocks &values = *value_parts[size_t(&part - all_parts.data())].blocks;
            visit(*call, rule, part, query, queries, size.each, [&](int64_t b, const Seen &seen) {
                const int64_t first = (part.s.k + b * TILE) * cache.kv_heads + part.group;
                step_back(rows, {q, up, denominator, inner, sum}, size, part.blocks->keys(b, room.data()), {static_cast<const float *>(cache.k) + first * size.k, k_row},
                          values.keys(b, room.data()), seen, own_dk + first * size.k, own_dv + first * size.v, k_row, v_row, slopes);
            });
            for (int64_t r = 0; r < rows; r++) std::copy_n(sum + r * size.k, size.k, dq + row_of(r) * size.k);
        };
    });
    for (const auto &other : others) {
        if (other.empty()) continue;
        #pragma omp parallel for num_threads(int(call->threads))
        for (int64_t i = 0; i < keys * k_row; i++) dk[i] += other[size_t(i)];
        #pragma omp parallel for num_threads(int(call->threads))
        for (int64_t i = 0; i < keys * v_row; i++) dv[i] += other[size_t(keys * k_row + i)];
    }
}

void xq_nsa_compressed(const Call *call, const Choosing *rule, float *out, float *lse, int32_t *choice) {
    const Sizes size = sizes(*call);
    const auto all_parts = parts(*call, true, false);
    int64_t most = 0;
    for (const Part &part : all_parts) most = std::max(most, part.blocks->count());
    everywhere(*call, all_parts, false, [&](int64_t) {
        return [&, room = std::vector<float>(size_t(room_of(call->cache) + MOST_ROWS * size.v + (most + 1) * TILE * (size.each + 1) + 2 * margin(*rule))),
                order = std::vector<uint64_t>()](const Part &part, int64_t query, int64_t) mutable {
            float *sum = room.data() + room_of(call->cache), *share = sum + MOST_ROWS * size.v + margin(*rule);
            float *score = share + (most + 1) * TILE + margin(*rule);
            const int64_t row = (part.s.q + query) * call->heads + part.group * size.each;
            const int64_t seen = ended(*rule, part.s.start + query, part.s.keys), blocks = (seen + TILE - 1) / TILE;
            std::fill_n(sum, size.each * size.v, 0.0f);
            float part_of[MOST_ROWS];
            soften(size.each, call->q + row * size.k, size, seen, [&](int64_t b) { return part.blocks->keys(b, room.data()); },
                   [&](int64_t b) { return part.blocks->values(b, room.data() + 2 * TILE * size.k); }, score, part_of, lse + row, sum);
            for (int64_t h = 0; h < size.each; h++) give(*call, row + h, sum + h * size.v, size.v, seen ? part_of[h] : 0.0f, out);
            for (int64_t b = 0; b < blocks; b++) shares(size.each, part_of, score + b * size.each * TILE, share + b * TILE);
            std::fill_n(share - margin(*rule), margin(*rule), 0.0f);
            std::fill_n(share + seen, (blocks + 1) * TILE - seen + margin(*rule), 0.0f);
            choose(*rule, part.s.start + query, share, seen, order, choice + ((part.s.q + query) * call->cache.kv_heads + part.group) * rule->blocks);
        };
    });
}
}
#pragma GCC visibility pop
