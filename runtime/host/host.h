// host.h -- what main.c, interrupt.c and readline.c share: the one Lua state and what `foodrt.host`
// offers to Lua.
#pragma once
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "foodrt.h"

// interrupt.c: from now on SIGINT, SIGTERM and their kind mean "stop", see there.
void frt_host_interrupts(lua_State *L);
int frt_host_stopped(lua_State *L); // whether the error on top is that of a signal
extern const luaL_Reg frt_host_interrupt_functions[];

// readline.c
void frt_host_prompt(lua_State *L);
extern const luaL_Reg frt_host_prompt_functions[];
