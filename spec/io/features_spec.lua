-- the file of kept features: rows by view and photo, whole or not there, found again or begun anew.
local lib = require "foodrt.core.ffi"
local process = require "spec.support.process"
local ffi, C = lib.ffi, lib.C

describe("a file of features", function()
  local dir, path
  setup(function() dir = process.temp_dir() end)
  teardown(function() process.remove(dir) end)
  before_each(function() path = dir .. "/f" os.remove(path) end)

  local function open(changes)
    local spec = ffi.new("frt_features_spec", { n_photos = 5, row_bytes = 12, n_views = 2, n_keys = 2 })
    spec.key[0], spec.key[1] = 7, 8
    for key, v in pairs(changes or {}) do
      if type(key) == "number" then spec.key[key] = v else spec[key] = v end
    end
    local out, info = ffi.new "frt_features *[1]", ffi.new "frt_features_info"
    local status = tonumber(C.frt_features_open(out, path, spec, info))
    if status ~= 0 then return nil, ffi.string(C.frt_error_last()) end
    return out[0], info
  end

  local ids = ffi.new("int32_t[3]", { 4, 0, 2 })
  local sizes = ffi.new("int64_t[2]", { 8, 4 })

  local function parts(a, b)
    local p = ffi.new "void *[2]"
    p[0], p[1] = a, b
    return p
  end

  -- rows 4, 0, 2 of a view: two floats { id, id + 0.5 } and one of the other part
  local function put(f, view, skip)
    local a, b = ffi.new("float[6]", { 4, 4.5, 0, 0.5, 2, 2.5 }), ffi.new("float[3]", { 40, 1, 20 })
    lib.check(C.frt_features_put(f, view, 3, ids, skip, 2, ffi.cast("const void *const *", parts(a, b)), sizes))
  end

  local function get(f, view, n, which)
    local a, b = ffi.new "float[6]", ffi.new "float[3]"
    local status = tonumber(C.frt_features_get(f, view, n, which, 2, parts(a, b), sizes))
    if status ~= 0 then return nil, ffi.string(C.frt_error_last()) end
    local out = {}
    for i = 0, n - 1 do out[i + 1] = { a[2 * i], a[2 * i + 1], b[i] } end
    return out
  end

  it("gives rows back in any order, says which are there, and keeps them from one opening to the next", function()
    local f, info = open()
    assert.same({ 0, 0, 0 }, { tonumber(info.found), tonumber(info.n_rows), tonumber(info.n_lost) })
    assert.equal(8192 + 10 * 64, tonumber(info.bytes))
    put(f, 1)
    lib.check(C.frt_features_unreadable(f, 1, 3))
    for _ = 1, 2 do
      assert.same({ { 2, 2.5, 20 }, { 4, 4.5, 40 } }, get(f, 1, 2, ffi.new("int32_t[2]", { 2, 4 })))
      local state, kept = {}, C.frt_features_kept(f, 1)
      for i = 0, 4 do state[i + 1] = C.frt_features_state(f, 1, i) .. "/" .. kept[i] end
      assert.same({ "1/1", "0/0", "1/1", "2/0", "1/1" }, state)
      assert.equal(0, C.frt_features_state(f, 0, 4))
      C.frt_features_close(f)
      f, info = open()
      assert.same({ 1, 3 }, { tonumber(info.found), tonumber(info.n_rows) })
    end
    C.frt_features_close(f)
  end)

  it("leaves out rows that are to be skipped; a row that is not there is an error", function()
    local f = open()
    put(f, 0, ffi.new("uint8_t[3]", { 0, 1, 0 }))
    assert.same({ nil, "'" .. path .. "': nothing is kept of view 0 of photo 0" }, { get(f, 0, 3, ids) })
    assert.same({ nil, "'" .. path .. "': no view 2 of photo 4" }, { get(f, 2, 1, ids) })
    C.frt_features_close(f)
  end)

  it("is begun anew for another key, shape or number of photos, and says which key", function()
    for key, want in pairs { [1] = { 2, 1 }, n_photos = { 3, -1 }, row_bytes = { 3, -1 }, n_views = { 3, -1 } } do
      os.remove(path)
      local f = open()
      put(f, 0)
      C.frt_features_close(f)
      local info
      f, info = open { [key] = key == "row_bytes" and 16 or 9 }
      assert.same({ want[1], want[2], 0 }, { tonumber(info.found), tonumber(info.differs), tonumber(info.n_rows) })
      assert.equal(0, C.frt_features_state(f, 0, 4))
      C.frt_features_close(f)
    end
  end)

  it("every flipped byte of header, marks and rows is found: nothing wrong is ever given back", function()
    local f = open()
    put(f, 0)
    C.frt_features_close(f)
    local file = io.open(path, "rb")
    local good = file:read "*a"
    file:close()
    local rows, changed = { [0] = { 0, 0.5, 1 }, [2] = { 2, 2.5, 20 }, [4] = { 4, 4.5, 40 } }, 0
    for at = 0, #good - 1 do
      if at < 120 or at >= 4096 and at < 4096 + 80 or at >= 8192 and at < 8192 + 5 * 64 then
        local bad = good:sub(1, at) .. string.char((good:byte(at + 1) + 1) % 256) .. good:sub(at + 2)
        process.write(path, bad)
        local again, info = open()
        for id, row in pairs(rows) do
          if C.frt_features_state(again, 0, id) == 1 then assert.same({ row }, get(again, 0, 1, ffi.new("int32_t[1]", id))) end
        end
        changed = changed + (info.found ~= 1 and 1 or tonumber(info.n_lost))
        C.frt_features_close(again)
      end
    end
    assert.is_true(changed > 100)
  end)

  it("cut at any length it is begun anew; cut while in use it is an error, not a signal", function()
    local f = open()
    put(f, 0)
    C.frt_features_close(f)
    local whole = io.open(path, "rb"):read "*a"
    for _, n in ipairs { 0, 1, 100, 4095, 4096, 4100, 8192, #whole - 1 } do
      process.write(path, whole:sub(1, n))
      local again, info = open()
      assert.equal(3, tonumber(info.found))
      C.frt_features_close(again)
    end
    process.write(path, whole)
    f = open()
    process.write(path, "x")
    assert.same({ nil, "'" .. path .. "': was cut while it was in use" }, { get(f, 0, 3, ids) })
    C.frt_features_close(f)
  end)

  it("what is no file, or in no folder, is an error that names it", function()
    path = dir .. "/none/f"
    assert.same({ nil, "'" .. path .. "': can't be written: No such file or directory" }, { open() })
    path = dir
    assert.same({ nil, "'" .. path .. "': Is a directory" }, { open() })
  end)
end)
