// main.c -- the foodrt binary: a LuaJIT state that finds lua/foodrt beside itself and hands the
// command line to lua/foodrt/cli/init.lua. What needs the process itself is offered as
// `foodrt.host`.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <luajit.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host.h"

// host.isatty(fd) -> boolean
static int is_terminal(lua_State *L)
{
  lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
  return 1;
}

// host.columns() -> width of the terminal that standard error is on, or nil
static int columns(lua_State *L)
{
  struct winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
    return 0;
  }
  lua_pushinteger(L, size.ws_col);
  return 1;
}

// host.list(directory) -> names in no order, or nil and why when it cannot be read to its end
static int list(lua_State *L)
{
  DIR *dir = opendir(luaL_checkstring(L, 1));
  if (!dir) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(errno));
    return 2;
  }
  lua_newtable(L);
  for (int n = 1;;) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (!entry) {
      break;
    }
    if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
      lua_pushstring(L, entry->d_name);
      lua_rawseti(L, -2, n++);
    }
  }
  const int error = errno; // of a listing that broke off
  closedir(dir);
  if (error != 0) {
    lua_pushnil(L);
    lua_pushstring(L, strerror(error));
    return 2;
  }
  return 1;
}

// host.make_dirs(path) -> true | nil, why; like mkdir -p
static int make_dirs(lua_State *L)
{
  size_t n;
  const char *given = luaL_checklstring(L, 1, &n);
  char path[PATH_MAX];
  if (n == 0 || n >= sizeof path) {
    lua_pushnil(L);
    lua_pushliteral(L, "not a path");
    return 2;
  }
  memcpy(path, given, n + 1);
  for (char *p = path + 1;; p++) {
    char held = *p;
    if (held == '/' || held == 0) {
      *p = 0;
      if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, strerror(errno));
        return 2;
      }
      *p = held;
    }
    if (held == 0) {
      lua_pushboolean(L, 1);
      return 1;
    }
  }
}

static const luaL_Reg functions[] = {
  {"make_dirs", make_dirs  },
  {"list",      list       },
  {"isatty",    is_terminal},
  {"columns",   columns    },
  {NULL,        NULL       }
};

// root/bin/foodrt, root/lib, root/share/foodrt: one layout for the build tree and the install tree.
// By text, since build/share/foodrt/lua is a link and ".." would follow it.
static int find_root(char *exe, char *root)
{
  ssize_t n = readlink("/proc/self/exe", exe, PATH_MAX - 1);
  if (n <= 0) {
    return -1;
  }
  exe[n] = 0;
  memcpy(root, exe, (size_t)n + 1);
  for (int up = 0; up < 2; up++) {
    char *slash = strrchr(root, '/');
    if (!slash) {
      return -1;
    }
    *slash = 0;
  }
  return 0;
}

static void set_field(lua_State *L, const char *name, const char *value)
{
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

// package.loaded["foodrt.host"] and package.path
static void open_host(lua_State *L, const char *exe, const char *root)
{
  lua_getglobal(L, "package");
  lua_getfield(L, -1, "path");
  lua_pushfstring(L, "%s/share/foodrt/lua/?.lua;%s/share/foodrt/lua/?/init.lua;%s", root, root,
                  lua_tostring(L, -1));
  lua_setfield(L, -3, "path");
  lua_pop(L, 1);
  lua_getfield(L, -1, "loaded");
  lua_newtable(L);
  luaL_register(L, NULL, functions);
  luaL_register(L, NULL, frt_host_interrupt_functions);
  luaL_register(L, NULL, frt_host_prompt_functions);
  set_field(L, "root", root);
  set_field(L, "exe", exe);
  set_field(L, "version", FOODRT_VERSION);
  set_field(L, "luajit", LUAJIT_VERSION);
  lua_setfield(L, -2, "foodrt.host");
  lua_pop(L, 2);
}

// require("foodrt.cli").main(arguments) -> exit status
static int run(lua_State *L, int argc, char **argv)
{
  lua_getglobal(L, "require");
  lua_pushliteral(L, "foodrt.cli");
  if (lua_pcall(L, 1, 1, 0) != 0) {
    return -1;
  }
  lua_getfield(L, -1, "main");
  lua_createtable(L, argc, 1);
  for (int i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i);
  }
  if (lua_pcall(L, 1, 1, 0) != 0) {
    return -1;
  }
  return (int)lua_tointeger(L, -1);
}

// How long a compute thread that waits for another one spins before it sleeps, on a machine that is
// not busy (else it sleeps at once: runtime/base/waiting.c). libgomp reads this
// when libfoodrt brings it in, which is later. Its default, some 14 ms, takes the time of the very
// thread that is waited for wherever the cores are shared (13.4 s instead of 3.1 s for a step of
// EfficientNet-B4 on 2 busy cores); 2000 turns, some 0.1 ms, outlast the gaps between kernels.
static void set_spin(void)
{
  if (!getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT")) {
    setenv("GOMP_SPINCOUNT", "2000", 1);
    setenv("OMP_WAIT_POLICY", "passive", 1); // while runtime/base/waiting.c finds the machine busy
  }
}

// A file that is opened while 0, 1 or 2 is closed would get that number, and what is printed. They
// are taken by /dev/null, the wrong way round: reading and writing there fail, as they do where
// nothing is open.
static void hold_standard_files(void)
{
  for (int fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0) {
      _exit(1); // nobody can be told
    }
  }
}

int main(int argc, char **argv)
{
  hold_standard_files();
  set_spin();
  static char exe[PATH_MAX], root[PATH_MAX];
  lua_State *L = luaL_newstate();
  if (!L || find_root(exe, root) != 0) {
    fputs(L ? "foodrt: /proc/self/exe cannot be read\n" : "foodrt: out of memory\n", stderr);
    return 1;
  }
  luaL_openlibs(L);
  open_host(L, exe, root);
  frt_host_prompt(L);
  frt_host_interrupts(L);
  int status = run(L, argc, argv);
  if (status < 0) {
    const bool stopped = frt_host_stopped(L);
    const char *text = stopped ? "interrupted" : lua_tostring(L, -1);
    fprintf(stderr, "foodrt: %s\n", text ? text : "an error that is not text");
    status = stopped ? 130 : 1;
  }
  lua_close(L);
  return status;
}
