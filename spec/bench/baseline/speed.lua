-- speed.lua: this tree's time over the reference's. A round starts a process of each, which take turns: here, reference,
-- reference, here, and the other way round in the next round. Its ratio is that of each side's better turn; what counts is the
-- median of the rounds, and its 95 % interval by order statistics (from 6 rounds on). At real-time priority where allowed.
--   --rounds 30    for a judgement; 6 when left out, which shows what is much slower
--   --cases TEXT   cases with one of these words in their name ("infer,loader"), or all; a short list when left out
--   --plain        at the priority of any other program
-- As fast means: the interval ends at 1.02 or below. Slower: it begins above that. Between them more rounds are needed: that
-- fails a judgement, and only that.
local here = ...
local trees = dofile(here .. "trees.lua")
local speed = {}

local LIMIT, TURN_S, JUDGEMENT = 1.02, 0.1, 30

local CASES = {
  { "train efficientnet_b4 fp32", short = true }, { "train efficientnet_b4 bf16" }, { "train resnet50 fp32" },
  { "train resnet50 bf16" }, { "train vit_base_patch16_224 fp32" }, { "train vit_base_patch16_224 bf16" },
  { "infer efficientnet_b4 1", short = true }, { "infer efficientnet_b4 8" }, { "infer resnet50 1" }, { "infer resnet50 8" },
  { "infer vit_base_patch16_224 1" },
  { "loader", short = true }, { "record", short = true }, { "replay", short = true },
  { "start", short = true, command = "-e 'print(1)'" },
  { "explain", command = "explain recipes/effnet_b4_focal.lua -o data.root=nowhere" },
}

-- --- sides: ask(k) -> seconds of one, the median of k; close() ---------------------------------------------------
local function median(list)
  table.sort(list)
  local n = #list
  return n % 2 == 1 and list[(n + 1) / 2] or (list[n / 2] + list[n / 2 + 1]) / 2
end

-- a process that answers
local function worker(tree, case, photos, keep, priority)
  local fifo = ("%s/%s.fifo"):format(keep, tree.name)
  trees.run(("rm -f %s && mkfifo %s"):format(trees.quote(fifo), trees.quote(fifo)))
  local pipe = io.popen(("exec %s%s %sspeed_worker.lua '%s' %s <%s 2>&1"):format(priority, tree.binary, trees.quote(here), case[1],
    trees.quote(photos), trees.quote(fifo)))
  local input = assert(io.open(fifo, "w"))
  local function answer(want)
    local line = pipe:read "*l"
    if line and line:find(want) then return line end
    error(("%s, %s: %s\n%s"):format(case[1], tree.name, line or "ended", line and pipe:read "*a" or ""), 0)
  end
  answer "^ready$"
  return {
    ask = function(k)
      input:write(k, "\n")
      input:flush()
      return tonumber((answer "^[%d%.]+$"))
    end,
    close = function()
      input:write "end\n"
      input:close()
      pipe:close()
      os.remove(fifo)
    end,
  }
end

local ffi = require "ffi"
ffi.cdef "typedef struct { long s, ns; } baseline_clock; int clock_gettime(int, baseline_clock *);"
local time = ffi.new "baseline_clock"
local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.s) + 1e-9 * tonumber(time.ns)
end

-- a process for each answer
local function command(tree, case, priority)
  local line = ("cd %s && exec %s%s %s >/dev/null 2>&1"):format(trees.quote(tree.dir), priority, tree.binary, case.command)
  local function one()
    local began = now()
    if os.execute(line) ~= 0 then error(line .. " failed", 0) end
    return now() - began
  end
  one()
  return {
    ask = function(k)
      local took = {}
      for i = 1, k do took[i] = one() end
      return median(took)
    end,
    close = function() end,
  }
end

