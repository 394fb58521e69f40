-- memory.lua: peak memory of a training step (forward, backward, AdamW) beside PyTorch, as a table.
--   FOODRT_PEERS=DIR foodrt spec/bench/memory.lua [MODEL ...] [--size 224] [--batch 8] [--threads 2] [--steps 16]
-- Peak resident set of the whole process; of ours also the arena, how far it lies above the most bytes alive at once, and what
-- the resident set grows by from the middle step to the last. PyTorch in channels_last with glibc's malloc as it is and told to
-- keep its memory (which makes it faster); ratios are to the smaller of the two. --checkpoint and --memory as own_train.lua.
local compare = dofile((arg[0]:match "^(.*/)" or "./") .. "compare.lua")
local o, models = compare.options("memory", { size = "224", batch = "8", threads = "2", steps = "16" })
if #models == 0 then
  models = { "efficientnet_b0", "efficientnet_b4", "resnet50", "convnext_tiny", "vit_base_patch16_224" }
end
local peers = compare.peers "memory"

print(("peak memory of a training step, %s x %s, batch %s, fp32, %s threads"):format(o.size, o.size, o.batch, o.threads))
print(("%-22s %-22s %9s %7s %9s %8s %9s %9s"):format("", "", "RSS MB", "ratio", "arena MB", "bound +%", "growth MB", "best ms"))

local function row(model, name, r, least)
  local function number(format, v) return v and format:format(v) or "" end
  print(("%-22s %-22s %9.0f %7s %9s %8s %9s %9.1f"):format(model, name, r.rss, number("%.2fx", least and r.rss / least),
    number("%.1f", r.arena), number("%.2f", r.above), number("%.1f", r.growth), r.wall))
  io.flush()
end

for _, model in ipairs(models) do
  local tail = ("%s %s %s %s"):format(model, o.size, o.batch, o.threads)
  local peer = {}
  for i, tuned in ipairs { true, false } do
    peer[i] = compare.run("PyTorch", compare.python(peers, "peer_train.py ", tuned) .. tail .. " 4")
  end
  local least = math.min(peer[1].rss, peer[2].rss)
  for _, side in ipairs { { "foodrt", "" }, { "foodrt, checkpoint", " --checkpoint" }, { "foodrt, memory = 1M", " --memory 1M" } } do
    row(model, side[1], compare.run(side[1], ("%s %sown_train.lua %s %s --plan%s"):format(compare.own, compare.here, tail, o.steps,
      side[2])), least)
  end
  row(model, "PyTorch, malloc keeps", peer[1], least)
  row(model, "PyTorch, plain malloc", peer[2], least)
end
