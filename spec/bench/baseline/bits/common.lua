-- common.lua: what the tiny recipes share: photos, and hooks that print what a training came to, in every bit.
local frt = require "foodrt"
local augment = frt.augment
local common = {}

--- the kit's photos (-o data.root says where they are), 240 to train on
function common.data(size, batch, more)
  local o = { "photos", size = size, batch = batch or 16,
    train = { augment.random_resized_crop { scale = { 0.4, 1 } }, augment.flip {}, augment.color_jitter { 0.2, 0.2, 0.2 } } }
  for key, value in pairs(more or {}) do o[key] = value end
  return frt.data.folder(o)
end

-- FNV-1a over the doubles of a list, seeded with a name
local ffi, bit = require "ffi", require "bit"
local word = ffi.new "union { double number; uint64_t bits; }"
local PRIME, START = 0x100000001b3ULL, 0xcbf29ce484222325ULL

local function mix(h, v)
  word.number = v
  h = bit.bxor(h, word.bits) * PRIME
  return bit.bxor(h, bit.rshift(h, 29))
end

local function mix_list(h, list)
  for i = 1, #list do
    if type(list[i]) == "table" then
      h = mix_list(h, list[i])
    else
      h = mix(h, list[i])
    end
  end
  return h
end

--- 16 digits that follow from the names and values of a module's parameters and buffers, however they are stored
function common.hash(model)
  local dict, names = model:state_dict(), {}
  for name in pairs(dict) do names[#names + 1] = name end
  table.sort(names)
  local h = START
  for _, name in ipairs(names) do
    for i = 1, #name do h = mix(h, name:byte(i)) end
    local values = dict[name]:reshape { dict[name]:numel() }:totable()
    h = mix_list(h, values)
  end
  return bit.tohex(h)
end

local function say(...)
  print("bits " .. (...):format(select(2, ...)))
end

--- hooks: a line per update and epoch, and what the best checkpoint measures.
--- in   o  averages: whether there are averages of the weights; stop: where FOODRT_BASELINE_STOP is set the process ends after so
---         many updates, as if it were killed
function common.on(o)
  o = o or {}
  return {
    step_end = function(run)
      say("step %d loss %.17g", run.step, run.loss_value)
      if run.step == o.stop and os.getenv "FOODRT_BASELINE_STOP" then os.exit(0) end
    end,
    epoch_end = function(run)
      say("epoch %d weights %s", run.epochs, common.hash(run.model))
      if not o.averages then return end
      run:with_averages(function() say("epoch %d measured %s", run.epochs, common.hash(run.model)) end)
    end,
    run_end = function(run)
      local v = run:evaluate "test"
      say("best loss %.17g top1 %.17g f1 %.17g", v.loss, v.top1, v.f1)
    end,
  }
end

return common
