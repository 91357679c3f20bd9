// Devices, streams and events on simulated time.
#pragma once

#include "memory.h"

#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace xq {

struct EventTime {
  double seconds = 0;
};
inline std::atomic<int> streams_handed_out{0};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  static c10::DeviceIndex at(c10::Device d) { return d.index() < 0 ? current_device : d.index(); }
  static c10::Stream stream(c10::DeviceIndex d, int id) { return c10::Stream(c10::Stream::UNSAFE, c10::Device(kChip, d), id); }

  c10::DeviceType type() const override { return kChip; }
  c10::Device exchangeDevice(c10::Device d) const override {
    const c10::Device old(kChip, current_device);
    setDevice(d);
    return old;
  }
  c10::Device getDevice() const override { return {kChip, current_device}; }
  void setDevice(c10::Device d) const override {
    check_index(d.index());
    if (d.index() >= 0) current_device = d.index();
  }
  void uncheckedSetDevice(c10::Device d) const noexcept override {
    if (d.index() >= 0) current_device = d.index();
  }
  c10::Stream getStream(c10::Device d) const override { return stream(at(d), current_stream[at(d)]); }
  c10::Stream getDefaultStream(c10::Device d) const override { return stream(at(d), 0); }
  c10::Stream getStreamFromGlobalPool(c10::Device d, bool) const override { return getNewStream(d, 0); }
  c10::Stream getNewStream(c10::Device d, int) const override {
    return stream(at(d), 1 + streams_handed_out++ % (kStreams - 1));
  }
  c10::Stream exchangeStream(c10::Stream s) const override {
    const auto d = s.device_index();
    const auto old = current_stream[d];
    current_stream[d] = (int16_t)s.id();
    return stream(d, old);
  }
  void* getStreamNativeHandle(const c10::Stream s) const override { return reinterpret_cast<void*>(s.id()); }
  bool queryStream(const c10::Stream& s) const override {
    Lock lock(mutex);
    host_clock += config.launch; // a host that polls gets older, so that polling ends
    return devices[s.device_index()].clock[s.id()] <= host_clock;
  }
  void synchronizeStream(const c10::Stream& s) const override {
    mark("synchronize");
    wait_stream(s.device_index(), (int)s.id());
  }
  void synchronizeDevice(const c10::DeviceIndex d) const override {
    mark("synchronize");
    wait_device(d);
  }
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
  c10::DeviceIndex deviceCount() const noexcept override { return (c10::DeviceIndex)config.devices; }

  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<EventTime*>(event); }
  void record(void** event, const c10::Stream& s, const c10::DeviceIndex, const c10::EventFlag) const override {
    Lock lock(mutex);
    if (!*event) *event = new EventTime;
    static_cast<EventTime*>(*event)->seconds = std::max(devices[s.device_index()].clock[s.id()], host_clock);
  }
  void block(void* event, const c10::Stream& s) const override {
    if (!event) return;
    Lock lock(mutex);
    auto& clock = devices[s.device_index()].clock[s.id()];
    clock = std::max(clock, static_cast<EventTime*>(event)->seconds);
  }
  bool queryEvent(void* event) const override {
    if (!event) return true;
    Lock lock(mutex);
    host_clock += config.launch;
    return static_cast<EventTime*>(event)->seconds <= host_clock;
  }
  void synchronizeEvent(void* event) const override {
    if (!event) return;
    mark("synchronize");
    Lock lock(mutex);
    host_clock = std::max(host_clock, static_cast<EventTime*>(event)->seconds);
  }
  double elapsedTime(void* first, void* second, const c10::DeviceIndex) const override {
    mark("elapsed time");
    TORCH_CHECK(first && second, "Both events must be recorded before calculating elapsed time.");
    return (static_cast<EventTime*>(second)->seconds - static_cast<EventTime*>(first)->seconds) * 1e3;
  }
};

} // namespace xq
