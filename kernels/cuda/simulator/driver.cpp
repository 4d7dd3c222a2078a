// A stand-in for libcuda.so.1: the driver functions that cudarc calls for us, with kernels run by the simulator.
//
// It is stricter than a driver: a launch whose arguments or shared memory do not fit the kernel is refused, memory that is
// freed twice or copied beyond its end ends the process, and fresh memory is NaN. Tests set what kind of device it shows.
#include <map>
#include <mutex>
#include <string>

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#include "simulator.hpp"

asm(R"(
.text
.globl simulator_switch
.type simulator_switch,@function
simulator_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simulator_switch,.-simulator_switch
)");

namespace {
// Results of the driver's functions (cuda.h, CUresult).
enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, NO_DEVICE = 100, INVALID_IMAGE = 200, NOT_FOUND = 500 };

// What a test can set: simulator_set; and the memory, where another program loads this, by a variable in MiB.
u64 memory_bytes() {
  const char* mib = getenv("PRELIM_SIMULATOR_MEMORY_MIB");
  return (mib == nullptr ? 4096 : strtoull(mib, nullptr, 10)) << 20;
}
struct Settings {
  u64 devices = 1, driver = 12000, major = 8, minor = 0, multiprocessors = 2, memory = memory_bytes(), shared = 166912;
} settings;

std::recursive_mutex lock;
// Never destroyed: a thread that still frees memory while the process ends finds it as it was.
std::map<u64, size_t>& allocations = *new std::map<u64, size_t>;
u64 allocated = 0;

struct Function {
  const simulator::Kernel* kernel;
  int shared_max = 48 << 10;
};

// The allocation that [address, address + bytes) lies in, or the end of the process.
void check_range(u64 address, size_t bytes) {
  auto after = allocations.upper_bound(address);
  if (bytes == 0) return;
  if (after == allocations.begin() || address + bytes > (--after)->first + after->second) {
    fprintf(stderr, "simulator: a copy of %zu bytes leaves its allocation\n", bytes);
    abort();
  }
}
}  // namespace

#define DRIVER extern "C" __attribute__((visibility("default")))

DRIVER void simulator_set(const char* name, u64 value) {
  const std::map<std::string, u64*> all = {{"devices", &settings.devices}, {"driver", &settings.driver}, {"major", &settings.major},
      {"minor", &settings.minor}, {"multiprocessors", &settings.multiprocessors}, {"memory", &settings.memory},
      {"shared", &settings.shared}, {"seed", (u64*)&simulator::seed}};
  *all.at(name) = value;
}
// Launches, products, loads of matrices, bank conflicts, asynchronous copies, barriers, loads of words.
DRIVER void simulator_counts(u64* out) {
  const simulator::Counts& c = simulator::counts;
  const u64 all[] = {c.launches, c.mma, c.matrix_loads, c.bank_conflicts, c.copies, c.barriers, c.word_loads};
  memcpy(out, all, sizeof all);
}

DRIVER int cuInit(u32) { return settings.devices > 0 ? SUCCESS : NO_DEVICE; }
DRIVER int cuDriverGetVersion(int* version) { return *version = (int)settings.driver, SUCCESS; }
DRIVER int cuDeviceGetCount(int* count) { return *count = (int)settings.devices, SUCCESS; }
DRIVER int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal < (int)settings.devices ? SUCCESS : INVALID_DEVICE; }
DRIVER int cuDeviceGetName(char* name, int length, int) { return snprintf(name, length, "simulator"), SUCCESS; }
DRIVER int cuDeviceTotalMem_v2(size_t* bytes, int) { return *bytes = settings.memory, SUCCESS; }
DRIVER int cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 16: *value = (int)settings.multiprocessors; break;
    case 75: *value = (int)settings.major; break;
    case 76: *value = (int)settings.minor; break;
    case 97: *value = (int)settings.shared; break;   // Shared memory of a block, at most.
    case 115: *value = 1; break;                     // Memory pools.
    default: return INVALID_VALUE;
  }
  return SUCCESS;
}
DRIVER int cuDevicePrimaryCtxRetain(void** context, int) { return *context = (void*)1, SUCCESS; }
DRIVER int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
DRIVER int cuCtxSetCurrent(void*) { return SUCCESS; }
DRIVER int cuCtxGetCurrent(void** context) { return *context = (void*)1, SUCCESS; }
DRIVER int cuCtxSynchronize() { return SUCCESS; }
DRIVER int cuStreamCreate(void** stream, u32) { return *stream = (void*)16, SUCCESS; }
DRIVER int cuStreamDestroy_v2(void*) { return SUCCESS; }
DRIVER int cuStreamSynchronize(void*) { return SUCCESS; }
DRIVER int cuGetErrorName(int error, const char** name) { return *name = error == OUT_OF_MEMORY ? "out of memory" : "error", SUCCESS; }
DRIVER int cuGetErrorString(int error, const char** name) { return cuGetErrorName(error, name); }

