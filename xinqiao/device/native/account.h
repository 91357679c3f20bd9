// What each operator is on this chip: may it run, how long does it take, how often did it run.
//
// Python decides, once per new (operator, dtype) and once per new (operator, shapes, dtypes); the answers are kept here.
// Python is never called with the lock held.
#pragma once

#include "streams.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <memory>
#include <unordered_map>

namespace xq {

enum Action : uint8_t { kUnasked, kNative, kFallback, kRefused, kUnknown };

struct Operator {
  std::string name; // 'aten::add.Tensor'
  int number = 0;
  bool view = false;        // gives another view of its argument: no work on the device
  bool draws = false;       // random, without a generator argument
  bool by_value = false;    // the values of its inputs decide the shapes of its outputs
  bool counts = false;      // its integer arguments decide how much work it is
  bool takes_host = false;  // accepts host tensors beside device tensors, as on real devices
  int generator = -1;       // index of its generator argument
  std::array<Action, 64> action{};
};

struct Row { // one operator at one set of shapes and dtypes
  const Operator* op;
  int dtype;
  std::vector<int64_t> shapes; // see Shapes
  double seconds = 0, flops = 0, bytes = 0;
  int64_t count = 0;
  Action action = kUnknown;
  uint32_t number = 0; // in the order in which they came
};

struct TraceEvent {
  const Operator* op;
  c10::DeviceIndex device;
  int stream;
  double start, seconds;
};

// Asks whether an operator may run at a dtype. Returns an Action; where it is refused, `reason` says why.
using AskSupport = int (*)(const char* name, int dtype, char* reason, int size);
// Asks what one call costs: out = {seconds, FLOPs, bytes}.
using AskCost = void (*)(const char* name, int64_t flags, const int64_t* shapes, int64_t length, int action, double* out);

inline AskSupport ask_support = nullptr;
inline AskCost ask_cost = nullptr;
inline bool tracing = false;
inline std::vector<TraceEvent> trace;
inline std::unordered_map<uint64_t, Row> rows;
inline uint32_t rows_numbered = 0;
inline std::map<std::pair<int, int>, int64_t> incidents; // (operator, dtype) that are not native: how often

// Tensors of one call, packed: how many numbers and how many inputs, the numbers, then for each input and output dtype,
// dimensions, sizes. Numbers are the integers among the arguments, where they decide how much work there is.
class Shapes {
 public:
  void input(const at::Tensor& t) {
    inputs_++;
    pack(t);
  }
  void output(const at::Tensor& t) { pack(t); }
  void number(int64_t n) { numbers_.push_back(n); }
  void flag(bool b) { flags_ = flags_ * 2 + b; } // the leading 1 says how many there are
  uint64_t hash(int op) const {
    uint64_t h = 0x9e3779b97f4a7c15ull * (uint64_t)(op + 1) ^ flags_ ^ ((uint64_t)inputs_ << 32);
    for (const auto* part : {&numbers_, &packed_})
      for (auto v : *part) {
        h = (h ^ (uint64_t)v) * 0xff51afd7ed558ccdull;
        h ^= h >> 32;
      }
    return h;
  }
  std::vector<int64_t> list() const {
    std::vector<int64_t> all{(int64_t)numbers_.size(), inputs_};
    all.insert(all.end(), numbers_.begin(), numbers_.end());
    all.insert(all.end(), packed_.begin(), packed_.end());
    return all;
  }
  int64_t flags() const { return flags_; }

