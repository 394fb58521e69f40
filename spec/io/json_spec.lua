--- JSON: what is written reads back, whatever bytes a text holds and whatever the locale is; what is no JSON is said.
local json = require "foodrt.core.json"

describe("json", function()
  it("reads what others write", function()
    local v = json.decode ' { "a" : [ 1 , -2.5e3, true,false , null, {} ] ,"b\\u00e9\\ud83c\\udf72":"\\n\\/\\"" , "c": 0.1}\n'
    assert.same({ 1, -2500, true, false, nil, {} }, v.a)
    assert.equal('\n/"', v["bé🍲"])
    assert.equal(0.1, v.c)
    assert.is_nil((json.decode "null"))
  end)

  it("says where something is no JSON", function()
    for text, why in pairs { [""] = "no value at byte 1", ["{"] = "expected a key at byte 2", ["[1,]"] = "no value at byte 4",
      ["[1 2]"] = "expected , or ] at byte 4", ['{"a" 1}'] = "expected : at byte 6", ["01"] = "text behind the value at byte 2",
      ["1."] = "a number without digits at byte 3", ['"a'] = "a text without an end at byte 1", ['"\n"'] =
      "a control character in a text at byte 2", ['"\\x"'] = "an unknown escape at byte 2", ["nul"] = "no value at byte 1",
      ["<html>"] = "no value at byte 1",
      [("["):rep(2000)] = "too many levels at byte 1002", ["1,5"] = "text behind the value at byte 2" } do
      local v, message = json.decode(text)
      assert.is_nil(v)
      assert.equal(why, message)
    end
  end)

  it("keeps every byte of a text, in valid JSON", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes) .. "é寿🍲\237\160\128"
    local text = json.encode { all }
    assert.is_nil(text:find "[\128-\191]" and not text:find "é寿🍲" or nil)
    assert.equal(all, json.decode(text)[1])
    assert.equal('["caf\\udce9"]', json.encode { "caf\233" })
    assert.equal('["caf\239\191\189 é"]', json.encode({ "caf\233 é" }, true))
  end)

  it("writes and reads the same numbers in every locale", function()
    local process = require "spec.support.process"
    local dir = process.temp_dir()
    -- a locale with a decimal comma, made for this: few machines have one
    local made = os.execute(("localedef -i de_DE -f UTF-8 %s/de 2>/dev/null"):format(dir)) == 0
    local status, out = process.foodrt({ "-e", [[local json = require "foodrt.core.json"
      io.stderr:write(tostring(os.setlocale "de"), "\n")
      io.write(json.encode { 0.1, 1e-3, 2.5 }, tostring(json.decode("[0.25]")[1] == 0.25))]] }, { env = { LOCPATH = dir } })
    process.remove(dir)
    assert.equal(0, status)
    assert.equal("[0.1,0.001,2.5]true", out)
    if not made then pending "no localedef with de_DE" end
  end)
end)
