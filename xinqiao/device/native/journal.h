// The journal: every operator of a run in order, with the Python line, the module and a fingerprint of what it computed,
// so that two runs can be laid side by side. Off unless asked for.
#pragma once

#include "account.h"

#include <ATen/SequenceNumber.h>
#include <torch/csrc/autograd/node.h>

namespace xq {

struct Fingerprint { // as in native/fingerprint.cpp
  uint64_t hash = 0, blocks = 0;
  double square = 0, sketch[2] = {0, 0};
};
using TakeFingerprint = void (*)(const void* data, int64_t count, int64_t size, int kind, Fingerprint* out);

struct Entry {
  uint32_t row, site, module; // row: see Row::number
  uint16_t thread, flags;     // thread: 0 is the one that started the journal
  Fingerprint values;
};
static_assert(sizeof(Entry) == 56);
enum EntryFlags : uint16_t { kBackwardEntry = 1, kDraws = 2, kFromHost = 4, kToHost = 8, kHashOnly = 16, kRecordsGradients = 32 };

constexpr size_t kEntries = 1'000'000;

// Whole tensors of the calls numbered [first, last), on demand: written to the folder one after the other.
struct Wanted {
  std::string folder;
  size_t first = 0, last = 0;
};

struct Journal {
  TakeFingerprint take = nullptr; // null: no journal
  std::vector<Entry> entries;
  int64_t left_out = 0; // beyond kEntries
  Wanted wanted;
};
inline Journal journal;

inline uint16_t thread_number() {
  static std::atomic<uint16_t> next{0};
  thread_local const uint16_t mine = next++;
  return mine;
}

// The kinds of element that a fingerprint tells apart, numbered as in native/fingerprint.py.
inline int element_kind(c10::ScalarType t) {
  switch (t) {
    case c10::kFloat: case c10::kComplexFloat: return 0;
    case c10::kBFloat16: return 1;
    case c10::kHalf: return 2;
    case c10::kDouble: case c10::kComplexDouble: return 3;
    default: return 4;
  }
}

inline void add_tensor(Fingerprint& values, const at::Tensor& host, bool hash_only) {
  if (!host.defined() || host.numel() == 0 || host.is_meta() || host.layout() != c10::kStrided) return;
  const auto dense = host.is_contiguous() && !host.is_conj() && !host.is_neg() ? host : host.contiguous().resolve_conj().resolve_neg();
  const int parts = dense.is_complex() ? 2 : 1;
  journal.take(dense.const_data_ptr(), dense.numel() * parts, (int64_t)dense.element_size() / parts, hash_only ? 4 : element_kind(dense.scalar_type()), &values);
}

// ---- where a call comes from ----

struct Origin {
  uint32_t site = kUnknownSite, module = 0;
};
inline std::vector<Origin> origins; // of autograd's nodes, by their number: the forward call that made each

// A backward call belongs to the line and the module of the forward call whose gradient it computes. `backward`: whether
// autograd is running.
inline Origin origin(bool& backward) {
  const auto node = torch::autograd::get_current_node();
  backward = (bool)node;
  if (node && node->sequence_nr() < origins.size() && origins[node->sequence_nr()].site != kUnknownSite) return origins[node->sequence_nr()];
  return {(uint32_t)here(), (uint32_t)current_module};
}

// Remember the line of the nodes that autograd made for the call that is running; only the first thread's are followed.
inline Origin remember_origin(bool& backward) {
  const auto found = origin(backward);
  thread_local uint64_t seen = 0;
  const auto next = at::sequence_number::peek();
  if (thread_number() == 0 && !backward && next > seen) {
    Lock lock(mutex);
    if (origins.size() < next) origins.resize(std::max<size_t>(next, origins.size() * 3 / 2 + 1024));
    for (auto i = seen; i < next; i++) origins[i] = found;
    seen = next;
  }
  return found;
}

// ---- entries ----

inline void keep_whole(size_t number, const at::Tensor* tensors, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const auto host = to_host(tensors[i]).contiguous().resolve_conj().resolve_neg();
    const auto path = journal.wanted.folder + "/" + std::to_string(number) + "." + std::to_string(i) + "." + c10::toString(host.scalar_type());
    if (FILE* file = fopen(path.c_str(), "wb")) {
      fwrite(host.const_data_ptr(), 1, host.nbytes(), file);
      fclose(file);
    }
  }
}

// One entry. `results`: what the call computed or wrote, on either side. module: where it is not the one that is running.
inline void note(const Row& row, const at::Tensor* results, size_t count, uint16_t flags = 0, int64_t module = -1) {
  bool backward = false;
  auto from = remember_origin(backward);
  if (module >= 0) from.module = (uint32_t)module;
  flags |= backward ? kBackwardEntry : c10::GradMode::is_enabled() ? kRecordsGradients : 0;
  Entry entry{row.number, from.site, from.module, thread_number(), flags, {}};
  for (size_t i = 0; i < count; i++) add_tensor(entry.values, to_host(results[i]), flags & kHashOnly);
  size_t number;
  {
    Lock lock(mutex);
    number = journal.entries.size();
    if (number < kEntries) journal.entries.push_back(entry);
    else journal.left_out++;
  }
  if (number >= journal.wanted.first && number < journal.wanted.last) keep_whole(number, results, count);
}

// Something that is no operator: a synchronisation, a seed, the inputs of a module.
inline Row& mark_row(const char* name) {
  auto& op = make_operator(name);
  Lock lock(mutex);
  auto [it, fresh] = rows.try_emplace(Shapes().hash(op.number), Row{&op, (int)c10::kByte, {0, 0}});
  if (fresh) it->second.number = rows_numbered++;
  return it->second;
}
inline void mark(const char* name, uint64_t value, double number) {
  if (!journal.take) return;
  bool backward = false;
  const auto from = origin(backward);
  Entry entry{mark_row(name).number, from.site, from.module, thread_number(), (uint16_t)(backward ? kBackwardEntry : 0), {}};
  entry.values.hash = value;
  entry.values.square = number;
  Lock lock(mutex);
  if (journal.entries.size() < kEntries) journal.entries.push_back(entry);
  else journal.left_out++;
}

} // namespace xq
