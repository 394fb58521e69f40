--- fetch: one file from a web server: what the server announces, then the bytes, which go on where an earlier transfer broke
--- off, are checked against what was announced, and only then take the file's name. Nothing here raises: nil, why.
---   local done, why = fetch.file { url = "https://…/model.safetensors", path = "model.safetensors" }
local lib = require "foodrt.core.ffi"
local ffi, C = lib.ffi, lib.C
local fetch = {}

local STEP_MS = 100
local ATTEMPTS = 5    -- of a transfer that breaks off; each must have brought something
local REDIRECTS = 8

--- seconds that a server may say nothing: FOODRT_HUB_TIMEOUT, else 30.
function fetch.silent_s()
  local given = os.getenv "FOODRT_HUB_TIMEOUT"
  if not given or given == "" then return 30 end
  local n = tonumber(given)
  if not n or n % 1 ~= 0 or n < 1 or n > 86400 then
    error(("foodrt: FOODRT_HUB_TIMEOUT must be whole seconds from 1, got '%s'"):format(given), 0)
  end
  return n
end

local function last_error()
  return ffi.string(C.frt_error_last())
end

local WORDS = { [401] = "it is not there, or not for everybody (401)", [403] = "the server forbids it (403)",
  [404] = "it is not there (404)", [429] = "the server has had too many requests, try later (429)" }

local running, bytes = ffi.new "int32_t[1]", ffi.new "uint64_t[1]"

-- one transfer to its end; out: true or nil, why; status of the last answer, text of all headers, length of the file
local function transfer(url, path, limit, watch)
  local made = ffi.new "frt_fetch *[1]"
  if C.frt_fetch_start(url, path, limit or 0, fetch.silent_s(), made) ~= 0 then return nil, last_error() end
  local f = ffi.gc(made[0], C.frt_fetch_free)
  local ok, why = true, nil
  repeat
    if C.frt_fetch_step(f, STEP_MS, running, bytes) ~= 0 then
      ok, why = nil, last_error()
    elseif watch then
      watch(tonumber(bytes[0]))
    end
  until not ok or running[0] == 0
  local status, headers = C.frt_fetch_status(f), ffi.string(C.frt_fetch_headers(f))
  ffi.gc(f, nil)
  C.frt_fetch_free(f)
  if not ok and status >= 400 then why = WORDS[status] or ("the server answers with %d"):format(status) end
  return ok, why, status, headers
end

-- headers of the last answer by lower-case name
local function parse(text)
  local out = {}
  for line in text:gmatch "[^\r\n]+" do
    local name, value = line:match "^([%w-]+):%s*(.-)%s*$"
    if line:find "^HTTP/" then
      out = {}
    elseif name then
      out[name:lower()] = value
    end
  end
  return out
end

local function origin(url)
  return url:match "^%a+://[^/]+"
end

