-- Sends prepared requests over and over: one for each session, each on a connection of its own.
-- Arguments: the number of threads, and the file of requests (each after a line with its length).
-- With as many threads as sessions a connection keeps its session; with fewer, a thread goes round its sessions.

function init(arguments)
  local file = assert(io.open(arguments[2], "rb"))
  mine, turn = {}, 0
  local index = 0
  for length in function() return file:read("*l") end do
    local prepared = file:read(tonumber(length))
    if index % tonumber(arguments[1]) == number then mine[#mine + 1] = prepared end
    index = index + 1
  end
  file:close()
end

function request()
  turn = turn % #mine + 1
  return mine[turn]
end
