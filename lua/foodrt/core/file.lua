--- file: small files, read as a whole and without the C library (io.lua has what needs it).
local file = {}

--- the bytes of a file; nil, why where it can't be read.
function file.read(path)
  local f, why = io.open(path, "rb")
  if not f then return nil, why end
  local text = f:read "*a"
  f:close()
  if not text then return nil, path .. ": cannot be read" end
  return text
end

--- whether there is something that can be opened.
function file.exists(path)
  local f = io.open(path)
  if f then f:close() end
  return f ~= nil
end

return file
