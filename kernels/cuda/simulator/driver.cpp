// A stand-in for libcuda.so.1: the driver functions that cudarc calls for us, with kernels run by the simulator.
//
// It is stricter than a driver: a launch whose arguments or shared memory do not fit the kernel is refused, memory that is freed
// twice or on a thread without a context, or copied beyond its end, ends the process, and fresh memory is NaN. Tests set what kind
// of device it shows.
//
// Work of a stream is done as late as is legal: when the host waits for it, or work of another stream does. A copy from pageable
// memory has read it when the call returns, as with a driver; one from page-locked memory reads what is there when its turn comes,
// and one to it writes then. Memory that is asked for in a stream's order is what the same stream has given back, where there is
// some of that size, and is NaN from that moment on. So a host that does not wait where it must computes with other numbers.
//
// As late as is legal is one order among many: tests ask for others, in which streams go on by chance. And they have waits
// forgotten, one at a time, as a host that leaves them out would: what is left out has to show.
#include <algorithm>
#include <deque>
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
enum Result {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201,
  NOT_FOUND = 500,
  CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, UNKNOWN = 999
};

// What a test can set: simulator_set; and the memory, where another program loads this, by a variable in MiB.
u64 memory_bytes() {
  const char* mib = getenv("PRELIM_SIMULATOR_MEMORY_MIB");
  return (mib == nullptr ? 4096 : strtoull(mib, nullptr, 10)) << 20;
}
struct Settings {
  u64 devices = 1, driver = 12000, major = 8, minor = 0, multiprocessors = 2, memory = memory_bytes(), shared = 166912;
  u64 late = 1;      // Work of streams is done as late as is legal, or at once (0), or by chance: what is more is a seed.
  // The wait that is forgotten, counted from 1 since this was set: of a stream, for an event, and for a stream.
  u64 forget_join = 0, forget_event = 0, forget_stream = 0;
  u64 capture = 1;   // Whether streams can be captured.
  // The graph that finds no memory, counted from 1 since this was set: when it is uploaded, and when it is launched.
  u64 refuse_upload = 0, refuse_launch = 0;
  u64 node_bytes = 0;   // What a graph takes of the device's memory for each of its nodes.
  u64 wait_error = 0;   // What waiting for a stream answers, where it is not 0.
} settings;

std::recursive_mutex lock;
// Never destroyed: a thread that still frees memory while the process ends finds it as it was.
std::map<u64, size_t>& allocations = *new std::map<u64, size_t>;
u64 allocated = 0;

using Work = std::function<void()>;

// What a graph does: work, and the page-locked memory that it reads.
struct Node {
  Work work;
  const void* from = nullptr;
  size_t bytes = 0;
};
struct Graph {
  std::vector<Node> nodes;
  bool valid = true;
  // On the device, where it takes so many bytes.
  bool uploaded = false;
  size_t bytes = 0;
};

void go_on_by_chance();

// Memory that a stream has given back, which it may have again before anything is done.
struct Returned {
  u64 address;
  size_t bytes;
  u64 number;
};

// Work in order, of which some is done.
struct Stream {
  std::deque<Work> queue;
  u64 issued = 0, done = 0;
  Graph* capturing = nullptr;
  std::vector<Returned> returned;

  void run(u64 until) {
    while (done < until && !queue.empty()) {
      Work work = std::move(queue.front());
      queue.pop_front();
      done++;
      work();
    }
  }
  void issue(Work work) {
    if (capturing != nullptr) return capturing->nodes.push_back({std::move(work)});
    queue.push_back(std::move(work));
    issued++;
    if (!settings.late) run(issued);
    go_on_by_chance();
  }
};
// In the order that they were made in.
std::vector<Stream*>& streams = *new std::vector<Stream*>;
bool is_there(const Stream* stream) { return std::find(streams.begin(), streams.end(), stream) != streams.end(); }

// Some streams do some of their work.
void go_on_by_chance() {
  static u64 seed = 0, state = 0;
  if (settings.late < 2) return;
  if (seed != settings.late) state = seed = settings.late;
  for (Stream* stream : streams) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const u64 chance = state >> 33;
    if (chance % 2 == 0) stream->run(stream->done + chance / 2 % 8);
  }
}

// Contexts are of threads: what is asked on one that has none is refused, but for what needs none.
thread_local void* current = nullptr;
#define NEEDS_CONTEXT if (current == nullptr) return INVALID_CONTEXT
// Of what is given back nobody may look at the answer.
#define DIES_WITHOUT_CONTEXT                                                       \
  if (current == nullptr) {                                                        \
    fprintf(stderr, "simulator: %s on a thread without a context\n", __func__);   \
    abort();                                                                       \
  }

