-- infer.lua: one forward pass at evaluation beside onnxruntime, OpenVINO and PyTorch, interleaved on this machine.
--   FOODRT_PEERS=DIR foodrt spec/bench/infer.lua [MODEL ...] [--size 224] [--batches 1,8] [--threads 2] [--rounds 3] [--steps 12]
local compare = dofile((arg[0]:match "^(.*/)" or "./") .. "compare.lua")
local o, models = compare.options("infer", { size = "224", batches = "1,8", threads = "2", rounds = "3", steps = "12" })
if #models == 0 then models = { "efficientnet_b4", "resnet50" } end
local peers = compare.peers "infer"

compare.head(("forward pass, %s x %s, fp32, %s threads; medians of %s interleaved runs"):format(o.size, o.size, o.threads,
  o.rounds))
for _, model in ipairs(models) do
  for batch in o.batches:gmatch "%d+" do
    local tail = ("%s %s %s %s %s"):format(model, o.size, batch, o.threads, o.steps)
    local sides = { { "foodrt", ("%s %sown_infer.lua %s"):format(compare.own, compare.here, tail) } }
    for _, kind in ipairs { "onnxruntime", "openvino", "pytorch" } do
      sides[#sides + 1] = { kind, compare.python(peers, "peer_infer.py " .. kind .. " ", true) .. tail }
    end
    compare.rows(model .. " x " .. batch, sides, tonumber(o.rounds), tonumber(batch))
  end
end
