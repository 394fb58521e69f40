--- progress: what people see of a run: one live line on a terminal, plain lines elsewhere.
---   local p = progress.new()
---   p:update { label = "head 2/3", done = 112, total = 250, seconds = 31, rate = 3.6, fields = { "loss 1.231" } }
---   p:say "head 2/3: val top1 0.43"
local progress = {}
local Progress = {}
Progress.__index = Progress

local REDRAW_S = 0.1  -- between two drawings of the live line
local PLAIN_S = 10    -- between two plain lines, or a tenth of the way when that takes longer

local function now()
  return require("foodrt.core.ffi").C.frt_now()
end

--- in   o.live   draw one line over and over (default: standard error is a terminal)
---      o.out, o.err  files (default: standard output and error)
function progress.new(o)
  o = o or {}
  local host = package.loaded["foodrt.host"]
  local live = o.live
  if live == nil then live = host ~= nil and host.isatty(2) end
  return setmetatable({ live = live, out = o.out or io.stdout, err = o.err or io.stderr, host = host, drawn = 0, at = 0,
    tenth = 0, columns = o.columns }, Progress)
end

--- seconds as 00:31 or 1:02:03.
function progress.clock(s)
  s = math.max(0, math.floor(s + 0.5))
  if s >= 3600 then return ("%d:%02d:%02d"):format(s / 3600, s / 60 % 60, s % 60) end
  return ("%02d:%02d"):format(s / 60, s % 60)
end

local PART = { [0] = "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

--- a bar of `width` columns, `share` of it filled, in eighths.
function progress.bar(share, width)
  local eighths = math.floor(math.max(0, math.min(1, share)) * width * 8 + 0.5)
  local whole, part = math.floor(eighths / 8), eighths % 8
  return ("█"):rep(whole) .. PART[part] .. (" "):rep(width - whole - (part > 0 and 1 or 0))
end

-- Characters of a text in UTF-8.
local function width_of(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

local function cut(text, width)
  local n, at = 0, 1
  while at <= #text do
    local c = text:byte(at)
    local bytes = c < 0x80 and 1 or c < 0xe0 and 2 or c < 0xf0 and 3 or 4
    n = n + 1
    if n > width then return text:sub(1, at - 1) end
    at = at + bytes
  end
  return text
end

local function speed(rate)
  if not rate or rate <= 0 then return nil end
  if rate >= 1 then return ("%.3g step/s"):format(rate) end
  return ("%.3g s/step"):format(1 / rate)
end

local function left(p)
  if p.left_s then return p.left_s end
  if p.done == 0 then return nil end
  return p.seconds / p.done * (p.total - p.done)
end

-- " head 2/3 ████▌      45% 112/250 [00:31<00:38, 3.6 step/s, loss 1.231, …]"
local function live_line(self, p)
  local columns = self.columns or self.host and self.host.columns() or 80
  local share = p.total > 0 and p.done / p.total or 1
  local eta = left(p)
  local inner = { progress.clock(p.seconds) .. "<" .. (eta and progress.clock(eta) or "?"), speed(p.rate) }
  for _, field in ipairs(p.fields) do inner[#inner + 1] = field end
  local tail = (" %3d%% %d/%d [%s]"):format(share * 100, p.done, p.total, table.concat(inner, ", "))
  local head = " " .. p.label .. " "
  local room = math.max(4, math.min(20, columns - 1 - width_of(head) - width_of(tail)))
  return cut(head .. progress.bar(share, room) .. tail, columns - 1)
end

local function plain_line(p)
  local eta = left(p)
  local parts = { ("%s: %d%% (%d/%d)"):format(p.label, p.total > 0 and p.done / p.total * 100 or 100, p.done, p.total),
    speed(p.rate) }
  for _, field in ipairs(p.fields) do parts[#parts + 1] = field end
  if eta then parts[#parts + 1] = progress.clock(eta) .. " left" end
  return table.concat(parts, ", ")
end

--- whether it is time to show something: what it takes to say costs more than to ask.
--- in   p  { label, done, total }
function Progress:due(p)
  local t = now()
  if self.live then return t - self.at >= REDRAW_S or p.done >= p.total end
  if self.label ~= p.label then self.label, self.at = p.label, t end
  return t - self.at >= PLAIN_S and p.done < p.total
end

--- shows how far something is, if it is time to. The last step of it is shown by what is said then.
function Progress:update(p)
  if not self:due(p) then return end
  local t = now()
  if self.live then
    local text = live_line(self, p)
    self.err:write("\r", text, (" "):rep(math.max(0, self.drawn - width_of(text))))
    self.err:flush()
    self.drawn, self.at = width_of(text), t
    return
  end
  self.at = t
  self:say(plain_line(p))
end

--- clears the live line.
function Progress:clear()
  if self.drawn > 0 then
    self.err:write("\r", (" "):rep(self.drawn), "\r")
    self.err:flush()
    self.drawn = 0
  end
end

--- a line that stays.
function Progress:say(fmt, ...)
  self:clear()
  local text = select("#", ...) > 0 and fmt:format(...) or fmt
  self.out:write(require("foodrt.core.text").safe(text, true), "\n")
  self.out:flush()
end

return progress