// Whether a wait was forgotten since a test set something, and whether this is the one to be.
bool has_forgotten = false;
bool is_forgotten(u64& countdown) {
  const bool is_this = countdown > 0 && --countdown == 0;
  has_forgotten |= is_this;
  return is_this;
}
// Without a wait that is needed something may yet be written there, which is for the test to see and not for the process to die of.
void give_up(void* memory) {
  if (!has_forgotten) free(memory);
}

// What a stream had been given when it was recorded.
struct Event {
  Stream* stream = nullptr;
  u64 at = 0;

  void wait() const {
    if (stream != nullptr && is_there(stream)) stream->run(at);
  }
};

// Page-locked memory: its bytes, and how many copies of it are to come.
struct Pinned {
  size_t bytes = 0;
  int copies = 0;
};
std::map<u64, Pinned>& pinned = *new std::map<u64, Pinned>;
u64 graphs_captured = 0, graphs_launched = 0, waits = 0, freed_too_early = 0;

// The host waits until a stream has done so much. Where it has, that is no wait.
void wait_for(Stream& stream, u64 until) {
  if (stream.done < until) waits++;
  stream.run(until);
}

// The page-locked memory that these bytes lie in, if they do.
Pinned* find_pinned(const void* from, size_t bytes) {
  auto after = pinned.upper_bound((u64)from);
  if (after == pinned.begin() || (u64)from + bytes > (--after)->first + after->second.bytes) return nullptr;
  return &after->second;
}

void run_all() {
  for (Stream* stream : streams) stream->run(stream->issued);
}

// What a stream that is captured must not do spoils the capture.
bool spoils() {
  bool any = false;
  for (Stream* stream : streams) {
    if (stream->capturing == nullptr) continue;
    stream->capturing->valid = false;
    any = true;
  }
  return any;
}

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
      {"shared", &settings.shared}, {"seed", (u64*)&simulator::seed}, {"late", &settings.late}, {"capture", &settings.capture},
      {"refuse upload", &settings.refuse_upload}, {"refuse launch", &settings.refuse_launch}, {"node bytes", &settings.node_bytes},
      {"wait error", &settings.wait_error},
      {"forget join", &settings.forget_join}, {"forget event", &settings.forget_event}, {"forget stream", &settings.forget_stream}};
  std::lock_guard guard(lock);
  // What was started before was started on the device as it was.
  run_all();
  has_forgotten = false;
  if (std::string(name) == "tensor core") {
    // By the compute capability's first number: as on an A100, or as on an H100.
    simulator::tensor_core = value >= 9 ? simulator::TensorCore{16, 2} : simulator::TensorCore{};
    return;
  }
  *all.at(name) = value;
}
// Graphs captured, graphs launched, how often the host waited for work of a stream, and how often it gave memory back that was yet to
// be copied: where no wait is forgotten, that ends the process.
DRIVER void simulator_host_counts(u64* out) {
  std::lock_guard guard(lock);
  const u64 all[] = {graphs_captured, graphs_launched, waits, freed_too_early};
  memcpy(out, all, sizeof all);
}
// Launches, products, loads of matrices, bank conflicts, asynchronous copies, barriers, loads of words.
DRIVER void simulator_counts(u64* out) {
  std::lock_guard guard(lock);
  run_all();
  const simulator::Counts& c = simulator::counts;
  const u64 all[] = {c.launches, c.mma, c.matrix_loads, c.bank_conflicts, c.copies, c.barriers, c.word_loads};
  memcpy(out, all, sizeof all);
}

