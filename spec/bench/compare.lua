-- compare.lua: what the benchmarks share: options, interleaved runs, medians and ratios as a table.
local compare = {}

--- the command line's options over `defaults` ({ size = "224", stock = false, … }; booleans are flags) and the rest.
function compare.options(name, defaults)
  local o, rest, i = {}, {}, 1
  for key, value in pairs(defaults) do o[key] = value end
  while arg[i] do
    local key = arg[i]:match "^%-%-(%w+)$"
    if key and type(o[key]) == "boolean" then
      o[key] = true
    elseif key and o[key] then
      i = i + 1
      o[key] = arg[i]
    elseif key then
      io.stderr:write(name, ": unknown option --", key, "\n")
      os.exit(2)
    else
      rest[#rest + 1] = arg[i]
    end
    i = i + 1
  end
  return o, rest
end

--- the folder that install_peers.sh made.
function compare.peers(name)
  local peers = os.getenv "FOODRT_PEERS"
  if peers then return peers end
  io.stderr:write(name, ": set FOODRT_PEERS to the folder that spec/bench/install_peers.sh made\n")
  os.exit(2)
end

compare.here = arg[0]:match "^(.*/)" or "./"
compare.own = require("foodrt.host").root .. "/bin/foodrt"

--- a peer's command. tuned: malloc keeps its memory, which PyTorch gains from.
function compare.python(peers, script, tuned)
  local malloc = tuned and "MALLOC_MMAP_THRESHOLD_=1000000000000 MALLOC_TRIM_THRESHOLD_=1000000000000 " or ""
  return (". %s/env.sh && %s%s/venv/bin/python %s%s"):format(peers, malloc, peers, compare.here, script)
end

--- the best step of a command's run (the first warms up) and its peak memory: { wall, cpu, rss } and what own_train.lua says
--- with --plan: arena, above, growth.
function compare.run(name, command)
  local pipe = io.popen(command .. " 2>&1")
  local best, cpu, rss, text, more = math.huge, math.huge, nil, {}, {}
  for line in pipe:lines() do
    text[#text + 1] = line
    local wall, used = line:match "^([%d%.]+) ([%d%.]+)$"
    if wall then
      best, cpu = math.min(best, tonumber(wall)), math.min(cpu, tonumber(used))
    end
    rss = tonumber(line:match "^rss ([%d%.]+)") or rss
    local key, value = line:match "^(%a+) (%-?[%d%.]+)$"
    if key then more[key] = tonumber(value) end
  end
  pipe:close()
  if not rss then error(name .. " failed:\n" .. table.concat(text, "\n"), 0) end
  return { wall = best, cpu = cpu, rss = rss, arena = more.arena, above = more.above, growth = more.growth }
end

local function median(list, key)
  local values = {}
  for k, v in ipairs(list) do values[k] = v[key] end
  table.sort(values)
  return values[math.floor((#values + 1) / 2)]
end

--- the head of the table
function compare.head(title)
  print(title)
  print(("%-22s %-16s %10s %10s %9s %9s %8s"):format("", "", "ms", "CPU ms", "photo/s", "RSS MB", "ratio"))
end

--- runs every side `rounds` times, in turns, and prints a line for each; ratios are to the first side's time.
--- in   label   of the lines
---      sides   { { name, command }, … }
---      photos  of one step
function compare.rows(label, sides, rounds, photos)
  local results = {}
  for _ = 1, rounds do
    for i, side in ipairs(sides) do
      results[i] = results[i] or {}
      table.insert(results[i], compare.run(side[1], side[2]))
    end
  end
  local first = median(results[1], "wall")
  for i, side in ipairs(sides) do
    local wall = median(results[i], "wall")
    print(("%-22s %-16s %10.1f %10.1f %9.1f %9.0f %7.2fx"):format(label, side[1], wall, median(results[i], "cpu"),
      photos * 1e3 / wall, median(results[i], "rss"), wall / first))
  end
  io.flush()
end

return compare
