-- train_step.lua: one training step beside PyTorch, interleaved on this machine; medians and ratios as a table.
--   FOODRT_PEERS=DIR foodrt spec/bench/train_step.lua [MODEL ...] [--size 224] [--batch 8] [--threads 2] [--rounds 3]
--                                                     [--steps 6] [--stock] [--compiled] [--bf16] [--head]
-- The peer is tuned: channels_last, malloc told to keep its memory. --stock adds PyTorch out of the box, --compiled
-- torch.compile. --bf16: precision = "bf16" beside bf16 autocast. --head: all but the classifier is frozen (no peer:
-- beside our own forward pass).
local compare = dofile((arg[0]:match "^(.*/)" or "./") .. "compare.lua")
local o, models = compare.options("train_step", { size = "224", batch = "8", threads = "2", rounds = "3", steps = "6",
  stock = false, compiled = false, bf16 = false, head = false })
if #models == 0 then models = { "efficientnet_b0", "efficientnet_b4" } end
local peers = not o.head and compare.peers "train_step"

compare.head(("training step%s, %s x %s, batch %s, %s, %s threads; medians of %s interleaved runs"):format(
  o.head and " of the head" or "", o.size, o.size, o.batch, o.bf16 and "bf16" or "fp32", o.threads, o.rounds))
for _, model in ipairs(models) do
  local tail = ("%s %s %s %s %s%s"):format(model, o.size, o.batch, o.threads, o.steps, o.bf16 and " --bf16" or "")
  local function own(script) return ("%s %s%s %s"):format(compare.own, compare.here, script, tail) end
  local sides = { { "foodrt", own "own_train.lua" } }
  if o.head then
    sides = { { "forward pass", own "own_infer.lua" }, { "head step", own "own_train.lua" .. " --head" } }
  else
    local function torch(tuned, flags) return compare.python(peers, "peer_train.py ", tuned) .. tail .. flags end
    sides[2] = { "PyTorch", torch(true, "") }
    if o.stock then sides[#sides + 1] = { "PyTorch (stock)", torch(false, " --contiguous") } end
    if o.compiled then sides[#sides + 1] = { "torch.compile", torch(true, " --compile") } end
  end
  compare.rows(model, sides, tonumber(o.rounds), tonumber(o.batch))
end
