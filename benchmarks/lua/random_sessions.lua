-- Sends one step to each session, in random order, and begins again; each thread has sessions of its own.
-- Arguments: the number of threads, the number of sessions, and the file of the request, with %d for the session.

function init(arguments)
  local file = assert(io.open(arguments[3], "rb"))
  format = file:read("*a")
  file:close()
  mine, turn = {}, 0
  for session = number, tonumber(arguments[2]) - 1, tonumber(arguments[1]) do mine[#mine + 1] = session end
  math.randomseed(number + 1)
  for place = #mine, 2, -1 do
    local other = math.random(place)
    mine[place], mine[other] = mine[other], mine[place]
  end
end

function request()
  turn = turn % #mine + 1
  return string.format(format, mine[turn])
end
