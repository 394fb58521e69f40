-- The loader's promises: batches depend on seed, epoch and number only; bad photos shift nothing; no leaks.
local lib = require "foodrt.core.ffi"
local augment = require "foodrt.data.augment"
local photos = require "spec.support.photos"
local process = require "spec.support.process"
local ffi, C = lib.ffi, lib.C

local SIZE = 12
local dir, manifest
local made = {}

local function manifest_of(root, classes)
  local m, n = ffi.new "frt_manifest *[1]", ffi.new "int32_t[1]"
  lib.check(C.frt_manifest_new(m, 1))
  for i, class in ipairs(classes) do
    lib.check(C.frt_manifest_scan(m[0], root .. "/" .. class, ffi.new("int32_t[1]", i - 1), n))
  end
  made[#made + 1] = m[0]
  return m[0]
end

setup(function()
  dir = process.temp_dir()
  photos.tree(dir, { train = { ant = 9, bee = 8, cat = 6 }, rotten = { good = 5, mixed = 4 }, hopeless = { bad = 3 } })
  manifest = manifest_of(dir .. "/train", { "ant", "bee", "cat" })
  process.write(dir .. "/rotten/mixed/02.bmp", "no photo")
  process.write(dir .. "/rotten/mixed/03.bmp", "")
  for i = 1, 3 do process.write(("%s/hopeless/bad/%02d.bmp"):format(dir, i), "no photo") end
end)
teardown(function()
  for _, m in ipairs(made) do C.frt_manifest_free(m) end
  process.remove(dir)
end)

local TRAIN = { augment.random_resized_crop {}, augment.flip {}, augment.rotation { 20 },
  augment.color_jitter { 0.4, 0.4, 0.4, 0.1 } }

local function view(list)
  local v = ffi.new "frt_view"
  local compiled, n = augment.compile(list)
  v.size, v.n_augment, v.augment = SIZE, n, compiled
  for c = 0, 2 do v.mean[c], v.std[c], v.fill[c] = 0.5, 0.25, 128 end
  return v, compiled
end

local function open(m, list, o)
  local v, anchor = view(list)
  local options = ffi.new("frt_loader_options", { batch = 4, shuffle = 1, threads = 2, label_base = 1, seed = 7 })
  for k, value in pairs(o or {}) do options[k] = value end
  local out = ffi.new "frt_loader *[1]"
  local status = C.frt_loader_new(out, m, v, options)
  assert(anchor)
  if status ~= 0 then return nil, ffi.string(C.frt_error_last()), tonumber(status) end
  return out[0]
end

-- Everything in a batch as one string, so that equal means equal in every bit.
local function text_of(b)
  local parts = { ("%d:"):format(b.n), ffi.string(b.x, b.n * SIZE * SIZE * 12), ffi.string(b.ids, b.n * 4) }
  for c = 0, b.n_columns - 1 do parts[#parts + 1] = ffi.string(b.labels + c * b.capacity, b.n * 4) end
  return table.concat(parts)
end

-- All batches of a loader, which it frees: { text, ids = {…}, labels = {…}, n, index }.
local function all(loader, m)
  local b, out = ffi.new "frt_batch", { bad = {} }
  while true do
    local status = C.frt_loader_next(loader, b)
    if status ~= 0 then
      out.error = ffi.string(C.frt_error_last())
      break
    end
    if b.n == 0 then break end
    local one = { text = text_of(b), ids = {}, labels = {}, n = b.n, index = b.index, n_bad = b.n_bad }
    for i = 0, b.n - 1 do
      one.ids[i + 1], one.labels[i + 1] = b.ids[i], b.labels[i]
      if m then assert(one.labels[i + 1] == C.frt_manifest_label(m, b.ids[i], 0) + 1) end
    end
    out[#out + 1] = one
  end
  local bad = ffi.new "frt_bad_photo"
  for i = 1, C.frt_loader_bad_count(loader) do
    lib.check(C.frt_loader_bad(loader, i - 1, bad))
    out.bad[i] = { id = bad.id, batch = bad.batch, why = ffi.string(bad.why), path = ffi.string(bad.path) }
  end
  C.frt_loader_free(loader)
  return out
end

local function texts(batches)
  local out = {}
  for i, b in ipairs(batches) do out[i] = b.text end
  return out
end

describe("the loader", function()
  it("makes the same batches with 1, 2 and 8 threads, in every bit", function()
    local one = all(open(manifest, TRAIN, { threads = 1, epoch = 3 }), manifest)
    assert.equal(6, #one)
    for _, threads in ipairs { 2, 8 } do
      for _, prefetch in ipairs { 1, 5 } do
        local many = all(open(manifest, TRAIN, { threads = threads, prefetch = prefetch, epoch = 3 }), manifest)
        assert.same(texts(one), texts(many))
      end
    end
  end)

  it("goes on at any batch as if it had never stopped", function()
    local whole = all(open(manifest, TRAIN, { epoch = 1 }))
    for start = 0, 6 do
      local rest = all(open(manifest, TRAIN, { epoch = 1, start = start }))
      assert.equal(6 - start, #rest)
      for i, b in ipairs(rest) do
        assert.equal(whole[start + i].text, b.text)
        assert.equal(start + i - 1, b.index)
      end
    end
    assert.equal(0, #all(open(manifest, TRAIN, { start = 99 })))
  end)

  it("shows each of the 23 photos once an epoch, in another order each epoch", function()
    local order = {}
    for epoch = 0, 2 do
      local seen, list = {}, {}
      for _, b in ipairs(all(open(manifest, TRAIN, { epoch = epoch }), manifest)) do
        for _, id in ipairs(b.ids) do
          assert.is_nil(seen[id])
          seen[id] = true
          list[#list + 1] = id
        end
      end
      assert.equal(23, #list)
      order[epoch] = table.concat(list, " ")
    end
    assert.is_true(order[0] ~= order[1] and order[1] ~= order[2] and order[0] ~= order[2])
  end)

  it("with views = 2 shows each photo as epochs 0 and 1 do, over and over, whatever its place", function()
    local function shown(epoch)
      local loader, b, out = open(manifest, TRAIN, { epoch = epoch, views = 2, batch = 1 }), ffi.new "frt_batch", {}
      while C.frt_loader_next(loader, b) == 0 and b.n > 0 do out[b.ids[0]] = ffi.string(b.x, SIZE * SIZE * 12) end
      C.frt_loader_free(loader)
      return out
    end
    local zero, one = shown(0), shown(1)
    assert.not_same(zero, one)
    assert.same(zero, shown(6))
    assert.same(one, shown(3))
  end)

  it("does not read photos that are kept, and says which rows they are", function()
    local m = manifest_of(dir .. "/rotten", { "good", "mixed" })
    local kept = ffi.new("uint8_t[9]")
    kept[7], kept[8], kept[1] = 1, 1, 1  -- 6 and 7 can't be read
    local loader, b = open(m, {}, { kept = kept, shuffle = 0, batch = 9, on_bad = C.FRT_BAD_SKIP, threads = 1 }), ffi.new "frt_batch"
    lib.check(C.frt_loader_next(loader, b))
    local seen = {}
    for i = 0, b.n - 1 do seen[i + 1] = b.ids[i] .. (b.skipped[i] == 1 and "k" or "") end
    C.frt_loader_free(loader)
    assert.same("0 1k 2 3 4 5 7k 8k", table.concat(seen, " "))
    assert.equal(3, b.n_skipped)
  end)

  it("keeps the manifest's order without shuffle", function()
    local n = 0
    for _, b in ipairs(all(open(manifest, {}, { shuffle = 0 }), manifest)) do
      for _, id in ipairs(b.ids) do
        assert.equal(n, id)
        n = n + 1
      end
    end
  end)

  it("augments a photo by seed, epoch and photo, whatever batch it is in", function()
    local bytes = {}
    for _, batch in ipairs { 4, 23, 1 } do
      for _, b in ipairs(all(open(manifest, TRAIN, { batch = batch }))) do
        local head = #tostring(b.n) + 1
        for i, id in ipairs(b.ids) do
          local at = head + (i - 1) * SIZE * SIZE * 12
          local mine = b.text:sub(at + 1, at + SIZE * SIZE * 12)
          assert.is_true(bytes[id] == nil or bytes[id] == mine)
          bytes[id] = mine
        end
      end
    end
  end)

  it("equals frt_view_load of each photo", function()
    local v, anchor = view(TRAIN)
    local x = ffi.new("float[?]", SIZE * SIZE * 3)
    local b = all(open(manifest, TRAIN, { batch = 3, epoch = 5 }))[2]
    for i, id in ipairs(b.ids) do
      lib.check(C.frt_view_load(v, C.frt_manifest_path(manifest, id), 7, 5, id, x))
      local at = 2 + (i - 1) * SIZE * SIZE * 12
      assert.equal(b.text:sub(at + 1, at + SIZE * SIZE * 12), ffi.string(x, SIZE * SIZE * 12))
    end
    assert.is_truthy(anchor)
  end)

  it("ends with a partial batch, or drops it, but never the only one", function()
    local function sizes(o)
      local out = {}
      for i, b in ipairs(all(open(manifest, {}, o))) do out[i] = b.n end
      return out
    end
    assert.same({ 10, 10, 3 }, sizes { batch = 10 })
    assert.same({ 10, 10 }, sizes { batch = 10, drop_last = 1 })
    assert.same({ 23 }, sizes { batch = 64, drop_last = 1 })
    assert.same({ 23 }, sizes { batch = 64 })
  end)

  it("can be stopped with batches in flight, 20 times, and gives all memory back", function()
    local memory = ffi.new "frt_memory_info"
    C.frt_memory(memory)
    local before = tonumber(memory.live)
    local b = ffi.new "frt_batch"
    for i = 1, 20 do
      local loader = assert(open(manifest, TRAIN, { threads = i % 4 + 1, epoch = i }))
      for _ = 1, i % 3 do lib.check(C.frt_loader_next(loader, b)) end
      C.frt_loader_free(loader)
    end
    C.frt_memory(memory)
    assert.equal(before, tonumber(memory.live))
  end)

  it("outlives the manifest it was made from", function()
    local m = manifest_of(dir .. "/train", { "ant", "bee" })
    made[#made] = nil
    local loader = open(m, TRAIN, { threads = 2 })
    C.frt_manifest_free(m)
    assert.equal(5, #all(loader))
  end)

  it("says what it can't do", function()
    local function why(o, m) local _, message = open(m or manifest, {}, o) return message end
    assert.equal("data: batch must be 1 to 65536, got 0", why { batch = 0 })
    assert.equal("data: threads must be 0 to 256, got 1000", why { threads = 1000 })
    local empty = ffi.new "frt_manifest *[1]"
    lib.check(C.frt_manifest_new(empty, 0))
    made[#made + 1] = empty[0]
    assert.equal("data: no photos to load", why({}, empty[0]))
  end)

  it("ends a wait when a signal asks to stop", function()
    C.frt_interrupt_set(1)
    local loader = open(manifest, TRAIN)
    local b, status = ffi.new "frt_batch", 0
    for _ = 1, 7 do
      status = C.frt_loader_next(loader, b)
      if status ~= 0 or b.n == 0 then break end
    end
    C.frt_interrupt_set(0)
    C.frt_loader_free(loader)
    assert.is_true(tonumber(status) == 0 or ffi.string(C.frt_error_last()) == "data: interrupted")
  end)

  it("turns every failed allocation into a message, and is whole afterwards", function()
    local good = texts(all(open(manifest, TRAIN)))
    local failures = 0
    for n = 0, 60 do
      C.frt_alloc_fail(n)
      local loader, message = open(manifest, TRAIN, { threads = 1 })
      local got = loader and all(loader)
      C.frt_alloc_fail(-1)
      message = message or got.error
      if message then
        failures = failures + 1
        assert.is_truthy(message:find "out of memory" or message:find "cannot start a loader thread")
      else
        assert.same(good, texts(got))
      end
    end
    assert.is_true(failures >= 12)
  end)
end)

describe("a photo that can't be read", function()
  local function rotten() return manifest_of(dir .. "/rotten", { "good", "mixed" }) end

  it("is named, and its place taken by the same other photo whatever the threads", function()
    local m = rotten()
    local one = all(open(m, TRAIN, { threads = 1, batch = 3 }), m)
    local many = all(open(m, TRAIN, { threads = 8, batch = 3 }), m)
    assert.same(texts(one), texts(many))
    assert.same(one.bad, many.bad)
    assert.same({ 3, 3, 3 }, { one[1].n, one[2].n, one[3].n })
    local named = {}
    for _, bad in ipairs(one.bad) do named[bad.path:match "[^/]*$"] = bad.why:match "[^/]*$" end
    assert.equal("02.bmp: not a photo: its first bytes are of no known format (8 bytes)", named["02.bmp"])
    assert.equal("03.bmp: an empty file (0 bytes)", named["03.bmp"])
  end)

  it("changes no other photo of the epoch", function()
    local m = rotten()
    local before = all(open(m, TRAIN, { batch = 1 }))
    process.write(dir .. "/rotten/good/02.bmp.aside", "")
    os.rename(dir .. "/rotten/good/02.bmp", dir .. "/rotten/good/02.bmp.aside")  -- vanishes after the scan
    local after = all(open(m, TRAIN, { batch = 1 }))
    os.rename(dir .. "/rotten/good/02.bmp.aside", dir .. "/rotten/good/02.bmp")
    local changed = 0
    for i = 1, 9 do
      if before[i].ids[1] == 1 then
        assert.is_true(after[i].ids[1] ~= 1)
        changed = changed + 1
      elseif before[i].text ~= after[i].text then
        -- only a place that already had a substitute may have had this photo for it
        assert.is_true(before[i].n_bad > 0)
      end
    end
    assert.is_true(changed >= 1)
    assert.is_truthy(after.bad[1].why:find("No such file", 1, true) or after.bad[2].why:find("No such file", 1, true)
      or after.bad[3].why:find("No such file", 1, true))
  end)

  it("is left out with on_bad = skip: batches close their gaps and 7 of 9 photos come", function()
    local m = rotten()
    local got, n = all(open(m, {}, { on_bad = C.FRT_BAD_SKIP, shuffle = 0, batch = 4 }), m), 0
    for _, b in ipairs(got) do n = n + b.n end
    assert.equal(7, n)
    assert.same({ 0, 1, 2, 3 }, got[1].ids)
    assert.same({ 4, 5 }, got[2].ids)
    assert.same({ 8 }, got[3].ids)
    assert.same({ 6, 7 }, { got.bad[1].id, got.bad[2].id })
  end)

  it("ends the run with on_bad = error, naming the first in order", function()
    local m = rotten()
    for _, threads in ipairs { 1, 8 } do
      local got = all(open(m, {}, { on_bad = C.FRT_BAD_ERROR, shuffle = 0, batch = 4, threads = threads }), m)
      assert.equal(1, #got)
      assert.is_truthy(got.error:find("mixed/02.bmp: not a photo", 1, true))
    end
  end)

  it("ends the run when there is no other, and evaluation has no batch", function()
    local m = manifest_of(dir .. "/hopeless", { "bad" })
    local got = all(open(m, TRAIN, {}), m)
    assert.is_truthy(got.error:find("data: no photo can be read", 1, true))
    assert.equal(0, #all(open(m, {}, { on_bad = C.FRT_BAD_SKIP }), m))
  end)
end)
