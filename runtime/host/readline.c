// readline.c -- the prompt for lua/foodrt/repl: line editing, history and completion by libedit
// through its readline interface; plain lines where standard input is not a terminal.
#define _GNU_SOURCE
#include <editline/readline.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

static lua_State *state;
static int completer = LUA_NOREF;
static char **words; // what the completer offered, for next_word
static int n_words;

static char *next_word(const char *text, int again)
{
  (void)text;
  static int i;
  i = again ? i : 0;
  return i < n_words ? strdup(words[i++]) : NULL;
}

// Asks host.completer's function: (line before the word, word) -> list of whole words.
static char **complete(const char *text, int start, int end)
{
  (void)end;
  rl_attempted_completion_over = 1; // never file names
  if (completer == LUA_NOREF) {
    return NULL;
  }
  lua_State *L = state;
  int top = lua_gettop(L);
  char **found = NULL;
  lua_rawgeti(L, LUA_REGISTRYINDEX, completer);
  lua_pushlstring(L, rl_line_buffer, (size_t)start);
  lua_pushstring(L, text);
  if (lua_pcall(L, 2, 1, 0) == 0 && lua_istable(L, -1)) {
    int n = (int)lua_objlen(L, -1);
    words = calloc((size_t)n + 1, sizeof *words);
    for (n_words = 0; words && n_words < n; n_words++) {
      lua_rawgeti(L, -1, n_words + 1);
      words[n_words] = strdup(lua_tostring(L, -1));
      lua_pop(L, 1);
    }
    found = rl_completion_matches(text, next_word);
    while (n_words > 0) {
      free(words[--n_words]);
    }
    free(words);
  }
  lua_settop(L, top);
  return found;
}

static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
  caught = sig;
}

static char *edited_line(const char *prompt)
{
  // Without SA_RESTART: libedit's read ends with EINTR and readline returns.
  struct sigaction action, old_int, old_term;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  caught = 0;
  sigaction(SIGINT, &action, &old_int);
  sigaction(SIGTERM, &action, &old_term);
  char *line = readline(prompt);
  sigaction(SIGINT, &old_int, NULL);
  sigaction(SIGTERM, &old_term, NULL);
  return line;
}

static char *plain_line(void)
{
  char *line = NULL;
  size_t room = 0;
  ssize_t n = getline(&line, &room, stdin);
  if (n < 0) {
    free(line);
    return NULL;
  }
  if (n > 0 && line[n - 1] == '\n') {
    line[n - 1] = 0;
  }
  return line;
}

// host.readline(prompt) -> line | false when ^C dropped what was typed | nil at the end of input
static int read_line(lua_State *L)
{
  const char *prompt = luaL_checkstring(L, 1);
  fflush(stdout);
  caught = 0;
  char *line = isatty(STDIN_FILENO) ? edited_line(prompt) : plain_line();
  if (caught == SIGINT) {
    free(line);
    fputs("^C\n", stdout);
    lua_pushboolean(L, 0);
    return 1;
  }
  if (!line || caught) {
    free(line);
    return 0;
  }
  lua_pushstring(L, line);
  free(line);
  return 1;
}

// host.history_add(line)
static int history_add(lua_State *L)
{
  add_history(luaL_checkstring(L, 1));
  return 0;
}

// host.history_read(file), host.history_write(file) -> true | false
static int history_read(lua_State *L)
{
  lua_pushboolean(L, read_history(luaL_checkstring(L, 1)) == 0);
  return 1;
}

static int history_write(lua_State *L)
{
  lua_pushboolean(L, write_history(luaL_checkstring(L, 1)) == 0);
  return 1;
}

// host.completer(function)
static int set_completer(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  luaL_unref(L, LUA_REGISTRYINDEX, completer);
  lua_settop(L, 1);
  completer = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

void frt_host_prompt(lua_State *L)
{
  state = L;
  rl_readline_name = "foodrt";
  rl_attempted_completion_function = complete;
  rl_completion_append_character = 0;
  rl_completer_word_break_characters = " \t\n\"\\'><=;+-*/%^~#{}()[],";
}

const luaL_Reg frt_host_prompt_functions[] = {
  {"readline",      read_line    },
  {"history_add",   history_add  },
  {"history_read",  history_read },
  {"history_write", history_write},
  {"completer",     set_completer},
  {NULL,            NULL         }
};
