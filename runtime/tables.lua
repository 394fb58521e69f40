-- tables.lua: writes the tables of ops and of CPU kernels from the files below runtime/ops and runtime/cpu.
-- What stands in a file is the registration: ops/elementwise/silu.c holds FRT_OP(silu) and its gradient, FRT_OP(silu_grad);
-- a file of runtime/cpu as many FRT_KERNEL(op) as are read together.   luajit tables.lua OUTDIR FILE...
local outdir, ops, kernels = arg[1], {}, {}
for i = 2, #arg do
  local path = arg[i]
  local file = assert(io.open(path))
  local source = file:read "*a"
  file:close()
  local base = path:match "([%w_]+)%.c$"
  for mark, list in pairs { FRT_OP = ops, FRT_KERNEL = kernels } do
    for id in source:gmatch("\n" .. mark .. "%(([%w_]+)%)") do
      assert(mark == "FRT_KERNEL" or id == base or id:sub(1, #base + 1) == base .. "_" or id:sub(-#base - 1) == "_" .. base,
        ("%s: %s(%s) must begin or end with the file's name"):format(path, mark, id))
      list[#list + 1] = id
    end
  end
end
table.sort(ops)
table.sort(kernels)

local function write(name, lines)
  local out = assert(io.open(outdir .. "/" .. name, "w"))
  out:write("// written by runtime/tables.lua\n", table.concat(lines, "\n"), "\n")
  out:close()
end
local function each(list, fmt, lines)
  for _, id in ipairs(list) do lines[#lines + 1] = fmt:gsub("@", id) end
  return lines
end

write("op_list.h", each(ops, "extern const frt_op frt_op_@;", { "#pragma once\ntypedef struct frt_op frt_op;" }))
local lines = each(ops, "extern const frt_op frt_op_@, frt_op64_@;", { '#include "ir/op.h"' })
lines[#lines + 1] = "const frt_op *const frt_op_table[] = {"
each(ops, "  &frt_op_@,", lines)
lines[#lines + 1] = "};\nconst frt_op *const frt_op_table64[] = {"
each(ops, "  &frt_op64_@,", lines)
lines[#lines + 1] = "};\nconst int32_t frt_op_table_len = " .. #ops .. ";"
write("op_table.c", lines)

lines = each(kernels, "extern const frt_kernel frt_kernel_@;", { '#include "device/backend.h"' })
lines[#lines + 1] = "const frt_kernel *const frt_kernel_table[] = {"
each(kernels, "  &frt_kernel_@,", lines)
lines[#lines + 1] = "  0\n};\nconst char *const frt_kernel_name[] = {"
each(kernels, '  "@",', lines)
lines[#lines + 1] = "  0\n};\nconst int32_t frt_kernel_table_len = " .. #kernels .. ";"
write("kernel_table.c", lines)
