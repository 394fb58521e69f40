-- loader.lua: photos read, cropped at random, flipped and jittered on one core, beside torchvision with Pillow.
--   FOODRT_PEERS=DIR foodrt spec/bench/loader.lua ROOT [--size 224] [--rounds 3] [--epochs 2]
-- ROOT has train/CLASS/*.jpg. Lines are per 1,000 photos.
local compare = dofile((arg[0]:match "^(.*/)" or "./") .. "compare.lua")
local o, roots = compare.options("loader", { size = "224", rounds = "3", epochs = "2" })
local peers = compare.peers "loader"
if #roots == 0 then roots[1] = "data/sample" end

compare.head(("1,000 photos to %s x %s on one core; medians of %s interleaved runs"):format(o.size, o.size, o.rounds))
for _, root in ipairs(roots) do
  compare.rows(root:match "[^/]*$", {
    { "foodrt", ("taskset -c 0 %s %sown_loader.lua %s %s 1 %s"):format(compare.own, compare.here, root, o.size, o.epochs) },
    { "torchvision", (compare.python(peers, "peer_loader.py ", true):gsub("&& ", "&& taskset -c 0 env ", 1))
      .. ("%s %s %s"):format(root, o.size, o.epochs) },
  }, tonumber(o.rounds), 1000)
end
