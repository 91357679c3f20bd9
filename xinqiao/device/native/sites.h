// Who asked for memory or caused an operator: the innermost Python line outside torch and outside this package.
//
// Python's functions are looked up at run time, so that one library serves every Python version.
#pragma once

#include "chip.h"

#include <dlfcn.h>

#include <unordered_map>

namespace xq {

struct Site {
  std::string file, function;
  int line = 0;
};

struct PythonApi {
  int (*hold)() = nullptr;              // PyGILState_Ensure
  void (*drop)(int) = nullptr;          // PyGILState_Release
  void* (*frame)() = nullptr;           // PyEval_GetFrame, borrowed
  void* (*back)(void*) = nullptr;       // PyFrame_GetBack, new reference
  void* (*code)(void*) = nullptr;       // PyFrame_GetCode, new reference
  int (*line)(void*) = nullptr;         // PyFrame_GetLineNumber
  void* (*attr)(void*, const char*) = nullptr; // PyObject_GetAttrString, new reference
  const char* (*text)(void*) = nullptr; // PyUnicode_AsUTF8
  void (*incref)(void*) = nullptr;
  void (*decref)(void*) = nullptr;
  int (*running)() = nullptr; // Py_IsInitialized
};

inline const PythonApi& python() {
  static const PythonApi api = [] {
    PythonApi a;
    auto find = [](auto& slot, const char* name) { slot = reinterpret_cast<std::decay_t<decltype(slot)>>(dlsym(RTLD_DEFAULT, name)); };
    find(a.hold, "PyGILState_Ensure");
    find(a.drop, "PyGILState_Release");
    find(a.frame, "PyEval_GetFrame");
    find(a.back, "PyFrame_GetBack");
    find(a.code, "PyFrame_GetCode");
    find(a.line, "PyFrame_GetLineNumber");
    find(a.attr, "PyObject_GetAttrString");
    find(a.text, "PyUnicode_AsUTF8");
    find(a.incref, "Py_IncRef");
    find(a.decref, "Py_DecRef");
    find(a.running, "Py_IsInitialized");
    return a;
  }();
  return api;
}

constexpr int kUnknownSite = 0, kBackwardSite = 1, kSmallSite = 2;
inline std::vector<Site> sites{{"(unknown)", "", 0}, {"(backward)", "", 0}, {"(small allocations)", "", 0}};
inline std::vector<std::string> library_prefixes; // files of these folders are not the user's

struct CodeInfo {
  bool user = false;
  std::string file, function;
};

// Call with the interpreter's lock held. The code object is kept alive, so that its address stays its own.
inline const CodeInfo& code_info(void* code) {
  static std::unordered_map<void*, CodeInfo> known;
  auto [it, fresh] = known.try_emplace(code);
  if (!fresh) return it->second;
  const auto& py = python();
  py.incref(code);
  auto read = [&](const char* name) {
    void* object = py.attr(code, name);
    std::string text = object ? py.text(object) : "";
    if (object) py.decref(object);
    return text;
  };
  auto& info = it->second;
  info.file = read("co_filename");
  info.function = read("co_qualname");
  info.user = info.file.rfind("<", 0) != 0;
  for (const auto& prefix : library_prefixes)
    if (info.file.rfind(prefix, 0) == 0) info.user = false;
  return info;
}

// Index into `sites` of the Python line that is running. On autograd's own threads there is none: kBackwardSite.
inline int here() {
  const auto& py = python();
  if (!py.frame || !py.running()) return kUnknownSite;
  const int token = py.hold();
  void* frame = py.frame();
  int found = frame ? kUnknownSite : kBackwardSite;
  if (frame) py.incref(frame);
  while (frame) {
    void* code = py.code(frame);
    const auto& info = code_info(code);
    if (info.user) {
      static std::unordered_map<std::string, int> numbers;
      const int line = py.line(frame);
      Lock lock(mutex); // always after the interpreter's lock, never before it
      auto [it, fresh] = numbers.try_emplace(info.file + ":" + std::to_string(line), (int)sites.size());
      if (fresh) sites.push_back({info.file, info.function, line});
      found = it->second;
    }
    py.decref(code);
    void* back = found == kUnknownSite ? py.back(frame) : nullptr;
    py.decref(frame);
    frame = back;
  }
  py.drop(token);
  return found;
}

} // namespace xq
