-- Files and folders for the sample set. Every failure is a message that names the path.
local ffi = require "ffi"

ffi.cdef [[
int mkdir(const char *path, unsigned mode);
int rmdir(const char *path);
int rename(const char *from, const char *to);
int link(const char *from, const char *to);
int unlink(const char *path);
int access(const char *path, int mode);
int getpid(void);
int kill(int pid, int signal);
char *strerror(int code);
]]

local C = ffi.C
local EEXIST, ESRCH = 17, 3
local files = {}

local function reason()
  return ffi.string(C.strerror(ffi.errno()))
end

function files.exists(path)
  return C.access(path, 0) == 0
end

--- Makes a folder and the folders above it.
function files.make_folder(path)
  if C.mkdir(path, 511) == 0 or ffi.errno() == EEXIST then
    return true
  end
  local above = path:match("^(.+)/[^/]+/*$")
  if above and not files.exists(above) then
    local ok, message = files.make_folder(above)
    if not ok then
      return nil, message
    end
    if C.mkdir(path, 511) == 0 or ffi.errno() == EEXIST then
      return true
    end
  end
  return nil, ("cannot make the folder %s: %s"):format(path, reason())
end

--- Writes a whole file; a full disk is noticed here, not later.
function files.write(path, text)
  local f, message = io.open(path, "wb")
  if not f then
    return nil, "cannot write " .. message
  end
  local ok, why = f:write(text)
  local closed, why_not = f:close()
  if not (ok and closed) then
    return nil, ("cannot write %s: %s"):format(path, tostring(why or why_not):gsub("^.*: ", ""))
  end
  return true
end

function files.read(path)
  local f = io.open(path, "rb")
  if not f then
    return nil
  end
  local text = f:read("*a")
  f:close()
  return text
end

--- A second name for a file, or a copy of `text` where the file system has no hard links.
function files.link(from, to, text)
  if C.link(from, to) == 0 then
    return true
  end
  return files.write(to, text)
end

function files.rename(from, to)
  if C.rename(from, to) == 0 then
    return true
  end
  return nil, ("cannot rename %s to %s: %s"):format(from, to, reason())
end

function files.process()
  return C.getpid()
end

--- Whether the process with this number is gone.
function files.is_gone(pid)
  return C.kill(pid, 0) ~= 0 and ffi.errno() == ESRCH
end

local function quoted(path)
  return "'" .. path:gsub("'", "'\\''") .. "'"
end

--- The names in a folder (empty where there is none).
function files.list(folder)
  local names = {}
  local p = io.popen("ls -A " .. quoted(folder) .. " 2>/dev/null")
  if p then
    for name in p:lines() do
      names[#names + 1] = name
    end
    p:close()
  end
  return names
end

--- Removes a folder and all in it.
function files.remove_tree(folder)
  os.execute("rm -rf -- " .. quoted(folder))
end

--- Removes a folder if it is empty.
function files.remove_empty(folder)
  return C.rmdir(folder) == 0
end

return files