DRIVER int cuInit(u32) { return settings.devices > 0 ? SUCCESS : NO_DEVICE; }
DRIVER int cuDriverGetVersion(int* version) { return *version = (int)settings.driver, SUCCESS; }
DRIVER int cuDeviceGetCount(int* count) { return *count = (int)settings.devices, SUCCESS; }
DRIVER int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, ordinal < (int)settings.devices ? SUCCESS : INVALID_DEVICE; }
DRIVER int cuDeviceGetName(char* name, int length, int device) {
  return device == 0 ? snprintf(name, length, "simulator") : snprintf(name, length, "simulator %d", device), SUCCESS;
}
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
DRIVER int cuCtxSetCurrent(void* context) { return current = context, SUCCESS; }
DRIVER int cuCtxGetCurrent(void** context) { return *context = current, SUCCESS; }
DRIVER int cuCtxSynchronize() {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  return run_all(), SUCCESS;
}
DRIVER int cuStreamCreate(void** stream, u32) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  Stream* made = new Stream;
  streams.push_back(made);
  return *stream = made, SUCCESS;
}
DRIVER int cuStreamDestroy_v2(void* stream) {
  DIES_WITHOUT_CONTEXT;
  std::lock_guard guard(lock);
  ((Stream*)stream)->run(((Stream*)stream)->issued);
  for (const Returned& memory : ((Stream*)stream)->returned) give_up((void*)memory.address);
  streams.erase(std::find(streams.begin(), streams.end(), (Stream*)stream));
  return delete (Stream*)stream, SUCCESS;
}
DRIVER int cuStreamSynchronize(void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  if (settings.wait_error != 0) return (int)settings.wait_error;
  if (is_forgotten(settings.forget_stream)) return SUCCESS;
  return wait_for(*(Stream*)stream, ((Stream*)stream)->issued), SUCCESS;
}
DRIVER int cuStreamWaitEvent(void* stream, void* event, u32) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  if (is_forgotten(settings.forget_join)) return SUCCESS;
  const Event as_it_is = *(Event*)event;
  return ((Stream*)stream)->issue([as_it_is] { as_it_is.wait(); }), SUCCESS;
}
DRIVER int cuEventCreate(void** event, u32) {
  NEEDS_CONTEXT;
  return *event = new Event, SUCCESS;
}
DRIVER int cuEventDestroy_v2(void* event) {
  DIES_WITHOUT_CONTEXT;
  return delete (Event*)event, SUCCESS;
}
DRIVER int cuEventRecord(void* event, void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  return *(Event*)event = {(Stream*)stream, ((Stream*)stream)->issued}, SUCCESS;
}
DRIVER int cuEventSynchronize(void* event) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  const Event& recorded = *(Event*)event;
  // One that was never recorded is nothing to wait for.
  if (recorded.stream == nullptr || !is_there(recorded.stream) || is_forgotten(settings.forget_event)) return SUCCESS;
  return wait_for(*recorded.stream, recorded.at), SUCCESS;
}
DRIVER int cuGetErrorName(int error, const char** name) {
  switch (error) {
    case INVALID_VALUE: return *name = "CUDA_ERROR_INVALID_VALUE", SUCCESS;
    case OUT_OF_MEMORY: return *name = "CUDA_ERROR_OUT_OF_MEMORY", SUCCESS;
    case INVALID_CONTEXT: return *name = "CUDA_ERROR_INVALID_CONTEXT", SUCCESS;
    case UNKNOWN: return *name = "CUDA_ERROR_UNKNOWN", SUCCESS;
    // As a driver answers for a number that it does not know.
    default: return *name = nullptr, INVALID_VALUE;
  }
}
DRIVER int cuGetErrorString(int error, const char** name) {
  switch (error) {
    case OUT_OF_MEMORY: return *name = "out of memory", SUCCESS;
    case UNKNOWN: return *name = "unknown error", SUCCESS;
    default: return *name = nullptr, INVALID_VALUE;
  }
}

DRIVER int cuMemGetInfo_v2(size_t* free, size_t* total) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  return *total = settings.memory, *free = settings.memory - std::min(allocated, settings.memory), SUCCESS;
}
namespace {
// Memory of exactly this size, so that a sanitizer sees what lies beyond; 0 where there is none.
u64 give_out(u64 address, size_t bytes) {
  void* memory = (void*)address;
  if (memory == nullptr && posix_memalign(&memory, 256, bytes) != 0) return 0;
  allocations[(u64)memory] = bytes;
  allocated += bytes;
  return (u64)memory;
}
}  // namespace
DRIVER int cuMemAlloc_v2(u64* address, size_t bytes) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (bytes == 0) return INVALID_VALUE;
  if (spoils()) return CAPTURE_UNSUPPORTED;
  if (allocated + bytes > settings.memory) return OUT_OF_MEMORY;
  if ((*address = give_out(0, bytes)) == 0) return OUT_OF_MEMORY;
  return memset((void*)*address, 0xff, bytes), SUCCESS;
}
DRIVER int cuMemAllocAsync(u64* address, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (bytes == 0) return INVALID_VALUE;
  if (spoils()) return CAPTURE_UNSUPPORTED;
  if (allocated + bytes > settings.memory) return OUT_OF_MEMORY;
  std::vector<Returned>& returned = ((Stream*)stream)->returned;
  const auto same = std::find_if(returned.begin(), returned.end(), [=](const Returned& memory) { return memory.bytes == bytes; });
  const u64 had = same == returned.end() ? 0 : same->address;
  if ((*address = give_out(had, bytes)) == 0) return OUT_OF_MEMORY;
  if (had != 0) returned.erase(same);
  return ((Stream*)stream)->issue([memory = (void*)*address, bytes] { memset(memory, 0xff, bytes); }), SUCCESS;
}
namespace {
// Takes an allocation out of the books; whoever calls frees it. Null where there is none.
void* forget(u64 address) {
  const auto found = allocations.find(address);
  if (found == allocations.end()) return nullptr;
  allocated -= found->second;
  allocations.erase(found);
  return (void*)address;
}
}  // namespace

