// interrupt.c -- signals that ask to stop. Work that declared itself graceful (host.graceful(true):
// the trainer) sees the first one as frt_interrupted() = 1 and ends at its next step; elsewhere the
// first one, and everywhere the second, raises host.stop at the next Lua line; the third ends the
// process. SIGINT and SIGTERM press on like that; the others of ASKING count as a first one only.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <luajit.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "host.h"

// What batch systems, terminals and pipes say when they want an end. One that the parent ignores
// (nohup) stays ignored.
static const int ASKING[] = {SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGPIPE};

static lua_State *state;
static int stop_ref; // host.stop in the registry
static pthread_t main_thread;
static volatile sig_atomic_t graceful, watching;

// How often somebody asked to stop. The count lives in libfoodrt, whose threads look at it while
// they wait; before that library is loaded it lives here.
static volatile sig_atomic_t asked;
static int32_t (*library_asked)(void);
static void (*library_ask)(int32_t n);

static int32_t count(void)
{
  return library_asked ? library_asked() : asked;
}

static void set_count(int32_t n)
{
  asked = n;
  if (library_ask) {
    library_ask(n);
  }
}

static void raise_interrupted(lua_State *L, lua_Debug *ar)
{
  (void)ar;
  lua_sethook(L, NULL, 0, 0);
  lua_rawgeti(L, LUA_REGISTRYINDEX, stop_ref);
  lua_error(L);
}

// Compiled code looks at no hook. But where LuaJIT's profiler is on, a trace tests at every line
// whether a sample is due, and goes back to the interpreter for it. So the profiler runs with a
// timer that never fires and a signal asks for a sample: then the hook is seen in any loop, those
// in a recipe's hooks too. Costs a test per line: 0 to 38 % of table-heavy Lua in a noisy
// measurement, nothing of a training step that is all recording.
static void ignore_sample(void *data, lua_State *L, int samples, int vmstate)
{
  (void)data, (void)L, (void)samples, (void)vmstate;
}

static void watch_compiled_code(lua_State *L)
{
  luaJIT_profile_start(L, "li2000000000", ignore_sample, NULL);
  watching = 1;
}

static void on_signal(int sig)
{
  if (!pthread_equal(pthread_self(), main_thread)) {
    pthread_kill(main_thread, sig); // the Lua state belongs to the main thread
    return;
  }
  if (sig == SIGPIPE && !graceful) { // `foodrt … | head`: ends without a word, as pipes have it
    signal(sig, SIG_DFL);
    raise(sig);
    return;
  }
  if (sig != SIGINT && sig != SIGTERM && count() > 0) {
    return; // each write to a closed pipe, each second of SIGXCPU, a SIGHUP of the shell as well
  }
  int32_t n = count() + 1;
  set_count(n);
  if (n >= 3) {
    signal(sig, SIG_DFL);
    raise(sig);
  } else if (n == 2 || !graceful) {
    lua_sethook(state, raise_interrupted, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    if (watching) {
      raise(SIGPROF);
    }
  }
}

// host.arm(): what came before is dealt with; the next signal is the first again.
static int arm(lua_State *L)
{
  set_count(0);
  lua_sethook(L, NULL, 0, 0);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  for (size_t i = 0; i < sizeof ASKING / sizeof ASKING[0]; i++) {
    struct sigaction before;
    if (sigaction(ASKING[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
      sigaction(ASKING[i], &action, NULL);
    }
  }
  return 0;
}

// host.graceful(on): between its steps the caller looks at frt_interrupted() itself.
static int set_graceful(lua_State *L)
{
  graceful = lua_toboolean(L, 1);
  return 0;
}

// host.interrupted() -> number of signals since host.arm()
static int interrupted(lua_State *L)
{
  lua_pushinteger(L, count());
  return 1;
}

// host.attach(path): libfoodrt has been loaded from there; it keeps the count from now on.
static int attach(lua_State *L)
{
  void *library = dlopen(luaL_checkstring(L, 1), RTLD_NOW | RTLD_NOLOAD);
  if (!library) {
    return luaL_error(L, "foodrt: %s is not loaded", lua_tostring(L, 1));
  }
  void *get = dlsym(library, "frt_interrupted"), *set = dlsym(library, "frt_interrupt_set");
  dlclose(library); // whoever loaded it keeps it
  if (!get || !set) {
    return luaL_error(L, "foodrt: %s is of another version", lua_tostring(L, 1));
  }
  int32_t before = asked;
  memcpy(&library_asked, &get, sizeof get);
  memcpy(&library_ask, &set, sizeof set);
  library_ask(before);
  return 0;
}

static int stop_text(lua_State *L)
{
  lua_pushliteral(L, "interrupted");
  return 1;
}

// host.stop: what a signal raises. It is known by being this value, never by its text.
static void make_stop(lua_State *L)
{
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, stop_text);
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "loaded");
  lua_getfield(L, -1, "foodrt.host");
  lua_pushvalue(L, -4);
  lua_setfield(L, -2, "stop");
  lua_pop(L, 3);
  stop_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

int frt_host_stopped(lua_State *L)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, stop_ref);
  const int same = lua_rawequal(L, -1, -2);
  lua_pop(L, 1);
  return same;
}

void frt_host_interrupts(lua_State *L)
{
  state = L;
  make_stop(L);
  main_thread = pthread_self();
  signal(SIGXFSZ, SIG_IGN); // a file that must not grow is a failed write, not the end
  watch_compiled_code(L);
  arm(L);
}

const luaL_Reg frt_host_interrupt_functions[] = {
  {"arm",         arm         },
  {"attach",      attach      },
  {"graceful",    set_graceful},
  {"interrupted", interrupted },
  {NULL,          NULL        }
};