 private:
  void pack(const at::Tensor& t) {
    packed_.push_back((int64_t)t.scalar_type());
    packed_.push_back(t.dim());
    for (auto n : t.sizes()) packed_.push_back(n);
  }
  c10::SmallVector<int64_t, 32> packed_, numbers_;
  int64_t inputs_ = 0, flags_ = 1;
};

inline std::vector<Operator*>& operators() {
  static std::vector<Operator*> all;
  return all;
}

inline Operator& make_operator(std::string name) {
  Lock lock(mutex);
  static std::unordered_map<std::string, std::unique_ptr<Operator>> known;
  auto& slot = known[name];
  if (!slot) {
    slot = std::make_unique<Operator>();
    slot->name = std::move(name);
    slot->number = (int)operators().size();
    operators().push_back(slot.get());
  }
  return *slot;
}

inline Operator& describe(const c10::OperatorHandle& handle) {
  const auto& schema = handle.schema();
  auto& op = make_operator(schema.name() + (schema.overload_name().empty() ? "" : "." + schema.overload_name()));
  for (const auto& r : schema.returns())
    if (r.alias_info() && !r.alias_info()->isWrite()) op.view = true;
  for (size_t i = 0; i < schema.arguments().size(); i++) {
    auto optional = schema.arguments()[i].type()->cast<c10::OptionalType>();
    if (optional && optional->getElementType()->kind() == c10::TypeKind::GeneratorType) op.generator = (int)i;
  }
  op.counts = op.name.rfind("xinqiao::", 0) == 0;
  op.by_value = handle.hasTag(at::Tag::dynamic_output_shape);
  op.draws = op.generator < 0 && handle.hasTag(at::Tag::nondeterministic_seeded);
  for (const char* name : {"aten::index.", "aten::index_put", "aten::_index_put_impl", "aten::_unsafe_index", "aten::_foreach_copy", "aten::_pack_padded"})
    if (op.name.rfind(name, 0) == 0) op.takes_host = true;
  return op;
}

inline Operator& find_operator(const c10::OperatorHandle& handle) {
  thread_local std::unordered_map<const void*, Operator*> seen; // a schema lives as long as the dispatcher
  auto& slot = seen[&handle.schema()];
  if (!slot) slot = &describe(handle);
  return *slot;
}

// Which dtype an operator computes in: complex before float before integer before bool, wider before narrower.
inline int rank_of(c10::ScalarType t) {
  const int kind = c10::isComplexType(t) ? 3 : c10::isFloatingType(t) ? 2 : t == c10::kBool ? 0 : 1;
  return kind * 64 + (int)c10::elementSize(t);
}

inline Action permit(Operator& op, int dtype) {
  auto& action = op.action[dtype];
  char reason[512] = "";
  if (action == kUnasked) action = ask_support ? (Action)ask_support(op.name.c_str(), dtype, reason, sizeof reason) : kNative;
  if (action == kNative) return action;
  {
    Lock lock(mutex);
    incidents[{op.number, dtype}]++;
  }
  if (action == kRefused) {
    op.action[dtype] = kUnasked; // so that the reason is given every time
    TORCH_CHECK_NOT_IMPLEMENTED(false, reason);
  }
  return action;
}

inline const Row& charge(const Operator& op, int dtype, c10::DeviceIndex d, Action action, const Shapes& shapes) {
  const uint64_t key = shapes.hash(op.number);
  std::unique_lock<std::recursive_mutex> lock(mutex);
  auto it = rows.find(key);
  if (it == rows.end()) {
    lock.unlock();
    Row row{&op, dtype, shapes.list(), config.launch, 0, 0, 0, action};
    if (ask_cost) {
      double out[3] = {config.launch, 0, 0};
      ask_cost(op.name.c_str(), shapes.flags(), row.shapes.data(), (int64_t)row.shapes.size(), action, out);
      row.seconds = out[0];
      row.flops = out[1];
      row.bytes = out[2];
    }
    lock.lock();
    bool fresh;
    std::tie(it, fresh) = rows.emplace(key, std::move(row));
    if (fresh) it->second.number = rows_numbered++;
  }
  auto& row = it->second;
  row.count++;
  const int stream = current_stream[d];
  const double start = advance(d, stream, row.seconds);
  if (tracing) trace.push_back({&op, d, stream, start, row.seconds});
  return row;
}

} // namespace xq