DRIVER int cuMemFree_v2(u64 address) {
  DIES_WITHOUT_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  run_all();
  void* memory = forget(address);
  return give_up(memory), memory == nullptr ? INVALID_VALUE : SUCCESS;
}
DRIVER int cuMemFreeAsync(u64 address, void* stream) {
  DIES_WITHOUT_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  Stream& of = *(Stream*)stream;
  const auto found = allocations.find(address);
  if (found == allocations.end()) return INVALID_VALUE;
  static u64 number = 0;
  of.returned.push_back({address, found->second, ++number});
  forget(address);
  // Unless the stream was given it again.
  return of.issue([&of, address, which = number] {
    const auto still = std::find_if(of.returned.begin(), of.returned.end(), [=](const Returned& memory) { return memory.number == which; });
    if (still == of.returned.end()) return;
    of.returned.erase(still);
    give_up((void*)address);
  }), SUCCESS;
}
DRIVER int cuMemHostAlloc(void** address, size_t bytes, u32) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (bytes == 0) return INVALID_VALUE;
  if (spoils()) return CAPTURE_UNSUPPORTED;
  if (posix_memalign(address, 4096, bytes) != 0) return OUT_OF_MEMORY;
  memset(*address, 0xff, bytes);
  pinned[(u64)*address] = {bytes, 0};
  return SUCCESS;
}
DRIVER int cuMemFreeHost(void* address) {
  DIES_WITHOUT_CONTEXT;
  std::lock_guard guard(lock);
  const auto found = pinned.find((u64)address);
  if (found == pinned.end()) return INVALID_VALUE;
  if (found->second.copies > 0 && has_forgotten) return freed_too_early++, SUCCESS;
  if (found->second.copies > 0) {
    fprintf(stderr, "simulator: page-locked memory is freed with %d copies to come\n", found->second.copies);
    abort();
  }
  pinned.erase(found);
  return free(address), SUCCESS;
}
DRIVER int cuMemcpyHtoDAsync_v2(u64 to, const void* from, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  check_range(to, bytes);
  Stream& on = *(Stream*)stream;
  if (Pinned* memory = find_pinned(from, bytes)) {
    if (on.capturing != nullptr) {
      on.capturing->nodes.push_back({[to, from, bytes] { check_range(to, bytes), memcpy((void*)to, from, bytes); }, from, bytes});
    } else {
      memory->copies++;
      on.issue([to, from, bytes, memory] { memcpy((void*)to, from, bytes), memory->copies--; });
    }
    return SUCCESS;
  }
  // A graph would read pageable memory when it is launched, if a driver takes it at all.
  if (on.capturing != nullptr) return spoils(), CAPTURE_UNSUPPORTED;
  const std::string copy((const char*)from, bytes);
  return on.issue([to, copy] { memcpy((void*)to, copy.data(), copy.size()); }), SUCCESS;
}
DRIVER int cuMemcpyDtoHAsync_v2(void* to, u64 from, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  check_range(from, bytes);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  Stream& on = *(Stream*)stream;
  if (Pinned* memory = find_pinned(to, bytes)) {
    memory->copies++;
    return on.issue([to, from, bytes, memory] { memcpy(to, (void*)from, bytes), memory->copies--; }), SUCCESS;
  }
  // One to pageable memory is waited for.
  wait_for(on, on.issued);
  return memcpy(to, (void*)from, bytes), SUCCESS;
}
DRIVER int cuMemcpyDtoDAsync_v2(u64 to, u64 from, size_t bytes, void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  check_range(from, bytes);
  check_range(to, bytes);
  return ((Stream*)stream)->issue([to, from, bytes] { memmove((void*)to, (void*)from, bytes); }), SUCCESS;
}

