-- baseline.lua: whether this tree still plans, computes and takes as long as a reference commit: the guard of rebuilding.
--   foodrt spec/bench/baseline.lua plans|bits|speed|all [--against DIR]
-- DIR is a checkout of the reference (`git worktree add DIR d27c7c6`), built or not; FOODRT_BASE names it as well.
--
--   plans   every step of the plans of 20 models, in training and evaluation, fp32 and bf16, with checkpoints and memory limits,
--           and of all recipes: text, compared line by line. Nothing is computed. --only TEXT: models with it in their name
--   bits    eight tiny trainings through recipes, and hashes of their weights and losses. --only TEXT likewise
--   speed   paired and interleaved: spec/bench/baseline/speed.lua says what and how
--   all     plans, bits, and a short speed
--
-- The reference's plans and hashes are kept under build/baseline/ by commit, so that after a commit only this tree works.
-- Exit status 1 where anything differs or is not shown to be as fast. What differs on purpose stands in a list with its
-- reason: RENAMED in plans.lua.
local top = arg[0]:match "^(.*/)" or "./"
local here = top .. "baseline/"
local trees = dofile(here .. "trees.lua")
local compare = dofile(top .. "compare.lua")
local o, what = compare.options("baseline", { against = os.getenv "FOODRT_BASE" or "", only = "", rounds = "", cases = "",
  plain = false })
local PARTS = { plans = true, bits = true, speed = true, all = true }
if #what ~= 1 or not PARTS[what[1]] then trees.fail "which part? plans, bits, speed or all" end
if o.against == "" then trees.fail "--against DIR (or FOODRT_BASE): a checkout of the commit to compare with" end

local new, old = trees.of("here", top .. "../.."), trees.of("reference", o.against)
local keep = new.dir .. "/build/baseline"
local photos = keep .. "/photos"
os.execute("mkdir -p " .. trees.quote(keep))
dofile(here .. "photos.lua").draw(photos, new.dir .. "/data/sample.lua")

local function clock() return tonumber(trees.line "date +%s.%N") end

print(("%s here, %s as the reference"):format(new.commit:sub(1, 13), old.commit:sub(1, 13)))
local failed = 0
local only = o.only ~= "" and o.only or nil
for _, part in ipairs { "plans", "bits", "speed" } do
  if what[1] == part or what[1] == "all" then
    local began = clock()
    local bad, words = assert(loadfile(here .. part .. ".lua"))(here).run(new, old, keep, photos, only, o)
    failed = failed + bad
    print(("%s: %s; %.0f s"):format(part, words, clock() - began))
    io.flush()
  end
end
os.exit(failed == 0 and 0 or 1)
