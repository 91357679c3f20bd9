// A few numbers that stand for a tensor's values: a hash, equal only where every bit is, and sketches, from which the
// distance between two tensors can be told without either.
//
// A sketch is the sum of elements with pseudo-random signs. The mean square of the difference of two tensors' sketches
// is the square of their Euclidean distance (Alon, Matias, Szegedy 1996). The hash is of all bytes; of a large tensor,
// only some blocks are sketched, so that it costs little more than reading it. Results are the same on every processor:
// lanes are fixed and nothing is contracted.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int kBlock = 256, kSketched = 64, kFold = 16, kLanes = 16, kHashVectors = 4, kSketches = 2;

struct Fingerprint { // of all tensors added so far; zeroed before the first
  uint64_t hash;
  uint64_t blocks; // of elements, so that every place has signs of its own
  double square;   // sum of squares
  double sketch[kSketches];
};

uint64_t mixed(uint64_t x) { // SplitMix64's last step: every input bit changes every output bit
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

struct Signs { // sign bits, to be xor-ed onto floats; [1] is the opposite of [0]
  uint32_t of[kSketches][2][kBlock];
  Signs() {
    for (int s = 0; s < kSketches; s++)
      for (int i = 0; i < kBlock; i++) {
        of[s][0][i] = (uint32_t)(mixed((uint64_t)(s * kBlock + i + 1) * 0x9e3779b97f4a7c15ull) >> 63) << 31;
        of[s][1][i] = of[s][0][i] ^ 0x80000000u;
      }
  }
};
const Signs signs;

using Floats = float __attribute__((vector_size(kLanes * 4))); // the compiler splits it for narrower processors
using Words = uint32_t __attribute__((vector_size(kLanes * 4)));

struct Hash {
  Words lanes[kHashVectors];
  uint64_t length = 0;
  Hash() {
    for (int i = 0; i < kHashVectors; i++)
      for (int l = 0; l < kLanes; l++) lanes[i][l] = 0x811c9dc5u + (uint32_t)(i * kLanes + l);
  }
  // Each step maps a lane's states one to one, so that a single different word always gives another hash.
  void add(const unsigned char* data, size_t steps) {
    Words a[kHashVectors];
    std::memcpy(a, lanes, sizeof a);
    for (size_t s = 0; s < steps; s++, data += sizeof lanes)
      for (int i = 0; i < kHashVectors; i++) {
        Words w;
        std::memcpy(&w, data + i * sizeof w, sizeof w);
        w ^= a[i];
        a[i] = ((w << 13) | (w >> 19)) * 0x9e3779b1u;
      }
    std::memcpy(lanes, a, sizeof a);
  }
  void all(const unsigned char* data, size_t n) {
    length += n;
    add(data, n / sizeof lanes);
    if (const size_t rest = n % sizeof lanes) {
      unsigned char last[sizeof lanes] = {};
      std::memcpy(last, data + (n - rest), rest);
      add(last, 1);
    }
  }
  uint64_t value() const {
    uint64_t h = mixed(length + 1);
    for (const auto& lane : lanes)
      for (int l = 0; l < kLanes; l += 2) h = mixed(h ^ lane[l] ^ (uint64_t)lane[l + 1] << 32) + 0x9e3779b97f4a7c15ull;
    return h;
  }
};

float from_half(uint16_t h) {
  const uint32_t rest = (uint32_t)(h & 0x7fff) << 13;
  const uint32_t special = rest >= 0x0f800000u ? 0x7f800000u : 0u; // infinities and NaN
  const uint32_t bits = std::bit_cast<uint32_t>(std::bit_cast<float>(rest) * 0x1p112f) | special;
  return std::bit_cast<float>(bits | (uint32_t)(h & 0x8000) << 16);
}

// The element types, numbered as in fingerprint.py.
enum Kind { kFloat32, kBFloat16, kFloat16, kFloat64, kOther };

template <Kind kind>
void widen(const unsigned char* data, int n, float* out) {
  if constexpr (kind == kFloat32) std::memcpy(out, data, n * 4);
  if constexpr (kind == kFloat64) {
    for (int i = 0; i < n; i++) {
      double x;
      std::memcpy(&x, data + i * 8, 8);
      out[i] = (float)x;
    }
  }
  if constexpr (kind == kBFloat16 || kind == kFloat16) {
    for (int i = 0; i < n; i++) {
      uint16_t h;
      std::memcpy(&h, data + i * 2, 2);
      out[i] = kind == kFloat16 ? from_half(h) : std::bit_cast<float>((uint32_t)h << 16);
    }
  }
}

// Sums of up to kFold blocks in single precision; then they are folded into the totals.
struct Sums {
  Floats square{}, of[kSketches]{};

  void add(const float* x, uint64_t index) {
    static_assert(kSketches == 2);
    const uint64_t flips = mixed(index + 0x51ed27f5ull);
    const uint32_t *first = signs.of[0][flips & 1], *second = signs.of[1][flips >> 1 & 1];
    Floats squares = square, a = of[0], b = of[1]; // in registers
    for (int i = 0; i < kBlock; i += kLanes) {
      Words v, s, t;
      std::memcpy(&v, x + i, sizeof v);
      std::memcpy(&s, first + i, sizeof s);
      std::memcpy(&t, second + i, sizeof t);
      squares += (Floats)v * (Floats)v;
      a += (Floats)(v ^ s);
      b += (Floats)(v ^ t);
    }
    square = squares;
    of[0] = a;
    of[1] = b;
  }
  void fold(Fingerprint& f) {
    for (int l = 0; l < kLanes; l++) f.square += square[l];
    for (int s = 0; s < kSketches; s++)
      for (int l = 0; l < kLanes; l++) f.sketch[s] += of[s][l];
    *this = {};
  }
};

template <Kind kind, int size>
void add_values(const unsigned char* data, int64_t count, Fingerprint& f) {
  const int64_t blocks = (count + kBlock - 1) / kBlock, stride = (blocks + kSketched - 1) / kSketched;
  Fingerprint part{};
  Sums sums;
  for (int64_t b = 0, done = 0; b < blocks; b += stride) {
    const int64_t i = b * kBlock;
    const int n = (int)std::min<int64_t>(count - i, kBlock);
    float block[kBlock];
    const float* x = block;
    if (kind == kFloat32 && n == kBlock) {
      x = reinterpret_cast<const float*>(data + i * size);
    } else {
      widen<kind>(data + i * size, n, block);
      for (int j = n; j < kBlock; j++) block[j] = 0;
    }
    sums.add(x, f.blocks++);
    if (++done % kFold == 0) sums.fold(part);
  }
  sums.fold(part);
  f.square += part.square * (double)stride;
  for (int s = 0; s < kSketches; s++) f.sketch[s] += part.sketch[s] * std::sqrt((double)stride);
}

} // namespace

extern "C" void xq_fingerprint(const void* data, int64_t count, int64_t size, int kind, Fingerprint* f) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  Hash hash;
  hash.all(bytes, (size_t)(count * size));
  f->hash = mixed(f->hash ^ hash.value());
  if (kind == kFloat32) add_values<kFloat32, 4>(bytes, count, *f);
  if (kind == kBFloat16) add_values<kBFloat16, 2>(bytes, count, *f);
  if (kind == kFloat16) add_values<kFloat16, 2>(bytes, count, *f);
  if (kind == kFloat64) add_values<kFloat64, 8>(bytes, count, *f);
}
