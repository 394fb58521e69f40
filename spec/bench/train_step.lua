-- train_step.lua: one training step beside PyTorch, interleaved on this machine; medians and ratios as a table.
--   FOODRT_PEERS=DIR foodrt spec/bench/train_step.lua [MODEL ...] [--size 224] [--batch 8] [--threads 2] [--rounds 3] [--stock]
-- The peer is tuned: channels_last, malloc told to keep its memory. --stock adds PyTorch out of the box.
local peers = os.getenv "FOODRT_PEERS"
if not peers then
  io.stderr:write "train_step: set FOODRT_PEERS to the folder that spec/bench/install_peers.sh made\n"
  os.exit(2)
end
local o, models = { size = "224", batch = "8", threads = "2", rounds = "3", steps = "6" }, {}
local i = 1
while arg[i] do
  local key = arg[i]:match "^%-%-(%w+)$"
  if key == "stock" then
    o.stock = true
  elseif key and o[key] then
    i = i + 1
    o[key] = arg[i]
  elseif key then
    io.stderr:write("train_step: unknown option --", key, "\n")
    os.exit(2)
  else
    models[#models + 1] = arg[i]
  end
  i = i + 1
end
if #models == 0 then models = { "efficientnet_b0", "efficientnet_b4" } end

local here = arg[0]:match "^(.*/)" or "./"
local own = require("foodrt.host").root .. "/bin/foodrt"
local function command(kind, model)
  local tail = ("%s %s %s %s %s"):format(model, o.size, o.batch, o.threads, o.steps)
  if kind == "foodrt" then return ("%s %sown_train.lua %s"):format(own, here, tail) end
  local tuned = kind == "PyTorch" and "MALLOC_MMAP_THRESHOLD_=1000000000000 MALLOC_TRIM_THRESHOLD_=1000000000000 " or ""
  local flag = kind == "PyTorch" and "" or " --contiguous"
  return (". %s/env.sh && %s%s/venv/bin/python %speer_train.py %s%s"):format(peers, tuned, peers, here, tail, flag)
end

-- the best step of a run (the first warms up), and its peak memory
local function run(kind, model)
  local pipe = io.popen(command(kind, model) .. " 2>&1")
  local best, cpu, rss, text = math.huge, math.huge, nil, {}
  for line in pipe:lines() do
    text[#text + 1] = line
    local wall, used = line:match "^([%d%.]+) ([%d%.]+)$"
    if wall then
      best, cpu = math.min(best, tonumber(wall)), math.min(cpu, tonumber(used))
    end
    rss = tonumber(line:match "^rss ([%d%.]+)") or rss
  end
  pipe:close()
  if not rss then error(kind .. " failed:\n" .. table.concat(text, "\n"), 0) end
  return { wall = best, cpu = cpu, rss = rss }
end

local function median(list, key)
  local values = {}
  for k, v in ipairs(list) do values[k] = v[key] end
  table.sort(values)
  return values[math.floor((#values + 1) / 2)]
end

local kinds = o.stock and { "foodrt", "PyTorch", "PyTorch (stock)" } or { "foodrt", "PyTorch" }
print(("training step, %s x %s, batch %s, fp32, %s threads; medians of %s interleaved runs"):format(o.size, o.size,
  o.batch, o.threads, o.rounds))
print(("%-18s %-16s %10s %10s %9s %9s %8s"):format("model", "", "ms", "CPU ms", "photo/s", "RSS MB", "ratio"))
for _, model in ipairs(models) do
  local results = {}
  for _ = 1, tonumber(o.rounds) do
    for _, kind in ipairs(kinds) do
      results[kind] = results[kind] or {}
      table.insert(results[kind], run(kind, model))
    end
  end
  local own_ms = median(results.foodrt, "wall")
  for _, kind in ipairs(kinds) do
    local wall = median(results[kind], "wall")
    print(("%-18s %-16s %10.1f %10.1f %9.1f %9.0f %7.2fx"):format(model, kind, wall, median(results[kind], "cpu"),
      tonumber(o.batch) * 1e3 / wall, median(results[kind], "rss"), wall / own_ms))
  end
end
