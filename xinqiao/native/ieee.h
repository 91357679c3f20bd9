#pragma once
#include <cstdint>

namespace xq {

// IEEE arithmetic for the length of a call: a thread may have been told to round otherwise or to drop subnormals.
class Ieee {
#if defined(__x86_64__)
    using Control = uint32_t;
    static constexpr Control usual = 0x1f80;
    static Control read() {
        Control found;
        asm volatile("stmxcsr %0" : "=m"(found) : : "memory");
        return found;
    }
    static void write(Control to) { asm volatile("ldmxcsr %0" : : "m"(to) : "memory"); }
#elif defined(__aarch64__)
    using Control = uint64_t;
    static constexpr Control usual = 0;
    static Control read() {
        Control found;
        asm volatile("mrs %0, fpcr" : "=r"(found) : : "memory");
        return found;
    }
    static void write(Control to) { asm volatile("msr fpcr, %0" : : "r"(to) : "memory"); }
#else
    using Control = int;
    static constexpr Control usual = 0;
    static Control read() { return usual; }
    static void write(Control) {}
#endif
    const Control before = read();

  public:
    Ieee() { write(usual); }
    ~Ieee() { write(before); }
    Ieee(const Ieee &) = delete;
};

} // namespace xq
