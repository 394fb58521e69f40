-- ci_output: busted's plain output, then one closing line "N passed, N failed, N skipped". With
-- FOODRT_TEST_COUNTS the counts go to that file instead, test by test, so that `foodrt test` can add its
-- own checks and still counts when a spec takes the whole process down.
local SLOW_S = 10

return function(options)
  local busted = require "busted"
  local handler = require "busted.outputHandlers.plainTerminal"(options)
  local path = os.getenv "FOODRT_TEST_COUNTS"
  local counts = path and path ~= "" and assert(io.open(path, "w"))
  if counts then counts:setvbuf "line" end

  local function note(...)
    if counts then counts:write(table.concat({ ... }, " "), "\n") end
    return nil, true
  end

  busted.subscribe({ "file", "start" }, function(file) return note("file", file.name) end)
  busted.subscribe({ "test", "start" }, function(element)
    return note("start", (handler.getFullName(element):gsub("\n", " ")))
  end)
  busted.subscribe({ "test", "end" }, function(_, _, status) return note("done", status) end)
  busted.subscribe({ "file", "end" }, function(file)
    if file.duration and file.duration > SLOW_S then
      io.write(("\n%s took %.0f s\n"):format(file.name, file.duration))
    end
    return nil, true
  end)
  busted.subscribe({ "exit" }, function()
    local passed, failed, skipped = handler.successesCount, handler.failuresCount + handler.errorsCount,
      handler.pendingsCount
    if counts then
      note("end", passed, failed, skipped)
      counts:close()
    else
      io.write(("%d passed, %d failed, %d skipped\n"):format(passed, failed, skipped))
      io.flush()
    end
    return nil, true
  end)
  return handler
end