DRIVER int cuMemGetInfo_v2(size_t* free, size_t* total) {
  std::lock_guard guard(lock);
  return *total = settings.memory, *free = settings.memory - std::min(allocated, settings.memory), SUCCESS;
}
DRIVER int cuMemAlloc_v2(u64* address, size_t bytes) {
  std::lock_guard guard(lock);
  if (bytes == 0) return INVALID_VALUE;
  if (allocated + bytes > settings.memory) return OUT_OF_MEMORY;
  void* memory = nullptr;
  // Of exactly this size: a sanitizer sees what lies beyond.
  if (posix_memalign(&memory, 256, bytes) != 0) return OUT_OF_MEMORY;
  memset(memory, 0xff, bytes);
  allocations[*address = (u64)memory] = bytes;
  allocated += bytes;
  return SUCCESS;
}
DRIVER int cuMemAllocAsync(u64* address, size_t bytes, void*) { return cuMemAlloc_v2(address, bytes); }
DRIVER int cuMemFree_v2(u64 address) {
  std::lock_guard guard(lock);
  const auto found = allocations.find(address);
  if (found == allocations.end()) return INVALID_VALUE;
  allocated -= found->second;
  allocations.erase(found);
  free((void*)address);
  return SUCCESS;
}
DRIVER int cuMemFreeAsync(u64 address, void*) { return cuMemFree_v2(address); }
DRIVER int cuMemcpyHtoDAsync_v2(u64 to, const void* from, size_t bytes, void*) {
  std::lock_guard guard(lock);
  check_range(to, bytes);
  return memcpy((void*)to, from, bytes), SUCCESS;
}
DRIVER int cuMemcpyDtoHAsync_v2(void* to, u64 from, size_t bytes, void*) {
  std::lock_guard guard(lock);
  check_range(from, bytes);
  return memcpy(to, (void*)from, bytes), SUCCESS;
}
DRIVER int cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void*) {
  std::lock_guard guard(lock);
  check_range(from, bytes);
  check_range(to, bytes);
  return memmove((void*)to, (void*)from, bytes), SUCCESS;
}

// A module is the text of its PTX: a kernel has to be in there, and in the simulator.
DRIVER int cuModuleLoadData(void** module, const void* image) {
  const std::string text((const char*)image);
  if (text.find(".version") == std::string::npos) return INVALID_IMAGE;
  return *module = new std::string(text), SUCCESS;
}
DRIVER int cuModuleUnload(void* module) { return delete (std::string*)module, SUCCESS; }
DRIVER int cuModuleGetFunction(void** function, void* module, const char* name) {
  if (((std::string*)module)->find(".entry " + std::string(name) + "(") == std::string::npos) return NOT_FOUND;
  for (const simulator::Kernel& kernel : simulator::kernels()) {
    if (std::string(kernel.name) == name) return *function = new Function{&kernel}, SUCCESS;
  }
  return NOT_FOUND;
}
DRIVER int cuFuncSetAttribute(void* function, int attribute, int value) {
  if (attribute != 8 || value > (int)settings.shared) return INVALID_VALUE;
  return ((Function*)function)->shared_max = value, SUCCESS;
}
DRIVER int cuLaunchKernel(void* function, u32 x, u32 y, u32 z, u32 threads, u32 threads_y, u32 threads_z, u32 shared, void*, void** arguments, void**) {
  std::lock_guard guard(lock);
  const Function* f = (Function*)function;
  if (x == 0 || y == 0 || z == 0 || y > 65535 || z > 65535 || threads_y != 1 || threads_z != 1) return INVALID_VALUE;
  if (threads != f->kernel->threads_max || (int)shared > f->shared_max) return INVALID_VALUE;
  simulator::launch({x, y, z}, threads, shared, [&] { f->kernel->run(arguments[0]); });
  return SUCCESS;
}
