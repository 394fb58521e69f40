-- hub_server: a child process on 127.0.0.1 that answers as the hub does, and wrongly where a spec asks for it.
--   foodrt spec/support/hub_server.lua ROOT     serves ROOT/timm/NAME/FILE; spec/support/hub.lua starts it
--
-- /timm/NAME/resolve/main/config.json is answered with the file; model.safetensors with a redirect to /cdn/… that says what the
-- file is. ROOT/timm/NAME/behaviour may hold a word that changes how model.safetensors is served (see below). Requests are
-- listed in ROOT/log. It ends by itself after two minutes.
local ffi = require "ffi"
local bit = require "bit"
local lib = require "foodrt.core.ffi"
local root = arg[1]

ffi.cdef [[
typedef struct { uint16_t family, port; uint8_t address[4], zero[8]; } hub_address;
typedef struct { int fd; short events, revents; } hub_poll;
int socket(int, int, int);
int bind(int, const hub_address *, uint32_t);
int listen(int, int);
int accept(int, void *, void *);
int getsockname(int, hub_address *, uint32_t *);
ssize_t send(int, const void *, size_t, int);
ssize_t recv(int, void *, size_t, int);
int poll(hub_poll *, unsigned long, int);
int close(int);
unsigned alarm(unsigned);
]]
local C = ffi.C
local NOSIGNAL = 0x4000

C.alarm(120)
local listener = C.socket(2, 1, 0)
local address, size = ffi.new "hub_address", ffi.new("uint32_t[1]", 16)
address.family = 2
address.address = { 127, 0, 0, 1 }
assert(C.bind(listener, address, 16) == 0 and C.listen(listener, 16) == 0 and C.getsockname(listener, address, size) == 0)
local port = bit.rshift(bit.bswap(address.port), 16)
local own = ("http://127.0.0.1:%d"):format(port)

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local function note(text)
  local file = assert(io.open(root .. "/log", "ab"))
  file:write(text, "\n")
  file:close()
end

local function send(fd, text)
  local at, p = 0, ffi.cast("const char *", text)
  while at < #text do
    local n = C.send(fd, p + at, #text - at, NOSIGNAL)
    if n <= 0 then return end
    at = at + tonumber(n)
  end
end

local buffer = ffi.new "char[8192]"

local function receive(fd)
  local text = ""
  while not text:find("\r\n\r\n", 1, true) do
    local n = C.recv(fd, buffer, 8192, 0)
    if n <= 0 then return nil end
    text = text .. ffi.string(buffer, n)
  end
  return text
end

-- waits until the other side hangs up, ten seconds at most
local function stall(fd)
  C.poll(ffi.new("hub_poll[1]", { { fd, 0x2000, 0 } }), 1, 10000)
end

local WORDS = { [200] = "OK", [206] = "Partial Content", [302] = "Found", [307] = "Temporary Redirect", [401] = "Unauthorized",
  [404] = "Not Found", [416] = "Range Not Satisfiable", [500] = "Internal Server Error" }

local function answer(fd, status, headers, body)
  local lines = { ("HTTP/1.1 %d %s"):format(status, WORDS[status]), "Connection: close" }
  for _, h in ipairs(headers) do lines[#lines + 1] = h end
  send(fd, table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or ""))
end

local function sha256(path)
  local out = ffi.new "char[65]"
  lib.check(lib.C.frt_file_sha256(path, out))
  return ffi.string(out)
end

local seen = {}  -- how often a file's bytes were asked for

-- what the hub itself says of the weights
local function linked(fd, name, path, text, how)
  local etag = how == "lie" and ("0"):rep(64) or sha256(path)
  local length = #text + (how == "short" and 500 or how == "long" and -500 or 0)
  if how == "headloop" then
    answer(fd, 307, { "Location: /" .. name })
  elseif how == "bare" then
    answer(fd, 302, { "Location: " .. own .. "/cdn/" .. name })
  else
    answer(fd, 302, { 'X-Linked-Etag: "' .. etag .. '"', "X-Linked-Size: " .. length, "Location: " .. own .. "/cdn/" .. name,
      "Content-Length: 0" })
  end
end

-- the bytes, from where the request says
local function bytes(fd, name, text, how, range)
  seen[name] = (seen[name] or 0) + 1
  if how == "loop" then return answer(fd, 302, { "Location: " .. own .. "/cdn/" .. name }) end
  local from = range and tonumber(range:match "bytes=(%d+)%-") or 0
  if how == "norange" then from = 0 end
  if from >= #text then return answer(fd, 416, { "Content-Range: bytes */" .. #text }) end
  local rest, headers = text:sub(from + 1), {}
  if from > 0 then headers[1] = ("Content-Range: bytes %d-%d/%d"):format(from, #text - 1, #text) end
  if how ~= "short" and how ~= "long" then headers[#headers + 1] = "Content-Length: " .. #rest end
  if how == "cut" or (how == "cut once" or how == "norange" or how == "stall once") and seen[name] == 1 then
    rest = rest:sub(1, math.ceil(#text / 3))
  elseif how == "slow" then
    rest = rest:sub(1, 100)
  elseif how == "trickle" then
    rest = rest:sub(1, 10)
  end
  answer(fd, from > 0 and 206 or 200, headers, rest)
  if how == "slow" or how == "stall once" and seen[name] == 1 then stall(fd) end
end

local function serve(fd)
  local request = receive(fd)
  if not request then return end
  local method, path = request:match "^(%u+) /(%S*)"
  local range = request:match "\r\n[Rr]ange: ([^\r]*)"
  note(("%s /%s%s"):format(method, path, range and " " .. range or ""))
  local where = path:gsub("^cdn/", ""):gsub("^api/", "")
  local repo, name = where:match "^(timm/[^/]+)/resolve/main/([^/]+)$"
  local file = repo and ("%s/%s/%s"):format(root, repo, name)
  local text = file and read(file)
  local how = repo and read(("%s/%s/behaviour"):format(root, repo)) or ""
  if tonumber(how) then return answer(fd, tonumber(how), { "Content-Length: 0" }) end
  if how == "silent" then return stall(fd) end
  if not text then return answer(fd, 404, { "Content-Length: 0" }) end
  if path:find "^cdn/" then
    bytes(fd, where, text, how, range)
  elseif how == "relative" and not path:find "^api/" then
    answer(fd, 307, { "Location: /api/" .. where, "Content-Length: 0" })
  elseif name == "config.json" or how == "direct" then
    answer(fd, 200, { ('ETag: "%s"'):format(how == "direct" and sha256(file) or ("0123456789"):rep(4)), "Content-Length: " .. #text },
      method ~= "HEAD" and text or nil)
  else
    linked(fd, where, file, text, how)
  end
end

local ready = assert(io.open(root .. "/port.new", "wb"))
ready:write(port)
ready:close()
os.rename(root .. "/port.new", root .. "/port")
while true do
  local fd = C.accept(listener, nil, nil)
  if fd >= 0 then
    local ok, why = pcall(serve, fd)
    if not ok then note("error " .. tostring(why)) end
    C.close(fd)
  end
end