// A module is the text of its PTX: a kernel has to be in there, and in the simulator.
DRIVER int cuModuleLoadData(void** module, const void* image) {
  NEEDS_CONTEXT;
  const std::string text((const char*)image);
  if (text.find(".version") == std::string::npos) return INVALID_IMAGE;
  std::lock_guard guard(lock);
  if (allocated + text.size() > settings.memory) return OUT_OF_MEMORY;
  return *module = new std::string(text), SUCCESS;
}
DRIVER int cuModuleUnload(void* module) {
  DIES_WITHOUT_CONTEXT;
  return delete (std::string*)module, SUCCESS;
}
DRIVER int cuModuleGetFunction(void** function, void* module, const char* name) {
  NEEDS_CONTEXT;
  if (((std::string*)module)->find(".entry " + std::string(name) + "(") == std::string::npos) return NOT_FOUND;
  for (const simulator::Kernel& kernel : simulator::kernels()) {
    if (std::string(kernel.name) == name) return *function = new Function{&kernel}, SUCCESS;
  }
  return NOT_FOUND;
}
DRIVER int cuFuncSetAttribute(void* function, int attribute, int value) {
  NEEDS_CONTEXT;
  if (attribute != 8 || value > (int)settings.shared) return INVALID_VALUE;
  return ((Function*)function)->shared_max = value, SUCCESS;
}
DRIVER int cuLaunchKernel(void* function, u32 x, u32 y, u32 z, u32 threads, u32 threads_y, u32 threads_z, u32 shared, void* stream, void** arguments, void**) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  const Function* f = (Function*)function;
  if (x == 0 || y == 0 || z == 0 || y > 65535 || z > 65535 || threads_y != 1 || threads_z != 1) return INVALID_VALUE;
  if (threads != f->kernel->threads_max || (int)shared > f->shared_max) return INVALID_VALUE;
  // The driver takes the arguments when it is called.
  const std::string taken((const char*)arguments[0], f->kernel->argument_bytes);
  ((Stream*)stream)->issue([=, kernel = f->kernel] {
    simulator::launch({x, y, z}, threads, shared, [&] { kernel->run((void*)taken.data()); });
  });
  return SUCCESS;
}

DRIVER int cuStreamBeginCapture_v2(void* stream, int) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  Stream& on = *(Stream*)stream;
  if (!settings.capture || on.capturing != nullptr) return CAPTURE_UNSUPPORTED;
  return on.capturing = new Graph, SUCCESS;
}
DRIVER int cuStreamEndCapture(void* stream, void** graph) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  Stream& on = *(Stream*)stream;
  Graph* made = on.capturing;
  on.capturing = nullptr;
  *graph = nullptr;
  if (made == nullptr) return INVALID_VALUE;
  if (!made->valid) return delete made, CAPTURE_INVALIDATED;
  graphs_captured++;
  return *graph = made, SUCCESS;
}
// A graph that is ready to be launched is apart from the one that it was made of.
DRIVER int cuGraphInstantiateWithFlags(void** ready, void* graph, u64) { return *ready = new Graph(*(Graph*)graph), SUCCESS; }
DRIVER int cuGraphDestroy(void* graph) {
  DIES_WITHOUT_CONTEXT;
  return delete (Graph*)graph, SUCCESS;
}
DRIVER int cuGraphExecDestroy(void* ready) {
  DIES_WITHOUT_CONTEXT;
  std::lock_guard guard(lock);
  run_all();
  allocated -= ((Graph*)ready)->bytes;
  return delete (Graph*)ready, SUCCESS;
}
namespace {
// Whether this is the one that finds no memory.
bool is_refused(u64& countdown) { return countdown > 0 && --countdown == 0; }

int upload(Graph& graph) {
  const size_t bytes = graph.nodes.size() * settings.node_bytes;
  if (graph.uploaded) return SUCCESS;
  if (allocated + bytes > settings.memory) return OUT_OF_MEMORY;
  allocated += graph.bytes = bytes;
  return graph.uploaded = true, SUCCESS;
}
}  // namespace
DRIVER int cuGraphUpload(void* ready, void*) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  return is_refused(settings.refuse_upload) ? OUT_OF_MEMORY : upload(*(Graph*)ready);
}
DRIVER int cuGraphLaunch(void* ready, void* stream) {
  NEEDS_CONTEXT;
  std::lock_guard guard(lock);
  if (spoils()) return CAPTURE_UNSUPPORTED;
  if (is_refused(settings.refuse_launch)) return OUT_OF_MEMORY;
  if (const int refused = upload(*(Graph*)ready); refused != SUCCESS) return refused;
  graphs_launched++;
  for (const Node& node : ((Graph*)ready)->nodes) {
    Pinned* memory = node.from == nullptr ? nullptr : find_pinned(node.from, node.bytes);
    if (memory != nullptr) memory->copies++;
    ((Stream*)stream)->issue([work = node.work, memory] {
      work();
      if (memory != nullptr) memory->copies--;
    });
  }
  return SUCCESS;
}