-- --- what the rounds say ---------------------------------------------------------------------------------------
-- ranks of the order statistics that enclose the median with 95 % at least; nil where so few values can't
local function ranks(n)
  local p, sum, j = 0.5 ^ n, 0, 0  -- of 0 heads in n throws
  while j < n do
    sum = sum + p
    if sum > 0.025 then break end
    j = j + 1
    p = p * (n - j + 1) / j
  end
  if j == 0 then return nil end
  return j, n + 1 - j
end

-- One round: a new pair of processes, for where memory happens to lie makes up to 5 % between two processes of one program.
-- The side `first` starts first and has the outer turns. Returns k and each side's better turn.
local function round_of(start, first, k)
  local sides, best = {}, { math.huge, math.huge }
  for _, i in ipairs { first, 3 - first } do sides[i] = start(i) end
  k = k or math.max(1, math.min(200, math.ceil(TURN_S / sides[2].ask(1))))
  for _, i in ipairs { first, 3 - first, 3 - first, first } do best[i] = math.min(best[i], sides[i].ask(k)) end
  for i = 1, 2 do sides[i].close() end
  return k, best
end

-- the rounds' ratios in ascending order, each side's median
local function measure(case, both, keep, photos, rounds, priority)
  local ratios, took, k = {}, { {}, {} }, nil
  local function start(i)
    if case.command then return command(both[i], case, priority) end
    return worker(both[i], case, photos, keep, priority)
  end
  for round = 1, rounds do
    local best
    k, best = round_of(start, round % 2 == 1 and 1 or 2, k)
    ratios[round], took[1][round], took[2][round] = best[1] / best[2], best[1], best[2]
  end
  table.sort(ratios)
  return ratios, median(took[1]), median(took[2])
end

local function wanted(case, cases)
  if cases == "" then return case.short end
  if cases == "all" then return true end
  for word in cases:gmatch "[^,]+" do
    if case[1]:find(word, 1, true) then return true end
  end
  return false
end

-- "as fast", "SLOWER", "NOT SHOWN" of an interval
local function verdict(low, high)
  if not low then return "NOT SHOWN", "too few rounds to say" end
  if high <= LIMIT then return "as fast", ("ends at %.2f or below"):format(LIMIT) end
  if low > LIMIT then return "SLOWER", ("begins above %.2f"):format(LIMIT) end
  return "NOT SHOWN", ("ends above %.2f"):format(LIMIT)
end

--- measures; out how many cases fail, and in words what came out
function speed.run(new, old, keep, photos, only, o)
  local rounds = tonumber(o.rounds ~= "" and o.rounds or 6) or trees.fail("--rounds must be a number, got '%s'", o.rounds)
  local cases = o.cases ~= "" and o.cases or only or ""
  local priority = not o.plain and os.execute "chrt -f 1 true 2>/dev/null" == 0 and "chrt -f 1 " or ""
  print(("%-34s %10s %10s %7s  %s"):format(("%d rounds%s"):format(rounds, priority ~= "" and ", real-time priority" or ""),
    "here, ms", "there, ms", "ratio", "95 % interval"))
  local count, n = { ["as fast"] = 0, SLOWER = 0, ["NOT SHOWN"] = 0 }, 0
  for _, case in ipairs(CASES) do
    if wanted(case, cases) then
      local ratios, a, b = measure(case, { new, old }, keep, photos, rounds, priority)
      local j, l = ranks(rounds)
      local low, high = ratios[j or 1], ratios[l or rounds]
      local kind, why = verdict(j and low, high)
      count[kind], n = count[kind] + 1, n + 1
      print(("%-34s %10.3f %10.3f %7.4f  %.4f to %.4f  %s: %s"):format(case[1], a * 1e3, b * 1e3, median(ratios), low, high, kind, why))
      io.flush()
    end
  end
  if n == 0 then trees.fail("no case has '%s' in its name", cases) end
  return count.SLOWER + (rounds >= JUDGEMENT and count["NOT SHOWN"] or 0),
    ("%d of %d as fast, %d slower, %d not shown to be either"):format(count["as fast"], n, count.SLOWER, count["NOT SHOWN"])
end

return speed