--- what the server says of a file: { url, size, etag, sha256 (where the etag is one) }. The hub sends big files elsewhere,
--- and says of them in that answer what they are: only redirects within the server itself are followed.
function fetch.announced(url)
  for _ = 1, REDIRECTS do
    local ok, why, status, text = transfer(url)
    if not ok then return nil, why, status end
    local h = parse(text)
    local there = status >= 300 and status < 400 and h.location
    local etag = (h["x-linked-etag"] or h.etag or ""):gsub("^W/", ""):gsub('"', "")
    local size = tonumber(h["x-linked-size"] or not there and h["content-length"] or nil)
    if there and not h["x-linked-etag"] then
      if there:find "^/" then there = origin(url) .. there end
      if origin(there) ~= origin(url) then return { url = url } end
      url = there
    else
      return { url = url, size = size, etag = etag ~= "" and etag or nil, sha256 = #etag == 64 and etag:match "^%x+$" or nil }
    end
  end
  return nil, ("more than %d redirects"):format(REDIRECTS)
end

local function length(path)
  local _, n = require("foodrt.core.io").kind(path)
  return n or 0
end

-- brings the rest of a file; out: true, or nil, why, whether trying again makes sense
local function bring(a, part, limit, watch)
  local have = length(part)
  if a.size and have > a.size then
    os.remove(part)
    have = 0
  end
  if a.size and have == a.size then return true end
  local ok, why, status = transfer(a.url, part, a.size or limit, watch)
  local now = length(part)
  if ok and a.size and now < a.size then
    ok, why = nil, ("the transfer ended after %d of %d bytes"):format(now, a.size)
  end
  if ok then return true end
  if status == 416 or why:find("announced", 1, true) then os.remove(part) end  -- what is here is no beginning of the file
  local silent = why:find "^Operation too slow" or why:find "timed out"
  return nil, why, status == 416 or now > have and (status or 0) < 400 and not silent
end

local file

-- A beginning of a file is named NAME[.ETAG].part, and NAME[.ETAG].TAG.part while the process of that tag adds to it: locks are
-- not everywhere what they should be, and two processes that add to one file make neither.

-- the beginnings of a file: { path, tag of the process that has it or nil, etag or "" }
local function parts_of(path)
  local dir, name = path:match "^(.*/)([^/]*)$"
  local text, list = ffi.new "char *[1]", {}
  if not dir or C.frt_folder_list(dir, text) ~= 0 then return list end
  for one in ffi.string(text[0]):gmatch "[^\n]+" do
    local rest = one:sub(1, #name + 1) == name .. "." and one:match("^(.*)part$", #name + 2)
    if rest then
      local etag, tag = rest:match "^(.-)%.?(%x+%-%d+%-%x+)%.$"
      list[#list + 1] = { path = dir .. one, tag = tag, etag = etag or rest:match "^(.*)%.$" or "" }
    end
  end
  C.frt_folder_free(text[0])
  return list
end

-- whether nobody adds to a beginning any more
local function free(part)
  return not part.tag or C.frt_temp_dead(part.tag) ~= 0
end

-- beginnings of other versions of a file that is complete now
local function sweep(path)
  for _, part in ipairs(parts_of(path)) do
    if free(part) then os.remove(part.path) end
  end
end

-- makes the longest beginning with this etag this process's own; out its name, whether there is one or not
local function claim(path, etag)
  local own, best, longest = ("%s%s.%s.part"):format(path, etag and "." .. etag or "", require("foodrt.core.io").tag()), nil, -1
  for _, part in ipairs(etag and parts_of(path) or {}) do
    local n = part.etag == etag and free(part) and length(part.path) or -1
    if n > longest then best, longest = part.path, n end
  end
  if best then os.rename(best, own) end  -- of two that want it one gets it
  return own
end

-- what is left of a transfer that broke off is there for the next one
local function release(path, etag, own)
  if not etag or length(own) == 0 then
    os.remove(own)
    return
  end
  local name = ("%s.%s.part"):format(path, etag)
  if length(name) > length(own) then os.remove(own) else os.rename(own, name) end
end

-- a transfer that is complete: checked, and given the file's name
local function accept(o, a, part, resumed, last)
  local io_ = require "foodrt.core.io"
  local good, sum = pcall(io_.sha256, part)
  if not good then return nil, sum end
  if a.sha256 and sum ~= a.sha256:lower() then
    os.remove(part)
    if resumed and not last then return file(o, true) end  -- once more, from the start
    return nil, ("what came is not what was announced: its sha256 is %s, not %s"):format(sum, a.sha256)
  end
  local found = { size = length(part), sha256 = sum, checked = a.sha256 ~= nil }
  if o.ready then o.ready(found) end
  local moved, why = pcall(io_.rename, part, o.path)
  if not moved then return nil, why end
  sweep(o.path)
  return found
end

function file(o, last)
  local a, why = fetch.announced(o.url)
  if not a then return nil, why end
  if o.limit and a.size and a.size > o.limit then return nil, ("%d bytes are too many for it"):format(a.size) end
  -- another version of the file has another etag, and must not be put behind this one
  local etag = a.etag and a.etag:gsub("[^%w]", ""):sub(1, 16)
  local part = claim(o.path, etag)
  local watch = o.watch and function(done) o.watch(done, a.size) end
  local resumed = length(part) > 0
  for attempt = 1, ATTEMPTS do
    local whole, ok, again
    whole, ok, why, again = require("foodrt.core.err").catch(bring, a, part, o.limit, watch)
    if not whole then  -- interrupted
      release(o.path, etag, part)
      error(ok, 0)
    end
    if ok then break end
    if not again or attempt == ATTEMPTS then
      release(o.path, etag, part)
      return nil, why
    end
    resumed = resumed or length(part) > 0
  end
  local found, wrong = accept(o, a, part, resumed, last)
  return found, wrong
end

--- fetches a file.
--- in   o.url, o.path     from where to where; the folder must be there
---      o.limit           the most bytes to take where the server doesn't say how many there are
---      o.watch(done, total)  called while it runs; total may be nil
---      o.ready(found)    called once all is right, before the file takes its name
--- out  { size, sha256 (computed), checked = whether the server had announced it }; nil, why
function fetch.file(o)
  local found, why = file(o)
  return found, why
end

return fetch
